"""SDS: score distillation sampling. DreamFusion, Poole et al., arXiv 2209.14988, eq. 3.

t ~ U{20, ..., 980} for each view,  eps ~ N(0, I),  x_t = a x + sigma eps
g = w(t) [eps^(x_t; y, t) - eps],   w(t) = 1 - abar_t
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from errors import UserError
from methods import timesteps
from methods.base import Guidance, Method, Views
from priors.base import Prior
from priors.guidance import guided_eps
from priors.schedule import per_item, randn_like

# w(t) by the names of threestudio's weighting strategies
WEIGHTS = {
    "sds": lambda abar: 1 - abar,
    "uniform": lambda abar: abar.new_ones(abar.shape),
    "fantasia3d": lambda abar: abar.sqrt() * (1 - abar),
}


@dataclass(frozen=True)
class SDS(Method):
    """The published scale is 100 for eps_c + s (eps_c - eps_u), which is 101 for eps_u + s (eps_c - eps_u)."""

    scale: float = 101.0
    t_range: tuple[float, float] = (0.02, 0.98)
    weight: str = "sds"
    perp_neg: bool = False

    def __post_init__(self) -> None:
        if self.weight not in WEIGHTS:
            raise UserError(f"SDS's weight is one of {', '.join(WEIGHTS)}, not {self.weight!r}.")

    def gradient(self, views: Views, prior: Prior, state: Any) -> Guidance:
        x0, schedule = views.x0, prior.schedule
        t = timesteps.uniform(len(x0), *self.t_range, len(schedule), views.rng)
        eps = randn_like(x0, views.rng)
        x_t = schedule.noised(x0, eps, t)
        eps_hat = guided_eps(prior, x_t, t, views.text, views.cameras, self.scale, self.perp_neg)
        g = per_item(WEIGHTS[self.weight](schedule.at(t)), x0) * (eps_hat - eps)
        log = {"t": t.float().mean().item(), "grad_norm": g.flatten(1).norm(dim=1).mean().item()}
        return Guidance(g, log=log)
