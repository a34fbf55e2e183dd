"""SDI's time and target with another noise than the inverted one (2405.15891, fig. 9).

t      falls linearly with progress, 1 -> .2
kappa  random         N(0, I)
       fixed          N(0, I), the same at every step
       fixed point    kappa <- eps^(a_t x + sigma_t kappa; y, t), ten times from N(0, I)
       sgd            ten steps of descent on half the squared error of eq. 8, kappa = eps^(...), from N(0, I)
x_t    = a_t x + sigma_t kappa
x0^    = (x_t - sigma_t eps^(x_t; y, t)) / a_t,  guided at 7.5
g      = x - x0^ = s~_t [eps^(x_t; y, t) - kappa]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from errors import UserError
from methods import timesteps
from methods.base import Guidance, Method, Views
from methods.target import falling_time, target, toward
from priors.base import Prior
from priors.guidance import guided_eps
from priors.inversion import descend, fixed_noise, fixed_point
from priors.schedule import randn_like

KAPPAS = ("random", "fixed", "fixed point", "sgd")


@dataclass(frozen=True)
class SDIKappa(Method):
    """`kappa` is one of KAPPAS; "random" is SDS with SDI's annealing and target."""

    kappa: str = "random"
    scale: float = 7.5
    perp_neg: bool = True
    t_range: tuple[float, float] = (1.0, 0.2)
    steps: int = 10  # of "fixed point" and "sgd"

    def __post_init__(self) -> None:
        if self.kappa not in KAPPAS:
            raise UserError(f"SDI's kappa is inverted, or one of {', '.join(KAPPAS)}, not {self.kappa!r}.")

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
        t = timesteps.nearest(time, len(prior.schedule))
        if self.kappa == "fixed":
            return t, fixed_noise(views.x0)
        kappa = randn_like(views.x0, views.rng)
        if self.kappa == "random":
            return t, kappa

        def eps(x: Tensor, at: Tensor) -> Tensor:
            return guided_eps(prior, x, at, views.text, views.cameras, self.scale, self.perp_neg)

        solve = fixed_point if self.kappa == "fixed point" else descend
        return t, solve(prior.schedule, eps, views.x0, kappa, t, self.steps)
