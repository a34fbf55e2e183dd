"""ESD: entropic score distillation. Wang et al., "Taming Mode Collapse", arXiv 2401.00909.

t ~ U{20, ..., 980} for each view, at most 500 in the later part of a job,  eps ~ N(0, I),  x_t = a x + sigma eps
eps_phi = lambda eps_phi(x_t; y, no camera, t) + (1 - lambda) eps_phi(x_t; y, c, t)
g = w(t) [eps^(x_t; y, t) - eps_phi],   w(t) = 1 - abar_t

lambda weighs the entropy of the views' distribution, whose score phi knows from the steps in which its camera is left
out; phi is trained as in VSD (2305.16213), which is lambda = 0. Views of N(mu, s^2) then spread by
max(0, lambda s^2 - (1 - lambda) s~^2) around mu, at a single t.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from methods import timesteps
from methods.base import Guidance, Method, Views
from priors.base import Prior
from priors.guidance import guided_eps
from priors.schedule import per_item, randn_like
from priors.student import Student, make_student


@dataclass(frozen=True)
class ESD(Method):
    """The authors run VSD's published settings with lambda .5, which threestudio's code for VSD names 1 - lambda:
    its scale of phi. `phi` is the folder of another Stable Diffusion to start phi as. Empty: the prior itself."""

    scale: float = 7.5
    entropy: float = 0.5  # lambda
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

    def eps_phi(
        self, views: Views, state: Any, x_t: Float[Tensor, "B C h w"], t: Int[Tensor, " B"]
    ) -> Float[Tensor, "B C h w"]:
        """Both predictions in one call of the network; at lambda 0 or 1 the one that counts."""
        text, camera = views.text.plain.expand(len(x_t), -1, -1), views.cameras.c2w
        without = torch.zeros_like(camera)
        if self.entropy in (0.0, 1.0):
            return state.eps(x_t, t, text, without if self.entropy else camera)
        both = state.eps(x_t.repeat(2, 1, 1, 1), t.repeat(2), text.repeat(2, 1, 1), torch.cat([without, camera]))
        alone, seen = both.chunk(2)
        return self.entropy * alone + (1 - self.entropy) * seen

    def learn(self, views: Views, prior: Prior, state: Any) -> dict[str, float]:
        text = views.text.plain.expand(len(views.x0), -1, -1)
        log: dict[str, float] = {}
        for _ in range(self.updates):
            log = state.update(views.x0, text, views.cameras.c2w, views.rng, self.samples, self.drop)
        return log
