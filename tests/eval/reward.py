"""A tiny ImageReward with random weights, in the folder format of the published one."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import torch

from eval.image_reward import ImageReward
from prompts import paper43


def random_reward(seed: int = 0) -> ImageReward:
    from world.models import reward, word_pieces

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = reward(word_pieces([p.text for p in paper43()]))
        for parameter in model.parameters():  # weights of .02 would give nearly one score to all pictures
            torch.nn.init.normal_(parameter, std=0.3)
    model.config |= {"mean": 0.5, "std": 2.0}
    return model.eval()


@cache
def folder() -> Path:
    path = Path(mkdtemp(prefix="tiny-reward-"))
    random_reward().save(path)
    return path


@cache
def reward() -> ImageReward:
    return ImageReward.load(folder())
