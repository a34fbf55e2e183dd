"""What a toy is: its prompt, its parts, and how its variants differ.

Variant 0 is the toy as it is drawn. In the others the colours lean to another hue, the proportions change, and where
the drawing asks `v.pick` or `v.size`, patterns, accessories and single lengths do too.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from torch import Tensor

from world.sdf import Part, Solid, shade

T = TypeVar("T")

WHITE, BLACK, INK = (0.95, 0.94, 0.92), (0.05, 0.05, 0.06), (0.12, 0.12, 0.16)
RED, GREEN, LEAF = (0.85, 0.07, 0.08), (0.15, 0.55, 0.16), (0.2, 0.42, 0.1)
BLUE, YELLOW, GOLD = (0.1, 0.2, 0.8), (0.98, 0.8, 0.1), (0.98, 0.72, 0.08)
BROWN, TAN, CREAM, PINK = (0.4, 0.22, 0.1), (0.8, 0.56, 0.3), (0.96, 0.88, 0.7), (0.95, 0.6, 0.62)

HUE, SHRINK, SIZE = 12.0, 0.16, 0.18  # at most: degrees of hue, shrinking of an axis, change of a length


class Variant:
    """The choices of variant k of a toy, drawn in the order in which the drawing asks for them."""

    def __init__(self, prompt: str, k: int):
        self.k, self._draw = k, random.Random(f"{k} {prompt}")

    def pick(self, *options: T) -> T:
        """One of the options; the first in variant 0."""
        return self._draw.choice(options) if self.k else options[0]

    def size(self, length: float) -> float:
        """A length, up to 18 % longer or shorter."""
        return length * (1 + self._draw.uniform(-SIZE, SIZE)) if self.k else length

    def finished(self, parts: Sequence[Part]) -> list[Part]:
        """The parts with this variant's lean of hue, and its proportions."""
        if not self.k:
            return list(parts)
        hue, value = self._draw.uniform(-HUE, HUE), self._draw.uniform(0.85, 1.0)
        scale = tuple(1 - self._draw.uniform(0, SHRINK) for _ in range(3))
        return [Part(_scaled(p.solid, scale), _leaning(p, hue, value, scale), p.blend) for p in parts]


class Toy(NamedTuple):
    """An object of the world."""

    prompt: str
    draw: Callable[[Variant], list[Part]]
    has_front: bool  # a person could tell its front from its back

    def parts(self, variant: int = 0) -> list[Part]:
        """What one variant of it is made of."""
        v = Variant(self.prompt, variant)
        return v.finished(self.draw(v))


OBJECTS: dict[str, Toy] = {}


def toy(prompt: str, front: bool = False) -> Callable[[Callable[[Variant], list[Part]]], Callable]:
    """Register the decorated drawing as the toy of a prompt."""

    def register(draw: Callable[[Variant], list[Part]]) -> Callable:
        OBJECTS[prompt] = Toy(prompt, draw, front)
        return draw

    return register


def _scaled(solid: Solid, scale: Sequence[float]) -> Solid:
    least = min(scale)
    return lambda p: solid(p / p.new_tensor(scale)) * least


def _leaning(part: Part, hue: float, value: float, scale: Sequence[float]) -> Callable[[Tensor], Tensor]:
    """A part's colours turned about the grey axis by `hue` degrees, and darkened to `value`."""
    c, s = math.cos(math.radians(hue)), math.sin(math.radians(hue)) / 3**0.5
    same, next_, last = c + (1 - c) / 3, (1 - c) / 3 - s, (1 - c) / 3 + s
    turn = [[same, next_, last], [last, same, next_], [next_, last, same]]

    def colour(p: Tensor) -> Tensor:
        return (value * shade(part.colour, p / p.new_tensor(scale)) @ p.new_tensor(turn)).clamp(0, 1)

    return colour
