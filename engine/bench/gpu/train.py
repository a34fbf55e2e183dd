"""The world's U-Net at a GPU's speed: pictures traced and encoded there, then trained for the minutes that are left."""

from __future__ import annotations

import csv
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

from engine.bench.gpu.page import Page, Row
from prompts import paper43
from world import models
from world.dataset import CACHE, VARIANTS, Pictures, pictures
from world.train import unet
from world.train.__main__ import VIEWS, train_unet
from world.train.run import Plan

LEAST = 1.0  # minutes of a training that says anything
SAVING = 20.0  # seconds for the weights at the end


def run(page: Page, device: str) -> None:
    """Raises UserError where the autoencoder is not there."""
    prompts = [prompt.text for prompt in paper43()]
    plan = Plan("unet", 0, 0, CACHE / "train" / "gpu", None, VARIANTS, page.out / "prior", device=device)

    @cache
    def data() -> Pictures:
        return pictures(prompts, VIEWS, plan.seed, plan.variants, device)

    page.measure("training", "pictures", 0, lambda: rated(lambda: len(data().rgba)))
    page.measure("training", "latents", 0, lambda: rated(lambda: encoded(data(), plan)))
    minutes = (page.left - SAVING) / 60
    page.measure("training", "unet", SAVING + 60 * LEAST, lambda: trained(prompts, plan, minutes, page.out))


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


def trained(prompts: list[str], plan: Plan, minutes: float, out: Path) -> Row:
    """The weights are in OUT/prior, in Stable Diffusion's format, and the curve is beside it."""
    shutil.rmtree(plan.folder, ignore_errors=True)
    train_unet(prompts, replace(plan, minutes=minutes))
    curve = shutil.copy(plan.folder / "curve.csv", out / "curve.csv")
    with Path(curve).open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    steps = int(rows[-1]["step"])
    batch = unet.BATCH[plan.device]
    return {
        "steps": steps,
        "minutes": minutes,
        "batch": batch,
        "steps a second": steps / minutes / 60,
        "pictures a second": steps * batch / minutes / 60,
        "first loss": float(rows[0]["loss"]),
        "last loss": float(rows[-1]["loss"]),
    }
