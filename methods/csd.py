"""CSD: classifier score distillation. Yu et al., arXiv 2310.19415.

    t ~ U{20, ..., 980} for each view,  eps ~ N(0, I),  x_t = a x + sigma eps
    g = w(t) [c eps^(x_t; y) + u eps^(x_t; negative) + n eps^(x_t; empty) + k eps + p sum_i w_i e_i_perp]
    w(t) = 1 - abar_t

The last term is Perp-Neg's (2304.04968), e = eps^ - eps^(x_t; negative). Pure CSD, `CSD()`, is w (eps_y - eps_empty):
the implicit classifier alone. The official code turns the weights with progress, from the empty prompt to the
negative one; `CSD.stage1()` and `CSD.stage2()` are its two stages, of 10,000 steps each:

                 u           n           until progress    t_max   g
    stage 1      0 -> -1     -1 -> 0     .5                .98, and .5 from step 5,001 on     of unit L2 norm, p = 3
    stage 2      -1 -> -.5   0 -> -.5    1                 .5                                 as it is, p = 0
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from methods import timesteps
from methods.base import Guidance, Method, Views
from priors.base import Prior
from priors.guidance import branches, perp_neg_texts, repulsion
from priors.schedule import per_item, randn_like
from priors.text import condition

NEGATIVE = "oversaturated color, ugly, tiling, low quality, noisy"  # of the official code


@dataclass(frozen=True)
class CSD(Method):
    """`u` and `n` go from their first value to their second as progress goes from 0 to `until`."""

    c: float = 1.0
    u: tuple[float, float] = (0.0, 0.0)
    n: tuple[float, float] = (-1.0, -1.0)
    k: float = 0.0
    p: float = 0.0
    until: float = 1.0
    t_range: tuple[float, float] = (0.02, 0.98)
    late_from: float = 1.0  # progress
    late_max: float = 0.5  # the latest t from there on
    unit_norm: bool = False
    negative: str = ""

    @classmethod
    def stage1(cls) -> CSD:
        return cls(
            u=(0.0, -1.0), n=(-1.0, 0.0), p=3.0, until=0.5, late_from=5_001 / 10_000, unit_norm=True, negative=NEGATIVE
        )

    @classmethod
    def stage2(cls) -> CSD:
        return cls(u=(-1.0, -0.5), n=(0.0, -0.5), t_range=(0.02, 0.5), negative=NEGATIVE)

    def gradient(self, views: Views, prior: Prior, state: Any) -> Guidance:
        share = min(views.progress / self.until, 1.0)
        u, n = (first + (last - first) * share for first, last in (self.u, self.n))
        return self.pull(views, prior, u, n)

    def pull(self, views: Views, prior: Prior, u: float, n: float) -> Guidance:
        """The gradient with given weights of the negative and the empty prompt."""
        x0, schedule = views.x0, prior.schedule
        low, high = self.t_range
        high = high if views.progress < self.late_from else self.late_max
        t = timesteps.uniform(len(x0), low, high, len(schedule), views.rng)
        eps = randn_like(x0, views.rng)
        mixed = self._mixed(views, prior, schedule.noised(x0, eps, t), t, u, n)
        g = per_item(1 - schedule.at(t), x0) * (mixed + self.k * eps)
        if self.unit_norm:
            g = g / (g.flatten(1).norm(dim=1).view(-1, 1, 1, 1) + 1e-8)
        log = {"t": t.float().mean().item(), "grad_norm": g.flatten(1).norm(dim=1).mean().item()}
        return Guidance(g, log=log)

    def _mixed(
        self, views: Views, prior: Prior, x_t: Float[Tensor, "B C h w"], t: Tensor, u: float, n: float
    ) -> Float[Tensor, "B C h w"]:
        """The sum over texts. Those that would be multiplied by 0 are not evaluated."""
        text, cameras = views.text, views.cameras
        negative, empty = (y.expand(len(x_t), -1, -1) for y in (text.uncond, text.empty))
        if self.p:
            eps_n, eps_y, first, second, eps_0 = branches(
                prior, x_t, t, negative, *perp_neg_texts(text, cameras), empty
            )
            away = self.p * repulsion(eps_n, eps_y, (first, second), cameras)
            return self.c * eps_y + u * eps_n + n * eps_0 + away
        weighted = [y for y in ((self.c, condition(text, cameras)), (u, negative), (n, empty)) if y[0]]
        eps = branches(prior, x_t, t, *(y for _, y in weighted)) if weighted else ()
        return sum((w * e for (w, _), e in zip(weighted, eps, strict=True)), torch.zeros_like(x_t))
