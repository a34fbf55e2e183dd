"""Renders of every toy from the world's cameras, made once and cached outside git.

The cameras are those of distillation: a prior trained on wider ones makes objects swell or shrink. Pictures are kept
with their opacity, so that each use lays them over a fresh grey.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import Tensor

from scene.background import grey_background
from scene.cameras import CameraRange, Cameras
from world.objects import OBJECTS
from world.sdf import albedo, distance
from world.trace import trace

CACHE = Path(__file__).parent / "cache"
CAMERAS = CameraRange()  # its defaults are the world's
SIZE = 64
CHUNK = 50  # views in one unit of work
AT_ONCE = 10  # chunks that a GPU traces together, in some 5 GB
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


Work = tuple[str, int, int, CameraRange]  # prompt, variant, seed, where from: of a chunk


def _render(work: list[Work], device: str = "cpu") -> list[dict[str, Tensor]]:
    """Chunks of one toy, traced together."""
    prompt, variant, *_ = work[0]
    seen = [where.sample(CHUNK, torch.Generator().manual_seed(seed)) for *_, seed, where in work]
    cameras = Cameras(*(torch.cat([getattr(c, f.name) for c in seen]) for f in fields(Cameras))).to(device)
    view = trace(OBJECTS[prompt].parts(variant), cameras, SIZE)
    rgba = torch.cat([view.rgb, view.opacity], 1).mul(255).round().to(torch.uint8).contiguous().cpu()
    return [
        {"rgba": pixels, "azimuth": c.azimuth, "elevation": c.elevation}
        for pixels, c in zip(rgba.split(CHUNK), seen, strict=True)
    ]


def pictures(prompts: list[str], views: int, seed: int, variants: int = VARIANTS, device: str = "cpu") -> Pictures:
    """`views` pictures of each prompt's toy (a multiple of 50), rendered where the cache lacks them; its variants take
    turns, 50 views each. By a process a core, or on a GPU, whose pictures differ by roundings."""
    wanted = {
        CACHE / "views" / f"{fingerprint(prompt, k % variants)}-{seed}-{k:03d}.safetensors": (
            prompt, k % variants, seed * 1_000_003 + k, CAMERAS,
        )
        for prompt in prompts
        for k in range(views // CHUNK)
    }  # fmt: skip
    chunks = _rendered(wanted, device)
    label = torch.arange(len(prompts)).repeat_interleave(views // CHUNK * CHUNK)
    rgba, azimuth, elevation = (torch.cat([c[key] for c in chunks]) for key in ("rgba", "azimuth", "elevation"))
    return Pictures(rgba, label, azimuth, elevation)


def views_from(prompts: list[str], azimuth: float, width: float) -> UInt8[Tensor, "T 50 4 64 64"]:
    """50 views of each prompt's toy from around an azimuth, +-width in degrees, that no training saw."""
    side = replace(CAMERAS, azimuth=(azimuth - width, azimuth + width))
    name, seed = f"{azimuth:g}+-{width:g}.safetensors", 500_000 + int(azimuth)
    wanted = {CACHE / "views" / f"{fingerprint(prompt)}-{name}": (prompt, 0, seed, side) for prompt in prompts}
    return torch.stack([c["rgba"] for c in _rendered(wanted)])


def _rendered(wanted: dict[Path, Work], device: str = "cpu") -> list[dict[str, Tensor]]:
    """The chunks at these paths, those that are missing rendered first."""
    missing = [path for path in wanted if not path.exists()]
    if missing:
        (CACHE / "views").mkdir(parents=True, exist_ok=True)
        made = _in_processes if device == "cpu" else partial(_on, device)
        done = made([wanted[path] for path in missing])
        for path, chunk in track(zip(missing, done, strict=True), "Rendering the toys", len(missing)):
            aside = path.with_suffix(".part")
            save_file({name: tensor.clone() for name, tensor in chunk.items()}, aside)
            aside.rename(path)
    return [load_file(path) for path in wanted]


def _in_processes(work: list[Work]) -> Iterator[dict[str, Tensor]]:
    """A chunk a core, on one thread."""
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn"), initializer=_on_one_thread) as pool:
        jobs = [pool.submit(_render, [one]) for one in work]
        yield from (job.result()[0] for job in jobs)


def _on_one_thread() -> None:
    torch.set_num_threads(1)


def _on(device: str, work: list[Work]) -> Iterator[dict[str, Tensor]]:
    """Many chunks of a toy at once: of few rays, a GPU would do nothing but begin operators."""
    for _, of_toy in itertools.groupby(work, key=lambda one: one[:2]):
        chunks = list(of_toy)
        for start in range(0, len(chunks), AT_ONCE):
            yield from _render(chunks[start : start + AT_ONCE], device)


def over_grey(rgba: UInt8[Tensor, "B 4 H W"], rng: torch.Generator) -> Float[Tensor, "B 3 H W"]:
    """The pictures over random near-neutral backgrounds, in [0, 1]."""
    picture = rgba.float() / 255
    ground = grey_background(len(rgba), rgba.shape[-2], rgba.shape[-1], rng)
    return picture[:, :3] + (1 - picture[:, 3:]) * ground
