"""The known world: toy objects with known 3D truth, and the small models trained on their renders.

    truth_views(prompt, cameras, resolution)   the toy's true pictures
    exact_prior()                              the closed-form denoiser over the toys' own latents

Everything heavy is imported where it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from errors import UserError

if TYPE_CHECKING:
    from priors.base import Prior
    from scene.cameras import Cameras, Render


def truth_views(prompt: str, cameras: Cameras, resolution: int, variant: int = 0) -> Render:
    """True pictures of a variant of the prompt's toy on black, (B,·,resolution,resolution), premultiplied by opacity.

    Raises UserError where the world has no toy of the prompt."""
    from world.objects import OBJECTS
    from world.trace import trace

    if prompt not in OBJECTS:
        raise UserError(f"The known world has no toy for {prompt!r}; it has: {'; '.join(OBJECTS)}.")
    return trace(OBJECTS[prompt].parts(variant), cameras, resolution)


def exact_prior(device: str = "cpu", views: int = 200, h: float = 0.25) -> Prior:
    """The exact denoiser over `views` latents of each toy, each a Gaussian of width h (latents have unit deviation).

    For tests and ablations only: a finite set of views makes targets snap to one and disagree by pixels."""
    import torch

    from priors import stable_diffusion
    from priors.analytic import ExactPrior
    from prompts import paper43
    from world.dataset import over_grey, pictures
    from world.models import TINY_SD

    shipped = stable_diffusion.load(TINY_SD, device)
    prompts = [prompt.text for prompt in paper43()]
    data, rng = pictures(prompts, views, seed=0), torch.Generator().manual_seed(0)
    with torch.no_grad():
        latents = [shipped.encode(over_grey(rgba, rng).to(device), rng) for rgba in data.rgba.split(100)]
    return ExactPrior(
        torch.cat(latents), data.label.to(device), data.azimuth.to(device), prompts, shipped.encode, shipped.decode,
        shipped.image_size, h,
    )  # fmt: skip
