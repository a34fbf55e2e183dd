"""A tiny CLIP with random weights, in the folder format of the large ones."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import torch

from eval.clip_iqa import SENTENCES
from eval.encoders import Encoder, load_clip
from prompts import paper43


def write_clip(folder: Path) -> Path:
    from world.models import clip, clip_processor, tokenizer

    words = tokenizer([p.text for p in paper43()] + SENTENCES)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = clip(words)
    with torch.no_grad():
        model.visual_projection.weight.neg_()  # by chance all cosines of seed 0 are negative, and scores would be 0
    model.save_pretrained(folder)
    clip_processor(words).save_pretrained(folder)
    return folder


@cache
def folder() -> Path:
    return write_clip(Path(mkdtemp(prefix="tiny-clip-")))


@cache
def encoder() -> Encoder:
    return load_clip(folder())
