"""VSD: variational score distillation. ProlificDreamer, Wang et al., arXiv 2305.16213, eq. 9 and algorithm 1.

    g = w(t) [eps^(x_t; y, t) - eps_phi(x_t; y, c, t)]

t, x_t, w and how phi is trained: variational.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from methods.base import Views
from methods.variational import Variational


@dataclass(frozen=True)
class VSD(Variational):
    """The student sees the camera of every view."""

    def eps_phi(
        self, views: Views, state: Any, x_t: Float[Tensor, "B C h w"], t: Int[Tensor, " B"]
    ) -> Float[Tensor, "B C h w"]:
        return state.eps(x_t, t, views.text.plain.expand(len(x_t), -1, -1), views.cameras.c2w)
