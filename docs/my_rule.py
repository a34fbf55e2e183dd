"""A rule of your own, to copy: `run_benchmark.py --methods sds docs/my_rule.py:MyRule`. See your-own-rule.md.

t ~ U{20, ..., 980} for each view,  eps ~ N(0, I),  x_t = a x0 + sigma eps
g = sigma [eps^(x_t; y, t) - eps]
"""

from dataclasses import dataclass

from methods import timesteps
from methods.base import Guidance, Method
from priors.guidance import guided_eps
from priors.schedule import per_item, randn_like


@dataclass(frozen=True)
class MyRule(Method):
    """Fields are the rule's settings, with their defaults. `scale` is what `sweep --cfg` sets."""

    scale: float = 7.5
    t_range: tuple[float, float] = (0.02, 0.98)

    # guidance_weight = 1.0  # measured where it is not given: RMS(guidance_weight g) = 1 over the first 50 steps

    def gradient(self, views, prior, state):
        """views: x0 (B,C,h,w) latents, image (B,3,H,W) in [0, 1], text, cameras, progress in [0, 1], rng."""
        x0, schedule = views.x0, prior.schedule
        t = timesteps.uniform(len(x0), *self.t_range, len(schedule), views.rng)
        eps = randn_like(x0, views.rng)
        x_t = schedule.noised(x0, eps, t)
        eps_hat = guided_eps(prior, x_t, t, views.text, views.cameras, self.scale)
        g = per_item(schedule.sigma(t), x0) * (eps_hat - eps)
        return Guidance(g, log={"t": t.float().mean().item()})
