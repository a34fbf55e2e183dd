"""Response curves: what every judge says of true views that are distorted more and more, in ways that none was trained
on. A judge that discriminates falls with each distortion, from much the same height for every toy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from eval.clip_iqa import SENTENCES, clip_iqa
from eval.clip_score import clip_score
from eval.encoders import Encoder, load_clip
from eval.image_reward import ImageReward
from eval.r_precision import r_precision
from scene.background import GREY
from world import models
from world.dataset import Pictures
from world.train.distort import Distortion
from world.train.held_out import HELD_OUT, fronts, subjects

STRENGTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
VIEWS = 10  # of each toy
BREAKS = tuple(d.__name__ for d in HELD_OUT if d.__name__ != "blurred")
EVERY = ("blurred", *BREAKS)
NAMED = {  # which distortions each judge is to fall with: sharp/blurry says nothing of fog
    "clip_score": EVERY, "iqa_quality": EVERY, "iqa_sharpness": ("blurred",), "iqa_real": BREAKS, "image_reward": EVERY,
}  # fmt: skip


class Judges(NamedTuple):
    clip: Encoder
    second: Encoder
    reward: ImageReward


def shipped() -> Judges:
    """The world's own."""
    return Judges(load_clip(models.TINY_CLIP), load_clip(models.TINY_CLIP_2), ImageReward.load(models.TINY_REWARD))


def some(data: Pictures, views: int = VIEWS) -> Pictures:
    """`views` of the pictures of each toy."""
    rows = [(data.label == k).nonzero().flatten() for k in range(int(data.label.max()) + 1)]
    keep = torch.cat([r[:: max(len(r) // views, 1)][:views] for r in rows])
    return Pictures(*(x[keep] for x in data))


def distorted(
    data: Pictures, others: Pictures, distort: Distortion, strength: float, seed: int = 0
) -> Float[Tensor, "N 3 H W"]:
    """The pictures over the grey of evaluation, in the same pattern at every strength; faces are those of `others`."""
    s = torch.full((len(data.rgba), 1, 1, 1), strength)
    x = distort(data.rgba.float() / 255, fronts(others, data.label), s, torch.Generator().manual_seed(seed))
    return x[:, :3] + (1 - x[:, 3:]) * GREY


@torch.inference_mode()
def scores(judges: Judges, images: Float[Tensor, "N 3 H W"], label: Tensor, prompts: list[str]) -> pd.DataFrame:
    """A row a toy that is shown: the mean of every metric that asks for no truth, over the toy's pictures, with `_2`
    those of the second CLIP."""
    rows: dict[str, dict[str, float]] = {prompts[k]: {} for k in label.unique().tolist()}
    for encoder, suffix in ((judges.clip, ""), (judges.second, "_2")):
        seen, texts, anchors = encoder.images(images), encoder.texts(prompts), encoder.texts(SENTENCES)
        for k in label.unique().tolist():
            own = seen[label == k]
            made = {"clip_score": clip_score(own, texts[k]), "r_precision": r_precision(own, texts, k)}
            made |= {f"iqa_{pair}": value for pair, value in clip_iqa(own, anchors).items()}
            rows[prompts[k]] |= {name + suffix: value.mean().item() for name, value in made.items()}
    for k in label.unique().tolist():
        rows[prompts[k]]["image_reward"] = judges.reward.score(images[label == k], prompts[k]).mean().item()
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("prompt")


def responses(
    judges: Judges,
    data: Pictures,
    prompts: list[str],
    distortions: Iterable[Distortion] = HELD_OUT,
    strengths: Iterable[float] = STRENGTHS,
    views: int = VIEWS,
) -> pd.DataFrame:
    """Metrics by distortion, strength and prompt: means over the views that the distortion is tried on."""
    made = {}
    for distort in distortions:
        tried = some(subjects(data, distort), views)
        for strength in strengths:
            images = distorted(tried, data, distort, strength)
            made[distort.__name__, strength] = scores(judges, images, tried.label, prompts)
    return pd.concat(made, names=["distortion", "strength"])


def curve(found: pd.DataFrame) -> pd.DataFrame:
    """Means over toys, by distortion and strength."""
    return found.groupby(["distortion", "strength"], sort=False).mean()


def falling(means: pd.DataFrame, metric: str, distortions: Iterable[str]) -> list[str]:
    """Those of the distortions of which each step up makes the metric's mean over toys fall."""
    return [name for name in distortions if (means.loc[name, metric].diff().dropna() < 0).all()]
