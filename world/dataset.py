"""Renders of every toy from the world's cameras, made once and cached outside git.

The cameras are those of distillation: a prior trained on wider ones makes objects swell or shrink. Pictures are kept
with their opacity, so that each use lays them over a fresh grey.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import Tensor

from scene.background import grey_background
from scene.cameras import CameraRange
from world.objects import OBJECTS
from world.sdf import albedo, distance
from world.trace import trace

CACHE = Path(__file__).parent / "cache"
CAMERAS = CameraRange()  # its defaults are the world's
SIZE = 64
CHUNK = 50  # views in one unit of work
VARIANTS = 1  # of each toy, in the shipped world: the measurement is in README.md


class Pictures(NamedTuple):
    """N pictures of toys. rgb is premultiplied by opacity; `label` counts in the order of the prompts asked for."""

    rgba: UInt8[Tensor, "N 4 64 64"]
    label: Tensor
    azimuth: Float[Tensor, " N"]
    elevation: Float[Tensor, " N"]


def fingerprint(prompt: str, variant: int = 0) -> str:
    """Changes when the toy's shape or colours do: a hash of both at fixed points."""
    parts = OBJECTS[prompt].parts(variant)
    p = torch.rand(2048, 3, generator=torch.Generator().manual_seed(0)) * 1.1 - 0.55
    probe = torch.cat([distance(parts, p)[:, None], albedo(parts, p)], -1)
    return hashlib.sha256((probe * 1e3).round().to(torch.int32).numpy().tobytes()).hexdigest()[:12]


def _render(prompt: str, variant: int, seed: int, where: CameraRange) -> dict[str, Tensor]:
    torch.set_num_threads(1)
    cameras = where.sample(CHUNK, torch.Generator().manual_seed(seed))
    view = trace(OBJECTS[prompt].parts(variant), cameras, SIZE)
    rgba = torch.cat([view.rgb, view.opacity], 1).mul(255).round().to(torch.uint8).contiguous()
    return {"rgba": rgba, "azimuth": cameras.azimuth, "elevation": cameras.elevation}


def pictures(prompts: list[str], views: int, seed: int, variants: int = VARIANTS) -> Pictures:
    """`views` pictures of each prompt's toy (a multiple of 50), rendered where the cache lacks them; its variants take
    turns, 50 views each."""
    wanted = {
        CACHE / "views" / f"{fingerprint(prompt, k % variants)}-{seed}-{k:03d}.safetensors": (
            prompt, k % variants, seed * 1_000_003 + k, CAMERAS,
        )
        for prompt in prompts
        for k in range(views // CHUNK)
    }  # fmt: skip
    chunks = _rendered(wanted)
    label = torch.arange(len(prompts)).repeat_interleave(views // CHUNK * CHUNK)
    rgba, azimuth, elevation = (torch.cat([c[key] for c in chunks]) for key in ("rgba", "azimuth", "elevation"))
    return Pictures(rgba, label, azimuth, elevation)


def views_from(prompts: list[str], azimuth: float, width: float) -> UInt8[Tensor, "T 50 4 64 64"]:
    """50 views of each prompt's toy from around an azimuth, +-width in degrees, that no training saw."""
    side = replace(CAMERAS, azimuth=(azimuth - width, azimuth + width))
    name, seed = f"{azimuth:g}+-{width:g}.safetensors", 500_000 + int(azimuth)
    wanted = {CACHE / "views" / f"{fingerprint(prompt)}-{name}": (prompt, 0, seed, side) for prompt in prompts}
    return torch.stack([c["rgba"] for c in _rendered(wanted)])


def _rendered(wanted: dict[Path, tuple[str, int, int, CameraRange]]) -> list[dict[str, Tensor]]:
    """The chunks at these paths, those that are missing rendered first from what `_render` needs."""
    missing = [path for path in wanted if not path.exists()]
    if missing:
        (CACHE / "views").mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
            work = [pool.submit(_render, *wanted[path]) for path in missing]
            for path, job in track(list(zip(missing, work, strict=True)), description="Rendering the toys"):
                aside = path.with_suffix(".part")
                save_file(job.result(), aside)
                aside.rename(path)
    return [load_file(path) for path in wanted]


def over_grey(rgba: UInt8[Tensor, "B 4 H W"], rng: torch.Generator) -> Float[Tensor, "B 3 H W"]:
    """The pictures over random near-neutral backgrounds, in [0, 1]."""
    picture = rgba.float() / 255
    ground = grey_background(len(rgba), rgba.shape[-2], rgba.shape[-1], rng)
    return picture[:, :3] + (1 - picture[:, 3:]) * ground
