"""The noise schedule and the algebra between x0, x_t, eps and v.

Alphabet: abar cumulative product of 1 - beta, (T,); a = sqrt(abar_t); sigma = sqrt(1 - abar_t); s~ = sigma / a;
t (B,) integer timesteps. Timesteps below 0 mean abar_0: the first step of the official SDI inversion starts there.
Coefficients are computed in double and cast to the dtype and device of the images they multiply.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


def randn_like(x: Float[Tensor, "*shape"], rng: torch.Generator) -> Float[Tensor, "*shape"]:
    """N(0, I) of the shape, dtype and device of x, drawn on the generator's own device."""
    return torch.randn(x.shape, generator=rng, device=rng.device, dtype=x.dtype).to(x.device)


def per_item(values: Float[Tensor, " B"], x: Float[Tensor, "B ..."]) -> Float[Tensor, "B ..."]:
    """One number an item, shaped (B, 1, 1, ...) to multiply x, in its dtype and on its device."""
    return values.to(x).reshape(-1, *[1] * (x.ndim - 1))


@dataclass(frozen=True)
class Schedule:
    """A variance-preserving schedule: x_t = a x0 + sigma eps. `abar` (T,) in double, decreasing."""

    abar: Float[Tensor, " T"]

    @classmethod
    def from_betas(cls, betas: Float[Tensor, " T"]) -> Schedule:
        return cls((1 - betas.double()).cumprod(0))

    @classmethod
    def scaled_linear(cls, start: float = 0.00085, end: float = 0.012, steps: int = 1000) -> Schedule:
        """Stable Diffusion's: beta linear in its square root."""
        return cls.from_betas(torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64) ** 2)

    def __len__(self) -> int:
        return len(self.abar)

    def at(self, t: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
        """abar_t, in double."""
        return self.abar[t.to(self.abar.device).long().clamp(min=0)]

    def a(self, t: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
        return self.at(t).sqrt()

    def sigma(self, t: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
        return (1 - self.at(t)).sqrt()

    def s(self, t: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
        """s~ = sigma / a: the noise's standard deviation in units of x0."""
        return self.sigma(t) / self.a(t)

    def noised(
        self, x0: Float[Tensor, "B ..."], eps: Float[Tensor, "B ..."], t: Int[Tensor, " B"]
    ) -> Float[Tensor, "B ..."]:
        """x_t = a x0 + sigma eps."""
        return per_item(self.a(t), x0) * x0 + per_item(self.sigma(t), x0) * eps

    def x0_of(
        self, x_t: Float[Tensor, "B ..."], eps: Float[Tensor, "B ..."], t: Int[Tensor, " B"]
    ) -> Float[Tensor, "B ..."]:
        """x0 = (x_t - sigma eps) / a."""
        return (x_t - per_item(self.sigma(t), x_t) * eps) / per_item(self.a(t), x_t)

    def eps_of(
        self, x_t: Float[Tensor, "B ..."], x0: Float[Tensor, "B ..."], t: Int[Tensor, " B"]
    ) -> Float[Tensor, "B ..."]:
        """eps = (x_t - a x0) / sigma."""
        return (x_t - per_item(self.a(t), x_t) * x0) / per_item(self.sigma(t), x_t)

    def eps_of_v(
        self, x_t: Float[Tensor, "B ..."], v: Float[Tensor, "B ..."], t: Int[Tensor, " B"]
    ) -> Float[Tensor, "B ..."]:
        """eps = a v + sigma x_t, for a network that predicts v = a eps - sigma x0 (Salimans & Ho, 2202.00512)."""
        return per_item(self.a(t), x_t) * v + per_item(self.sigma(t), x_t) * x_t

    def v_of(
        self, x0: Float[Tensor, "B ..."], eps: Float[Tensor, "B ..."], t: Int[Tensor, " B"]
    ) -> Float[Tensor, "B ..."]:
        """v = a eps - sigma x0, the velocity of x_t."""
        return per_item(self.a(t), x0) * eps - per_item(self.sigma(t), x0) * x0

    def ddim_step(
        self, x_t: Float[Tensor, "B ..."], eps: Float[Tensor, "B ..."], t: Int[Tensor, " B"], to: Int[Tensor, " B"]
    ) -> Float[Tensor, "B ..."]:
        """From t to another timestep, up or down, along eps (DDIM, 2010.02502, eq. 12 without noise)."""
        return self.noised(self.x0_of(x_t, eps, t), eps, to)

    def ddim_std(self, t: Int[Tensor, " B"], to: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Standard deviation of DDPM's noise between t and a later timestep (2010.02502, eq. 16 with eta 1)."""
        now, later = self.at(t), self.at(to)
        return ((1 - now) / (1 - later) * (1 - later / now)).clamp(min=0).sqrt()
