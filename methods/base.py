"""What every distillation rule is: a function from detached views to a gradient on the latents.

Alphabet: x0 latents of the rendered views (B,C,h,w); g the gradient, so that the surrogate loss of the loop is
guidance_weight * <x0, g> / B; progress in [0, 1]; rng the job's own random stream.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from priors.base import Prior, Text
from scene.cameras import Cameras


@dataclass(frozen=True)
class Views:
    """Detached renders of one step: latents, the images they encode, and what they were taken of and from. Of a scene
    that is latent itself, the image is its latents."""

    x0: Float[Tensor, "B C h w"]
    image: Float[Tensor, "B D H W"]
    text: Text
    cameras: Cameras
    progress: float
    rng: torch.Generator


@dataclass(frozen=True)
class Guidance:
    """The pull of the prior: a gradient on the latents, one on the images for the rules that have it, and a log."""

    latent: Float[Tensor, "B C h w"]
    image: Float[Tensor, "B D H W"] | None = None
    log: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """A distillation rule. Subclasses are frozen dataclasses whose fields are the rule's hyper-parameters."""

    # the prompt that guidance leads away from; a rule that has one makes it a field
    negative = ""

    def start(self, prior: Prior) -> Any:
        """Extra trained state (VSD's and ESD's student), or None."""
        return None

    def gradient(self, views: Views, prior: Prior, state: Any) -> Guidance:
        """The gradient g of the rule at the views. Called under `torch.no_grad`."""
        raise NotImplementedError(f"{type(self).__name__} defines no gradient")

    def learn(self, views: Views, prior: Prior, state: Any) -> dict[str, float]:
        """Train the extra state on the same views; returns a log."""
        return {}


def fields_of(rule: Method) -> dict[str, Any]:
    """A rule's hyper-parameters by name: of one from a file, those of what its wrapping holds as `rule`
    (engine.recipes.outside)."""
    own: Any = getattr(rule, "rule", rule)
    return {f.name: getattr(own, f.name) for f in fields(own)}


def with_fields(rule: Method, **values: Any) -> Method:
    """The rule with other hyper-parameters, in its wrapping where it has one."""
    if hasattr(rule, "rule"):
        return rule.with_fields(**values)  # type: ignore[attr-defined]
    return replace(rule, **values)


def phi_of(rule: Method) -> str | None:
    """The folder of the model that the rule's student starts as, empty for the prior itself; None for a rule that has
    no such field."""
    phi = fields_of(rule).get("phi")
    return phi if isinstance(phi, str) else None
