"""HiFA: high-fidelity text-to-3D with advanced diffusion guidance. Zhu et al., arXiv 2305.18766.

    t      = .3 + (.98 - .3) (1 - sqrt(progress)), the same for all views;  eps ~ N(0, I),  x_t = a x + sigma eps
    x0^    = (x_t - sigma eps^(x_t; y, t)) / a
    g      = w (eps^ - eps) = w (a / sigma) (x - x0^),   w = 1 - abar_t
    g_img  = .01 w (a / sigma) (rgb - decode(x0^))

These are threestudio's weights; HiFA's own repository has others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from methods import timesteps
from methods.base import Guidance, Method, Views
from priors.base import Prior
from priors.guidance import guided_eps
from priors.schedule import per_item, randn_like


@dataclass(frozen=True)
class HiFA(Method):
    """The published scale is 100 for eps_c + s (eps_c - eps_u), which is 101 for eps_u + s (eps_c - eps_u)."""

    scale: float = 101.0
    t_range: tuple[float, float] = (0.98, 0.3)
    image_weight: float = 0.01
    perp_neg: bool = False

    def gradient(self, views: Views, prior: Prior, state: Any) -> Guidance:
        length = len(prior.schedule)
        t = int(length * timesteps.sqrt(views.progress, *self.t_range))
        return self.pull(views, prior, torch.full((len(views.x0),), min(t, length - 1)))

    def pull(self, views: Views, prior: Prior, t: Int[Tensor, " B"]) -> Guidance:
        """The gradients at given timesteps, one a view."""
        x0, schedule = views.x0, prior.schedule
        eps = randn_like(x0, views.rng)
        x_t = schedule.noised(x0, eps, t)
        eps_hat = guided_eps(prior, x_t, t, views.text, views.cameras, self.scale, self.perp_neg)
        w = 1 - schedule.at(t)
        g = per_item(w, x0) * (eps_hat - eps)
        log = {"t": t.float().mean().item(), "grad_norm": g.flatten(1).norm(dim=1).mean().item()}
        if not self.image_weight:
            return Guidance(g, log=log)
        goal = prior.decode(schedule.x0_of(x_t, eps_hat, t))
        away = difference(views.image, goal)
        g_img = self.image_weight * per_item(w / schedule.s(t), away) * away
        return Guidance(g, g_img, log=log)


def difference(image: Float[Tensor, "B 3 H W"], goal: Float[Tensor, "B 3 G G"]) -> Float[Tensor, "B 3 H W"]:
    """d/d image of 1/2 |resized(image) - goal|^2: the difference itself where the sizes are equal."""
    if image.shape == goal.shape:
        return image - goal
    with torch.enable_grad():
        leaf = image.detach().requires_grad_()
        resized = functional.interpolate(leaf, goal.shape[-2:], mode="bilinear", align_corners=False)
        return torch.autograd.grad(0.5 * (resized - goal).square().sum(), leaf)[0]
