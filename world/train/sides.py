"""How good the prior's samples are: one from each of four sides of each toy, held against true views of that side.

A sample says nothing of its elevation, distance and background. So it is compared with many true views of its side
(azimuth +-15 degrees, the world's elevations, distances and fields of view), each put on the sample's own background, a
vertical gradient fitted where the toy is not; the nearest counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from rich.progress import track
from torch import Tensor

from eval.truth import chroma, detail
from priors.base import Prior
from priors.guidance import branches
from priors.sampling import along, falling_grid
from priors.text import SECTORS
from world.dataset import views_from

SIDES = {"front": 0, "left": 90, "back": 180, "right": 270}  # azimuths, in the order of the pictures
WIDTH, STEPS, SEED = 15.0, 30, 1
CLEAR, SOLID = 0.02, 0.5  # opacity below which a true view shows its background; above which the toy


class Match(NamedTuple):
    """The true view that is nearest to a sample, on the sample's background, in [0, 1], with its opacity."""

    psnr: float
    view: Float[Tensor, "3 H W"]
    opacity: Float[Tensor, "1 H W"]


@dataclass(frozen=True)
class Samples:
    """Of T toys from four sides: pictures in [0, 1], the nearest true views, and of each the PSNR in dB, the detail and
    the chroma as shares of the true view's (NaN where that has none)."""

    images: Float[Tensor, "T 4 3 H W"]
    truth: Float[Tensor, "T 4 3 H W"]
    psnr: Float[Tensor, "T 4"]
    detail: Float[Tensor, "T 4"]
    chroma: Float[Tensor, "T 4"]


def backgrounds(sample: Float[Tensor, "3 H W"], opacity: Float[Tensor, "M 1 H W"]) -> Float[Tensor, "M 3 H W"]:
    """What would lie behind each of M true views, if the sample showed it: the vertical gradient, a line for each
    channel, that fits the sample best where the view is clear."""
    height, width = sample.shape[1:]
    y = torch.linspace(-1, 1, height).view(1, 1, height, 1).expand(1, 1, height, width)
    clear = (opacity < CLEAR).float()
    n, s, q = (((y**k) * clear).sum((1, 2, 3)) for k in range(3))
    b, r = ((sample[None] * (y**k) * clear).sum((2, 3)) for k in range(2))  # (M,3)
    det = (n * q - s * s).clamp(min=1e-6)
    level = (q[:, None] * b - s[:, None] * r) / det[:, None]
    slope = (n[:, None] * r - s[:, None] * b) / det[:, None]
    return (level[..., None, None] + slope[..., None, None] * y).expand(-1, -1, -1, width)


def nearest(sample: Float[Tensor, "3 H W"], rgba: UInt8[Tensor, "M 4 H W"]) -> Match:
    """The nearest of M true views to a sample, by PSNR over the whole picture."""
    true = rgba.float() / 255
    on = true[:, :3] + (1 - true[:, 3:]) * backgrounds(sample, true[:, 3:])
    psnr = -10 * (on - sample).square().mean((1, 2, 3)).clamp(min=1e-10).log10()
    k = int(psnr.argmax())
    return Match(psnr[k].item(), on[k], true[k, 3:])


@torch.no_grad()
def drawn(prior: Prior, texts: list[str], seed: int, cfg: float, steps: int = STEPS) -> Float[Tensor, "n 3 H W"]:
    """One DDIM sample of each text, in [0, 1]."""
    told, empty = prior.embed(texts), prior.embed([""]).expand(len(texts), -1, -1)

    def guided(x: Tensor, t: Tensor) -> Tensor:
        eps_u, eps_c = branches(prior, x, t, empty, told)
        return eps_u + cfg * (eps_c - eps_u)

    x_T = torch.randn(len(texts), *prior.latent_shape, generator=torch.Generator().manual_seed(seed))
    *_, (_, x0, eps) = along(prior, guided, x_T, falling_grid(prior, steps))
    return prior.decode(prior.schedule.noised(x0, eps, torch.zeros(len(texts), dtype=torch.long)))


def samples(prior: Prior, prompts: list[str], cfg: float, seed: int = SEED) -> Samples:
    """Samples of the prompts from four sides at a guidance, and what they are worth."""
    texts = [prompt + SECTORS[azimuth // 45] for prompt in prompts for azimuth in SIDES.values()]
    parts = [texts[k : k + 32] for k in range(0, len(texts), 32)]
    made = [drawn(prior, part, seed + k, cfg) for k, part in enumerate(track(parts, f"Sampling at CFG {cfg:g}"))]
    images = torch.cat(made)
    pools = [views_from(prompts, azimuth, WIDTH) for azimuth in SIDES.values()]  # (T,M,4,H,W)
    found = [nearest(image, pools[k % 4][k // 4]) for k, image in enumerate(images)]
    true, opacity = torch.stack([m.view for m in found]), torch.stack([m.opacity for m in found])
    inside = opacity > SOLID
    measures = (
        torch.tensor([m.psnr for m in found]),
        detail(images) / detail(true),
        chroma(images, inside) / chroma(true.clamp(0, 1), inside),
    )
    shape = (len(prompts), len(SIDES))
    return Samples(images.unflatten(0, shape), true.unflatten(0, shape), *(m.unflatten(0, shape) for m in measures))
