"""ISM: interval score matching. LucidDreamer, Liang et al., arXiv 2311.11284.

    index ~ U{20, ..., 499 + 480 w},  w = 1 - min(progress / .3, 1), one for the batch;  timestep = index + 1
    s = t - delta,  delta from 100 to 50 as w falls
    x_s    DDIM inversion in steps of 200 of a x + sigma eps at timestep 1, under the empty prompt
    x_t    one more step, from s to t
    g    = lambda s~_t [eps^(x_t; y, t) - eps(x_s; empty, s)],   eps^ guided away from the negative prompt

The official loss is not divided by the batch: the recipe multiplies by it.
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
from priors.guidance import branches, guided_eps
from priors.inversion import invert
from priors.schedule import per_item, randn_like


@dataclass(frozen=True)
class ISM(Method):
    """Times are fractions of the schedule's length, rounded down to timesteps. `inversion_scale` s' > 0 inverts with
    eps_empty + s' (eps_negative - eps_empty), as the official code can."""

    scale: float = 7.5
    weight: float = 0.1  # lambda
    t_range: tuple[float, float] = (0.02, 0.5)
    t_max_early: float = 0.98  # the upper end of t at w = 1
    early: float = 0.3  # progress at which w is 0: 1500 of 5000
    delta: tuple[float, float] = (0.1, 0.05)  # at w = 1 and 0
    stride: float = 0.2  # of the inversion up to s
    steps: int = 5  # at most, up to s: it starts higher where they do not reach
    inversion_scale: float = 0.0
    perp_neg: bool = False
    anneal: bool = False  # t falls linearly, t_max_early to t_range[0], as SDI's does, instead of being drawn
    negative: str = (
        "unrealistic, blurry, low quality, out of focus, ugly, low contrast, dull, dark, low-resolution, "
        "oversaturation."
    )

    def gradient(self, views: Views, prior: Prior, state: Any) -> Guidance:
        return self.pull(views, prior, max(1 - views.progress / self.early, 0.0))

    def pull(self, views: Views, prior: Prior, w: float) -> Guidance:
        """The gradient at a given w in [0, 1]."""
        x0, schedule, rng = views.x0, prior.schedule, views.rng
        length, (low, high) = len(schedule), self.t_range
        end = int(length * high) + int(int(length * (self.t_max_early - high)) * w)
        if self.anneal:
            index = min(round(length * timesteps.linear(views.progress, self.t_max_early, low)), length - 1) - 1
        else:
            index = int(torch.randint(int(length * low), min(end, length - 1), (), generator=rng, device=rng.device))
        first, last = (round(length * delta) for delta in self.delta)
        before = max(index - int(last + w * (first - last)), 0)

        x_s = self._inverted(views, prior, before)
        t, s = (torch.full((len(x0),), i + 1) for i in (index, before))
        eps_s = self.interval_eps(views, prior, x_s, s)
        x_t = schedule.ddim_step(x_s, eps_s, s, t)
        eps_t = guided_eps(prior, x_t, t, views.text, views.cameras, self.scale, self.perp_neg)
        g = self.weight * per_item(schedule.s(t), x0) * (eps_t - eps_s)
        log = {"t": float(index + 1), "grad_norm": g.flatten(1).norm(dim=1).mean().item()}
        return Guidance(g, log=log)

    def _inverted(self, views: Views, prior: Prior, index: int) -> Float[Tensor, "B C h w"]:
        """x noised at the first timestep of the grid, inverted to that of an index."""
        x0, schedule = views.x0, prior.schedule
        stride = round(len(schedule) * self.stride)
        start = max(index - stride * self.steps, 0)
        grid = torch.tensor([*range(start, index, stride), index]) + 1
        x = schedule.noised(x0, randn_like(x0, views.rng), grid[:1].expand(len(x0)))
        return invert(
            schedule,
            lambda y, at: self.interval_eps(views, prior, y, at),
            x,
            grid.expand(len(x0), -1),
            views.rng,
        )

    def interval_eps(
        self, views: Views, prior: Prior, x: Float[Tensor, "B C h w"], t: Int[Tensor, " B"]
    ) -> Float[Tensor, "B C h w"]:
        """What the inversion follows: the empty prompt's prediction, unless inversion_scale leads on."""
        empty, negative = (y.expand(len(x), -1, -1) for y in (views.text.empty, views.text.uncond))
        if self.inversion_scale == 0:
            return branches(prior, x, t, empty)[0]
        eps_0, eps_n = branches(prior, x, t, empty, negative)
        return eps_0 + self.inversion_scale * (eps_n - eps_0)
