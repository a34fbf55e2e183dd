"""What animals are made of besides balls and rods: bent limbs, rows of spikes, fur, broken shells, veined stone."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor

from world.sdf import Colour, Solid, Vec, azimuth, join, rod, where


def limb(ra: float, rb: float, *joints: Vec) -> Solid:
    """A bent leg or tail through the joints, whose radius goes from ra to rb."""
    n = len(joints) - 1
    radius = [ra + (rb - ra) * i / n for i in range(n + 1)]
    return join(*(rod(*ends, *radii) for ends, radii in zip(pairwise(joints), pairwise(radius), strict=True)))


def row(n: int, step: Vec, solid: Solid) -> Solid:
    """n copies of a solid that is narrower than a step, each a step further."""

    def distance(p: Tensor) -> Tensor:
        stride = p.new_tensor(step)
        k = (p @ stride / stride.dot(stride)).round().clamp(0, n - 1)
        return solid(p - k[:, None] * stride)

    return distance


def fluffy(solid: Solid, depth: float = 0.012, rate: float = 50.0) -> Solid:
    """The solid with tufts; divided by its greatest slope, so that it stays a lower bound."""
    return lambda p: (solid(p) - depth * (rate * p).sin().prod(-1)) / (1 + depth * rate)


def under_zigzag(n: int, low: float, high: float) -> Solid:
    """What lies under a broken edge of n teeth about z (for teeth at most twice as high as wide)."""

    def distance(p: Tensor) -> Tensor:
        tooth = (azimuth(p) / (2 * math.pi) * n % 1 - 0.5).abs() * 2
        return 0.5 * (p[:, 2] - low - (high - low) * tooth)

    return distance


def marble(ground: Colour, vein: Colour, width: float = 0.26) -> Colour:
    """Wandering veins: the zeros of a sum of waves."""

    def veined(p: Tensor) -> Tensor:
        waves = p.new_tensor([[7.0, 5.0, 9.0], [-11.0, 8.0, 4.0], [6.0, -14.0, 10.0]])
        return (p @ waves.T + p.new_tensor([0.3, 1.1, 2.0])).sin().sum(-1).abs() < width

    return where(veined, vein, ground)
