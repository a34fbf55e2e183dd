"""Priors whose score is known in closed form: the ground on which methods are tested.

Alphabet: a, sigma of the schedule; N(mu, s^2) of a component; v = a^2 s^2 + sigma^2 its variance at x_t.

    one Gaussian     eps* = sigma (x_t - a mu) / v
    a mixture        eps* = sum_k p_k(x_t) eps*_k,   p_k ~ w_k N(x_t; a mu_k, v_k)
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from errors import UserError
from priors.base import Prior
from priors.schedule import Schedule, per_item
from priors.text import COARSE, SECTORS, wrapped


class MixturePrior(Prior):
    """K isotropic Gaussians over images taken as latents (2 rgb - 1). An embedding (B,1,K) holds the components'
    weights: a text names one by starting with its name, and the empty text is all of them.

    means (K,C,h,w), stds (K,), names of the K components. Computed in double, returned in the dtype of x_t.
    """

    def __init__(
        self,
        means: Float[Tensor, "K C h w"],
        stds: Float[Tensor, " K"],
        names: list[str],
        schedule: Schedule | None = None,
    ):
        self.means, self.stds, self.names = means.double(), stds.double(), names
        self.schedule = schedule or Schedule.scaled_linear()
        _, channels, height, width = means.shape
        self.latent_shape = (channels, height, width)
        self.image_size = means.shape[-1]

    def encode(self, image: Float[Tensor, "B 3 H W"], rng: torch.Generator) -> Float[Tensor, "B C h w"]:
        if image.shape[-2:] != self.latent_shape[-2:]:
            image = functional.interpolate(image, self.latent_shape[-2:], mode="bilinear", align_corners=False)
        return 2 * image - 1

    def decode(self, latent: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 3 H W"]:
        return (latent / 2 + 0.5).clamp(0, 1)

    def embed(self, prompts: list[str]) -> Float[Tensor, "B 1 K"]:
        rows = [[float(not p or p.startswith(name)) for name in self.names] for p in prompts]
        for prompt, row in zip(prompts, rows, strict=True):
            if not any(row):
                raise UserError(f"The mixture prior knows {self.names}, not {prompt!r}.")
        return torch.tensor(rows, dtype=torch.float64)[:, None]

    def network(
        self, x_t: Float[Tensor, "B C h w"], t: Int[Tensor, " B"], text: Float[Tensor, "B 1 K"]
    ) -> Float[Tensor, "B C h w"]:
        x, means, stds = x_t.double(), self.means.to(x_t.device), self.stds.to(x_t.device)
        a, sigma = (c.to(x.device)[:, None] for c in (self.schedule.a(t), self.schedule.sigma(t)))  # (B,1)
        v = a**2 * stds**2 + sigma**2  # (B,K)
        away = x[:, None] - a[..., None, None, None] * means  # (B,K,C,h,w)
        log_p = text[:, 0].double().log() - away.flatten(2).square().sum(-1) / (2 * v) - x[0].numel() / 2 * v.log()
        weights = log_p.softmax(1) * sigma / v
        return torch.einsum("bk,bkchw->bchw", weights, away).to(x_t.dtype)


class GaussianPrior(MixturePrior):
    """N(mu, s^2) over latents of mu's shape (C,h,w), whatever the text."""

    def __init__(self, mu: Float[Tensor, "C h w"], s: float, schedule: Schedule | None = None):
        super().__init__(mu[None], torch.tensor([s]), [""], schedule)


class ExactPrior(Prior):
    """The denoiser of a finite set of latents x_i smoothed by a kernel: x0 ~ sum_i w_i N(x_i, h^2), exactly.

    latents (N,C,h,w); labels (N,) index into `prompts`; azimuth (N,) degrees; encode(image, rng) and decode(latent)
    as a Prior's. An embedding (B,1,P+13) holds the weights of the prompts and of the view words (none, COARSE,
    SECTORS), and w_i = prompt weight of i's label * sum_j view weight j * phi_j(azimuth_i): phi is 1 without a view
    word and from overhead (elevations are unknown), the strict sector of a coarse word, and the hat function of width
    45 around a sector, so that interpolated embeddings are smooth in azimuth. Computed in the latents' dtype.
    """

    def __init__(
        self,
        latents: Float[Tensor, "N C h w"],
        labels: Int[Tensor, " N"],
        azimuth: Float[Tensor, " N"],
        prompts: list[str],
        encode: Callable[[Tensor, torch.Generator], Tensor],
        decode: Callable[[Tensor], Tensor],
        image_size: int,
        h: float = 0.0,
        view_words: str = "sectors",
        schedule: Schedule | None = None,
    ):
        self.points, self.h, self.prompts = latents.flatten(1), h, prompts
        self.image_size, self.view_words = image_size, view_words
        _, channels, height, width = latents.shape
        self.latent_shape = (channels, height, width)
        self.schedule = schedule or Schedule.scaled_linear()
        self._encode, self._decode = encode, decode
        self.squared = self.points.square().sum(1)
        self.of_prompt = functional.one_hot(labels.long(), len(prompts)).to(latents)  # (N,P)
        self.of_view = _view_basis(azimuth).to(latents)  # (N,13)

    def encode(self, image: Float[Tensor, "B 3 H W"], rng: torch.Generator) -> Float[Tensor, "B C h w"]:
        return self._encode(image, rng)

    def decode(self, latent: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 3 H W"]:
        return self._decode(latent)

    def embed(self, prompts: list[str]) -> Float[Tensor, "B 1 D"]:
        suffixes = ["", *COARSE.values(), *SECTORS]
        rows = self.points.new_zeros(len(prompts), len(self.prompts) + len(suffixes))
        for row, prompt in zip(rows, prompts, strict=True):
            view = max((s for s in suffixes if prompt.endswith(s)), key=len)
            name = prompt.removesuffix(view)
            if name and name not in self.prompts:
                raise UserError(
                    f"The exact prior knows no view of {name!r}: choose among its {len(self.prompts)} prompts."
                )
            row[: len(self.prompts)] = torch.tensor([float(not name or name == p) for p in self.prompts])
            row[len(self.prompts) + suffixes.index(view)] = 1
        return rows[:, None]

    def network(
        self, x_t: Float[Tensor, "B C h w"], t: Int[Tensor, " B"], text: Float[Tensor, "B 1 D"]
    ) -> Float[Tensor, "B C h w"]:
        x = x_t.flatten(1).to(self.points)
        a, sigma = (per_item(c, x) for c in (self.schedule.a(t), self.schedule.sigma(t)))  # (B,1)
        v = (a * self.h) ** 2 + sigma**2
        prompt, view = text[:, 0].to(x).split([len(self.prompts), self.of_view.shape[1]], 1)
        weight = (prompt @ self.of_prompt.T) * (view @ self.of_view.T)  # (B,N)
        log_p = weight.log() + (a * (x @ self.points.T) - a**2 * self.squared / 2) / v
        mean = log_p.softmax(1) @ self.points
        return (sigma * (x - a * mean) / v).reshape(x_t.shape).to(x_t)


def _view_basis(azimuth: Float[Tensor, " N"]) -> Float[Tensor, "N 13"]:
    """phi_j at each azimuth: no word; side, front, back, overhead; the eight sectors."""
    away, one = wrapped(azimuth).abs(), torch.ones_like(azimuth)
    front, back = (away < 45).to(azimuth), (away > 135).to(azimuth)
    centres = torch.arange(len(SECTORS), device=azimuth.device) * (360 / len(SECTORS))
    hats = (1 - wrapped(azimuth[:, None] - centres).abs() / (360 / len(SECTORS))).clamp(min=0)
    return torch.cat([torch.stack([one, 1 - front - back, front, back, one], 1), hats], 1)
