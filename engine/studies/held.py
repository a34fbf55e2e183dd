"""SDI's official 2D setting (2405.15891, fig. 1; threestudio's 2dplayground_SDI_version): one picture, and a target
for 25 of 1,000 steps of Adam.

    x0^    the rule's target of E(D(x)), made at progress 0, 1/40, 2/40, ...;  t falls to .02
    g      = x - x0^, with the x0^ made last

E(D(x)), the decoded picture encoded again, keeps latents to those that pictures have. The official code starts at x0^
of noise, here x starts at 0; its other way, kappa from the step before, is canvas.cached_kappa.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from jaxtyping import Float
from torch import Tensor

from engine.recipes.base import Recipe
from methods.base import Guidance, Method, Views
from methods.sdi import SDI
from methods.sdi_official import SDIOfficial
from priors.base import Prior

TARGETS = 40  # a job
T_LEAST = 0.02
TINY = 1e-9  # of a target: a quotient of steps may fall short of a whole number by rounding


@dataclass
class Target:
    """The x0^ made last, which of the job's it is, and what was logged of it."""

    number: int = -1
    x0_hat: Float[Tensor, "1 C h w"] | None = None
    log: dict[str, float] = field(default_factory=dict)

    def state_dict(self) -> dict[str, Any]:
        return {"number": self.number, "x0_hat": self.x0_hat, "log": dict(self.log)}

    def load_state_dict(self, kept: dict[str, Any]) -> None:
        self.number, self.x0_hat, self.log = kept["number"], kept["x0_hat"], kept["log"]


@dataclass(frozen=True)
class Held(Method):
    """A rule whose targets are held; for one picture seen from one side, of which a target stays true."""

    of: SDI | SDIOfficial
    targets: int = TARGETS

    def start(self, prior: Prior) -> Target:
        return Target()

    def number(self, progress: float) -> int:
        """Of the target that holds at a progress in [0, 1)."""
        return int(self.targets * progress + TINY)

    def gradient(self, views: Views, prior: Prior, state: Target) -> Guidance:
        number = self.number(views.progress)
        if number != state.number:
            x = prior.encode(prior.decode(views.x0), views.rng)
            made = self.of.gradient(replace(views, x0=x), prior, None)
            state.number, state.x0_hat, state.log = number, x - made.latent, made.log
        assert state.x0_hat is not None
        g = views.x0 - state.x0_hat.to(views.x0)
        return Guidance(g, log=state.log | {"grad_norm": g.flatten(1).norm(dim=1).mean().item()})


def held(made: Recipe) -> Recipe:
    """The recipe with SDI's targets held, and its least t; of another rule as it is."""
    rule = made.method
    if not isinstance(rule, SDI | SDIOfficial):
        return made
    return replace(made, method=Held(replace(rule, t_range=(rule.t_range[0], T_LEAST))))
