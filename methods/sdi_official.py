"""SDI as its official code computes it, where that departs from the paper (2405.15891; sdi.py is the paper).

t      falls linearly with progress, .98 -> .25, and is rounded down
T      = t + tau,  tau ~ U(0, 1/10) in whole timesteps, for each view
x_T    DDIM inversion of x from timestep -99 over 1, 101, 201, ... below t, then T, guided at -7.5,
       with .3 std(c, n) N(0, I) added at each step c -> n
x0^    = (x_T - sigma_t eps^(x_T; y, t)) / a_t,  guided at 7.5: x_T is denoised as if it stood at t
g      = x - x0^
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from methods.base import Guidance, Method, Views
from methods.target import falling_time, inverted, target, toward
from priors.base import Prior


@dataclass(frozen=True)
class SDIOfficial(Method):
    """Times are fractions of the schedule's length, rounded down to timesteps."""

    scale: float = 7.5
    inversion_scale: float = -7.5
    perp_neg: bool = True
    t_range: tuple[float, float] = (0.98, 0.25)
    tau: float = 0.1
    steps: int = 10  # of inversion, over the whole schedule
    eta: float = 0.3

    def gradient(self, views: Views, prior: Prior, state: Any) -> Guidance:
        return self.pull(views, prior, falling_time(views, self.t_range))

    def pull(self, views: Views, prior: Prior, time: Float[Tensor, " B"]) -> Guidance:
        """The gradient at given times in [0, 1], one a view."""
        t, level, kappa = self.noise_of(views, prior, time)
        x0_hat, eps_hat = target(views, prior, kappa, t, self.scale, self.perp_neg, level)
        return toward(x0_hat, eps_hat, kappa, views, t, prior.schedule)

    def noise_of(
        self, views: Views, prior: Prior, time: Float[Tensor, " B"]
    ) -> tuple[Int[Tensor, " B"], Int[Tensor, " B"], Float[Tensor, "B C h w"]]:
        """Timesteps t and T, and kappa, by which x is noised to x_T."""
        rng, length = views.rng, len(prior.schedule)
        tau = self.tau * torch.rand(len(time), generator=rng, device=rng.device, dtype=torch.float64).cpu()
        t, grid = leading_grid(time, tau, self.steps, length)
        return t, grid[:, -1], inverted(views, prior, grid, self.inversion_scale, self.perp_neg, self.eta)


def leading_grid(
    time: Float[Tensor, " B"], tau: Float[Tensor, " B"], steps: int, length: int
) -> tuple[Int[Tensor, " B"], Int[Tensor, "B n"]]:
    """Timestep t, and the first 1 + steps of 1 - stride, 1, 1 + stride, ... that lie below it, then t + tau; the stride
    is length // steps. All are rounded down."""
    stride = length // steps
    t = (length * time).floor().clamp(max=length - 1).long()
    last = (t + (length * tau).floor().long()).clamp(max=length - 1)
    points = torch.arange(1 - stride, max(int(t.max()), 2 - stride), stride)[: steps + 1]
    grid = torch.where(points < t[:, None], points, last[:, None])
    return t, torch.cat([grid, last[:, None]], 1)
