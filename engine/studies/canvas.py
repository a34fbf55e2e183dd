"""A rule without the third dimension: one latent picture, seen from one side (SDI, 2405.15891, fig. 1).

job      any recipe, on a canvas instead of a field: an ordinary job
DDIM     the prior's own sample, by the predictions x0^(t) on its way
cached   SDI whose kappa is the previous eps^, with x moved onto its target at each step: eq. 6, DDIM's sequence
"""

from __future__ import annotations

import time
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from engine.job import Job
from engine.recipes.base import Orbit, Recipe
from engine.store import Store
from engine.views import write_result
from methods.base import Views
from methods.hifa import HiFA
from methods.sdi import SDI
from methods.target import target
from priors.base import Prior, Text
from priors.sampling import ddim, falling_grid
from priors.text import make_text
from scene.cameras import CameraRange, Cameras, Render, look_at
from scene.canvas import Canvas, CanvasConfig

PICTURE = {"controlled": (100, 0.05), "paper": (1_000, 0.1)}  # steps and learning rate of a picture, by track
SAMPLES = {"ddim": "DDIM", "sdi-cached": "SDI, cached κ"}  # pictures that no optimiser makes
DDIM_STEPS = 50
ELEVATION, DISTANCE, FOV = 15.0, 2.0, 40.0  # of the world's evaluation


def on_canvas(base: Recipe, prior: Prior, azimuth: float = 0.0) -> Recipe:
    """The recipe on a latent of the prior's size that starts from 0, seen from an azimuth alone, without regularisers.
    HiFA leaves its image term: a latent has no image of its own."""
    rule = replace(base.method, image_weight=0.0) if isinstance(base.method, HiFA) else base.method
    channels, _, size = prior.latent_shape
    steps, lr = PICTURE[base.track]
    elevation, side, distance, fov = ((value, value) for value in (ELEVATION, azimuth, DISTANCE, FOV))
    return replace(
        base,
        method=rule,
        steps=steps,
        lr=lr,
        scene=CanvasConfig(channels, size, start=0.0),
        cameras=CameraRange(elevation, side, distance, fov),
        orbit=Orbit(views=1, elevation=ELEVATION, distance=DISTANCE, fov=FOV, resolution=prior.image_size),
        regularisers=(),
    )


@torch.no_grad()
def cached_kappa(
    sdi: SDI,
    prior: Prior,
    text: Text,
    cameras: Cameras,
    x_T: Float[Tensor, "B C h w"],
    grid: Int[Tensor, " n"],
) -> Float[Tensor, "B C h w"]:
    """Where SDI ends whose kappa is the previous eps^, from DDIM's first x0^, by gradient descent at rate 1: each step
    moves x onto its target."""
    rng = torch.Generator()  # nothing is drawn
    _, x, kappa = next(ddim(prior, text, cameras, x_T, grid, sdi.scale, sdi.perp_neg))
    for now in grid[1:]:
        t = now.expand(len(x))
        x0_hat, kappa = target(Views(x, x, text, cameras, 0.0, rng), prior, kappa, t, sdi.scale, sdi.perp_neg)
        g = x - x0_hat
        x = x - g
    return x


def psnr(image: Float[Tensor, "B 3 H W"], true: Float[Tensor, "B 3 H W"]) -> float:
    """Mean over the pictures, in dB; at most 200."""
    return float(-10 * (image - true).double().square().mean((1, 2, 3)).clamp(min=1e-20).log10().mean())


def sample(job: Job, prior: Prior, store: Store, device: str = "cpu") -> None:
    """Do a job of SAMPLES. The record of `sdi-cached` holds its PSNR to DDIM's picture of the same x_T."""
    recipe, begin, nfe, rows = job.recipe, time.monotonic(), prior.nfe, prior.rows
    sdi, scene = recipe.method, recipe.scene
    assert isinstance(sdi, SDI)
    assert isinstance(scene, CanvasConfig)
    rng = torch.Generator().manual_seed(job.stream)
    x_T = torch.randn(1, *prior.latent_shape, generator=rng).to(device)
    text, grid = make_text(prior, job.prompt.text), falling_grid(prior, recipe.steps)
    cameras = look_at(ELEVATION, recipe.cameras.azimuth[0], DISTANCE, FOV).to(device)
    *_, (_, x, _) = ddim(prior, text, cameras, x_T, grid, sdi.scale, sdi.perp_neg)
    fact = {}
    if recipe.name == "sdi-cached":
        goal, x = prior.decode(x), cached_kappa(sdi, prior, text, cameras, x_T, grid)
        fact = {"psnr_to_ddim": psnr(prior.decode(x), goal)}
    canvas = Canvas(scene, rng)
    canvas.pixels.data = x
    rgb = prior.decode(x)
    record = {
        "status": "finished",
        "cause": None,
        "step": recipe.steps,
        "steps": recipe.steps,
        "nfe": prior.nfe - nfe,
        "network_rows": prior.rows - rows,
        "seconds": time.monotonic() - begin,
        "device": device,
        "threads": torch.get_num_threads(),
    }
    views = Render(rgb, torch.ones_like(rgb[:, :1]), torch.zeros_like(rgb[:, :1]))
    store.finish(record | fact, lambda folder: write_result(folder, canvas, views, recipe.orbit))
