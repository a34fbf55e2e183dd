"""What VSD and ESD share: a student phi learns the scores of the renders, and the prior pulls against it.

    t ~ U{20, ..., 980} for each view, at most 500 in the later part of a job,  eps ~ N(0, I),  x_t = a x + sigma eps
    g = w(t) [eps^(x_t; y, t) - eps_phi],   w(t) = 1 - abar_t

phi is trained between two steps to predict the noise of renders seen by camera c, under the text without view words:

    phi <- argmin E |eps_phi(a x + sigma eps; y, c, t) - eps|^2,   t ~ U{0, ..., 999},  c left out one time in ten
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from methods import timesteps
from methods.base import Guidance, Method, Views
from priors.base import Prior
from priors.guidance import guided_eps
from priors.schedule import per_item, randn_like
from priors.student import Student, make_student


@dataclass(frozen=True)
class Variational(Method):
    """The published job has 25,000 steps, and lowers the latest t after 5,000 of them. `phi` is the folder of another
    Stable Diffusion to start phi as; published: 2.1 (768, v-prediction) beside 2.1-base. Empty: the prior itself."""

    scale: float = 7.5
    perp_neg: bool = False
    t_range: tuple[float, float] = (0.02, 0.98)
    late_from: float = 0.2  # progress
    late_max: float = 0.5  # the latest t from there on
    phi: str = ""
    rank: int = 4
    adapt: str = "attention"  # where phi's adapters sit: or "everywhere"
    lr: float = 1e-4
    updates: int = 1  # of phi, a step
    samples: int = 1  # noised copies of each view, an update
    drop: float = 0.1

    def eps_phi(
        self, views: Views, state: Any, x_t: Float[Tensor, "B C h w"], t: Int[Tensor, " B"]
    ) -> Float[Tensor, "B C h w"]:
        """What the prior pulls against."""
        raise NotImplementedError(f"{type(self).__name__} defines no eps_phi")

    def start(self, prior: Prior) -> Student:
        return make_student(prior, self.phi, self.rank, self.lr, self.adapt)

    def gradient(self, views: Views, prior: Prior, state: Any) -> Guidance:
        x0, schedule = views.x0, prior.schedule
        low, high = self.t_range
        high = high if views.progress < self.late_from else self.late_max
        t = timesteps.uniform(len(x0), low, high, len(schedule), views.rng)
        eps = randn_like(x0, views.rng)
        x_t = schedule.noised(x0, eps, t)
        eps_hat = guided_eps(prior, x_t, t, views.text, views.cameras, self.scale, self.perp_neg)
        g = per_item(1 - schedule.at(t), x0) * (eps_hat - self.eps_phi(views, state, x_t, t))
        log = {"t": t.float().mean().item(), "grad_norm": g.flatten(1).norm(dim=1).mean().item()}
        return Guidance(g, log=log)

    def learn(self, views: Views, prior: Prior, state: Any) -> dict[str, float]:
        text = views.text.plain.expand(len(views.x0), -1, -1)
        log: dict[str, float] = {}
        for _ in range(self.updates):
            log = state.update(views.x0, text, views.cameras.c2w, views.rng, self.samples, self.drop)
        return log
