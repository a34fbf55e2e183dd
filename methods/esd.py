"""ESD: entropic score distillation. Wang et al., "Taming Mode Collapse", arXiv 2401.00909.

    eps_phi = lambda eps_phi(x_t; y, no camera, t) + (1 - lambda) eps_phi(x_t; y, c, t)
    g       = w(t) [eps^(x_t; y, t) - eps_phi]

t, x_t, w and how phi is trained are VSD's (2305.16213), which is lambda = 0: variational.py. lambda weighs the entropy
of the views' distribution, whose score phi knows from the steps in which its camera is left out. Views of N(mu, s^2)
then spread by max(0, lambda s^2 - (1 - lambda) s~^2) around mu, at a single t.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from methods.base import Views
from methods.variational import Variational


@dataclass(frozen=True)
class ESD(Variational):
    """The authors run VSD's published settings with lambda .5, which threestudio's code for VSD names 1 - lambda:
    its scale of phi."""

    entropy: float = 0.5  # lambda

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
