"""The world's U-Net at a GPU's speed: pictures traced and encoded there, then trained for the minutes that are left."""

from __future__ import annotations

import csv
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from engine.bench.gpu.page import Page, Row
from prompts import paper43
from world import models
from world.dataset import CACHE, CHUNK, VARIANTS, Pictures, pictures
from world.train import unet
from world.train.__main__ import VIEWS, train_unet
from world.train.run import EVERY, Plan

SAVING = 20.0  # seconds for the weights at the end


@dataclass(frozen=True)
class Size:
    """How many toys there are, and pictures of each; the least minutes of a training that says anything."""

    toys: int
    views: int
    least: float


FULL, SMALL = Size(43, VIEWS, least=1.0), Size(2, CHUNK, least=0.0)


def run(page: Page, device: str, size: Size) -> None:
    """Raises UserError where the autoencoder is not there."""
    prompts = [prompt.text for prompt in paper43()][: size.toys]
    plan = Plan("unet", 0, 0, CACHE / "train" / "gpu", None, VARIANTS, page.out / "prior", device=device)

    @cache
    def data() -> Pictures:
        return pictures(prompts, size.views, plan.seed, plan.variants, device)

    page.measure("training", "pictures", 0, lambda: rated(lambda: len(data().rgba)))
    page.measure("training", "latents", 0, lambda: rated(lambda: encoded(data(), plan)))
    minutes = (page.left - SAVING) / 60
    page.measure("training", "unet", SAVING + 60 * size.least, lambda: trained(prompts, plan, minutes, size, page.out))


def rated(task: Callable[[], int]) -> Row:
    """How many were made, and how many a second: none of those that were in the cache take time."""
    began = time.monotonic()
    count = task()
    return {"count": count, "a second": count / (time.monotonic() - began)}


def encoded(data: Pictures, plan: Plan) -> int:
    """Into the cache, where the training finds them."""
    vae = models.shipped_vae(plan.device)
    codes = unet.latents(vae, data, plan.seed)
    return codes.shape[0] * codes.shape[1]


def trained(prompts: list[str], plan: Plan, minutes: float, size: Size, out: Path) -> Row:
    """The weights are in OUT/prior, in Stable Diffusion's format, and the curve is beside it. Counts are of the steps
    up to the curve's last row."""
    shutil.rmtree(plan.folder, ignore_errors=True)
    train_unet(prompts, replace(plan, minutes=minutes), size.views)
    made: Row = {"minutes": minutes, "batch": unet.BATCH[plan.device]}
    if not (curve := plan.folder / "curve.csv").exists():
        return made | {"steps": f"fewer than {EVERY}"}
    with Path(shutil.copy(curve, out / "curve.csv")).open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    steps = int(rows[-1]["step"])
    return made | {
        "steps": steps,
        "steps a second": steps / minutes / 60,
        "pictures a second": steps * made["batch"] / minutes / 60,
        "first loss": float(rows[0]["loss"]),
        "last loss": float(rows[-1]["loss"]),
    }
