"""Which timesteps a step of optimisation visits: pure in (progress, rng).

Alphabet: progress in [0, 1]; times are fractions of the schedule's length, in [0, 1].
"""

from __future__ import annotations

from math import sqrt as root

import torch
from jaxtyping import Float, Int
from torch import Tensor


def uniform(batch: int, low: float, high: float, length: int, rng: torch.Generator) -> Int[Tensor, " B"]:
    """Integer timesteps, one an item, uniform in {int(length low), ..., int(length high)}."""
    return torch.randint(int(length * low), int(length * high) + 1, (batch,), generator=rng, device=rng.device)


def nearest(time: Float[Tensor, " B"], length: int) -> Int[Tensor, " B"]:
    """Timesteps of times in [0, 1], rounded; the last one for what lies beyond."""
    return (length * time).round().clamp(max=length - 1).long()


def linear(progress: float, start: float, end: float) -> float:
    """From start to end at constant speed (SDI, 2405.15891, algorithm 2)."""
    return end + (start - end) * (1 - progress)


def sqrt(progress: float, start: float, end: float) -> float:
    """From start to end as the root of progress, fast at first (HiFA, 2305.18766, eq. 10)."""
    return end + (start - end) * (1 - root(progress))
