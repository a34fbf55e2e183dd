"""SJC: score Jacobian chaining. Wang et al., arXiv 2212.00774, section 4.

    t ~ U{10, ..., 970} for each view,  n ~ N(0, I),  z = y + s~ n
    D(z) = z - s~ eps^(z / sqrt(1 + s~^2); text, t)       the denoiser, in the units of y
    g    = (y - D(z)) / s~                                = eps^ - n: SDS with w = 1
    g    = (z - D(z)) / s~                                without variance reduction

The official loop has no VAE: y are the rendered latents of a voxel grid (scene/voxels.py).
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


@dataclass(frozen=True)
class SJC(Method):
    """The published scale is 100 for eps_u + s (eps_c - eps_u), this project's form; threestudio's, which Table 1 of
    2405.15891 has, is 100 for eps_c + s (eps_c - eps_u), which is 101 here."""

    scale: float = 100.0
    t_range: tuple[float, float] = (0.01, 0.97)
    variance_reduction: bool = True
    perp_neg: bool = False

    def gradient(self, views: Views, prior: Prior, state: Any) -> Guidance:
        y, schedule = views.x0, prior.schedule
        t = timesteps.uniform(len(y), *self.t_range, len(schedule), views.rng)
        s = per_item(schedule.s(t), y)
        z = y + s * randn_like(y, views.rng)
        g = ((y if self.variance_reduction else z) - self.denoised(views, prior, z, t)) / s
        log = {"t": t.float().mean().item(), "grad_norm": g.flatten(1).norm(dim=1).mean().item()}
        return Guidance(g, log=log)

    def denoised(
        self, views: Views, prior: Prior, z: Float[Tensor, "B C h w"], t: Int[Tensor, " B"]
    ) -> Float[Tensor, "B C h w"]:
        """D(z; s~): what the prior takes z = y + s~ n for. The network wants unit variance, hence the root."""
        s = per_item(prior.schedule.s(t), z)
        x_t = z / (1 + s**2).sqrt()
        return z - s * guided_eps(prior, x_t, t, views.text, views.cameras, self.scale, self.perp_neg)
