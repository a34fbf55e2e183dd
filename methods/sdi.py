"""SDI: score distillation via inversion. Lukoianov et al., arXiv 2405.15891, algorithm 2, eq. 10 and 11.

    t      falls linearly with progress, 1 -> .2;  T = t + tau,  tau ~ U(0, 1/30) for each view
    x_T    DDIM inversion of x to T in int(10 t) equal steps, guided at -7.5
    kappa  = (x_T - a_T x) / sigma_T + .3 sigma_t N(0, I)
    x_t    = a_t x + sigma_t kappa
    x0^    = (x_t - sigma_t eps^(x_t; y, t)) / a_t,  guided at 7.5
    g      = x - x0^ = s~_t [eps^(x_t; y, t) - kappa]

Its official code does otherwise: sdi_official.py. Its other choices of kappa: sdi_kappas.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from methods import timesteps
from methods.base import Guidance, Method, Views
from methods.target import falling_time, inverted, target, toward
from priors.base import Prior
from priors.schedule import per_item, randn_like


@dataclass(frozen=True)
class SDI(Method):
    """Times are fractions of the schedule's length, rounded to timesteps."""

    scale: float = 7.5
    inversion_scale: float = -7.5
    perp_neg: bool = True
    t_range: tuple[float, float] = (1.0, 0.2)
    tau: float = 1 / 30
    steps: int = 10  # of inversion, in a unit of t
    eta: float = 0.3

    def gradient(self, views: Views, prior: Prior, state: Any) -> Guidance:
        return self.pull(views, prior, falling_time(views, self.t_range))

    def pull(self, views: Views, prior: Prior, time: Float[Tensor, " B"]) -> Guidance:
        """The gradient at given times in [0, 1], one a view."""
        t, kappa = self.noise_of(views, prior, time)
        x0_hat, eps_hat = target(views, prior, kappa, t, self.scale, self.perp_neg)
        return toward(x0_hat, eps_hat, kappa, views, t, prior.schedule)

    def noise_of(
        self, views: Views, prior: Prior, time: Float[Tensor, " B"]
    ) -> tuple[Int[Tensor, " B"], Float[Tensor, "B C h w"]]:
        """Timesteps t, and kappa."""
        x0, rng, schedule = views.x0, views.rng, prior.schedule
        tau = self.tau * torch.rand(len(x0), generator=rng, device=rng.device, dtype=torch.float64).cpu()
        t, grid = timesteps.nearest(time, len(schedule)), even_grid(time, tau, self.steps, len(schedule))
        kappa = inverted(views, prior, grid, self.inversion_scale, self.perp_neg)
        return t, kappa + self.eta * per_item(schedule.sigma(t), x0) * randn_like(x0, rng)


def even_grid(time: Float[Tensor, " B"], tau: Float[Tensor, " B"], steps: int, length: int) -> Int[Tensor, "B n"]:
    """max(int(steps t), 1) equal steps from timestep 0 to that of t + tau, all rounded. Rows of fewer steps repeat
    their last timestep."""
    n = (steps * time).floor().clamp(min=1)
    share = (torch.arange(int(n.max()) + 1) / n[:, None]).clamp(max=1)
    return (share * timesteps.nearest(time + tau, length)[:, None]).round().long()
