"""NFSD: noise-free score distillation. Katzir et al., arXiv 2310.17590.

    t ~ U{20, ..., 980} for each view,  eps ~ N(0, I),  x_t = a x + sigma eps
    delta_C = eps^(x_t; y) - eps^(x_t; empty)                   the direction of the text
    delta_D = eps^(x_t; empty)                                  t < 200: little noise is left to predict
              eps^(x_t; empty) - eps^(x_t; negative)            else: the noise cancels
    g       = w(t) [delta_D + s delta_C],   w(t) = 1 - abar_t

eps is drawn but not subtracted. There is no official code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from methods import timesteps
from methods.base import Guidance, Method, Views
from priors.base import Prior
from priors.guidance import branches
from priors.schedule import per_item, randn_like
from priors.text import condition


@dataclass(frozen=True)
class NFSD(Method):
    """`early` is the share of the schedule, t < 200 of 1000, in which eps^ of the empty prompt stands for delta_D."""

    scale: float = 7.5
    t_range: tuple[float, float] = (0.02, 0.98)
    early: float = 0.2
    negative: str = (
        "unrealistic, blurry, low quality, out of focus, ugly, low contrast, dull, dark, low-resolution, gloomy"
    )

    def gradient(self, views: Views, prior: Prior, state: Any) -> Guidance:
        x0, text, schedule = views.x0, views.text, prior.schedule
        t = timesteps.uniform(len(x0), *self.t_range, len(schedule), views.rng)
        x_t = schedule.noised(x0, randn_like(x0, views.rng), t)
        empty, negative = (y.expand(len(x0), -1, -1) for y in (text.empty, text.uncond))
        eps_y, eps_0, eps_n = branches(prior, x_t, t, condition(text, views.cameras), empty, negative)
        delta_c = eps_y - eps_0
        late = (t >= self.early * len(schedule)).to(x0.device).view(-1, 1, 1, 1)
        delta_d = torch.where(late, eps_0 - eps_n, eps_0)
        g = per_item(1 - schedule.at(t), x0) * (delta_d + self.scale * delta_c)
        log = {"t": t.float().mean().item(), "grad_norm": g.flatten(1).norm(dim=1).mean().item()}
        return Guidance(g, log=log)
