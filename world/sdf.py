"""A vocabulary of signed distances: solids, ways to move and join them, and procedural colours.

A *solid* maps points p (N,3) to signed distances (N,), negative inside. A *colour* is an RGB triple in [0, 1] or a
function of points p (N,3) -> (N,3). A *part* is a solid with a colour. Lengths in scene units, angles in degrees,
z up. Distances are exact or lower bounds near the surface, which sphere tracing needs (Hart 1996).

Points are kept as columns, (N,3) of strides (1,N), in which a toy is traced in half the time that rows take. `points`,
`length` and `azimuth` see to it, and to roundings: these are those of rows, wherever a point stands among others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

Solid = Callable[[Tensor], Tensor]
Vec = tuple[float, float, float]
Colour = Vec | Callable[[Tensor], Tensor]


class Part(NamedTuple):
    """A solid of one colour. Parts of a toy that carry a positive `blend` (scene units) melt into the parts before."""

    solid: Solid
    colour: Colour
    blend: float = 0.0


# Points --------------------------------------------------------------------------------------------------------


def points(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Points (N,3) of coordinates (N,)."""
    return torch.stack([x, y, z]).T


def length(p: Tensor) -> Tensor:
    """Of vectors (N,D), (N,): what p.norm(dim=-1) says of rows, to the last bit."""
    squares = p[:, 0] * p[:, 0]
    for k in range(1, p.shape[1]):
        squares = torch.addcmul(squares, p[:, k], p[:, k])
    # torch's own root of neighbouring values is an approximation on a CPU
    return squares.sqrt() if squares.is_cuda else torch.from_numpy(np.sqrt(squares.numpy()))


def azimuth(p: Tensor) -> Tensor:
    """Of points (N,3), (N,): radians counter-clockwise from +x. Of values that are no neighbours torch asks the C
    library, of neighbours something quicker, but not of the last few."""
    apart = torch.stack([p[:, 1], p[:, 0]], -1)
    return torch.atan2(apart[:, 0], apart[:, 1])


# Solids, centred at the origin ---------------------------------------------------------------------------------


def ball(r: float) -> Solid:
    return lambda p: length(p) - r


def egg(x: float, y: float, z: float) -> Solid:
    """An ellipsoid of half-axes x, y, z (the first-order bound of its distance)."""

    def distance(p: Tensor) -> Tensor:
        half = p.new_tensor([x, y, z])
        k0, k1 = length(p / half), length(p / half**2)
        return torch.where(k1 > 1e-6, k0 * (k0 - 1) / k1.clamp(min=1e-6), p.new_tensor(-min(x, y, z)))

    return distance


def box(x: float, y: float, z: float, round: float = 0.02) -> Solid:
    """A box of half-edges x, y, z with rounded edges."""

    def distance(p: Tensor) -> Tensor:
        q = p.abs() - p.new_tensor([x, y, z]) + round
        return length(q.clamp(min=0)) + q.amax(dim=-1).clamp(max=0) - round

    return distance


def rod(a: Vec, b: Vec, ra: float, rb: float | None = None) -> Solid:
    """A capsule from a to b whose radius goes from ra to rb."""
    rb = ra if rb is None else rb

    def distance(p: Tensor) -> Tensor:
        start, axis = p.new_tensor(a), p.new_tensor(b) - p.new_tensor(a)
        s = ((p - start) @ axis / axis.dot(axis)).clamp(0, 1)
        return length(p - start - (axis[:, None] * s).T) - (ra + (rb - ra) * s)

    return distance


def drum(r: float, half: float, round: float = 0.01, top: float | None = None) -> Solid:
    """A cylinder about z of half-height `half`; with `top`, a truncated cone of radius r below and `top` above."""
    top = r if top is None else top
    slope = math.cos(math.atan2(abs(r - top), 2 * half))

    def distance(p: Tensor) -> Tensor:
        radius = r + (top - r) * ((p[:, 2] + half) / (2 * half)).clamp(0, 1)
        side = (length(p[:, :2]) - radius) * slope + round
        cap = p[:, 2].abs() - half + round
        outside = length(torch.stack([side, cap]).clamp(min=0).T)
        return outside + torch.maximum(side, cap).clamp(max=0) - round

    return distance


def ring(radius: float, r: float) -> Solid:
    """A torus about z."""
    return lambda p: length(torch.stack([length(p[:, :2]) - radius, p[:, 2]]).T) - r


def coil(turns: float, a: Vec, b: Vec, phase: float = 0.0) -> Solid:
    """A tube that winds counter-clockwise about z from azimuth `phase` on, its distance from z, its height and its
    radius going evenly from a to b. A lower bound but for points near z, between turns."""
    pitch = math.dist(a, b) / (2 * math.pi * turns)

    def distance(p: Tensor) -> Tensor:
        angle = azimuth(p) - math.radians(phase)
        lap = torch.arange(-1, math.ceil(turns), device=p.device)
        t = ((angle / (2 * math.pi)) % 1)[:, None] + lap  # where each lap passes by the point
        t = t.clamp(0, turns)
        reach, height, r = (start + (end - start) * t / turns for start, end in zip(a, b, strict=True))
        around = 2 * math.pi * t + math.radians(phase)
        centre = torch.stack([reach * around.cos(), reach * around.sin(), height])
        apart = (p.T[..., None] - centre).flatten(1)
        rho = length(p[:, :2])
        return (length(apart.T).view_as(r) - r).amin(-1) * rho / (rho + pitch)  # divided by its slope

    return distance


# Moving and joining --------------------------------------------------------------------------------------------


def at(x: float, y: float, z: float, solid: Solid) -> Solid:
    """The solid moved to (x, y, z)."""
    return lambda p: solid(p - p.new_tensor([x, y, z]))


def turn(axis: str, degrees: float, solid: Solid) -> Solid:
    """The solid turned counter-clockwise about the axis 'x', 'y' or 'z'."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = {
        "x": [[1, 0, 0], [0, c, -s], [0, s, c]],
        "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
        "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]],
    }[axis]
    return lambda p: solid((p.new_tensor(matrix).T @ p.T).T)


def twins(solid: Solid) -> Solid:
    """The solid at y > 0, and its mirror image at y < 0."""
    return lambda p: solid(points(p[:, 0], p[:, 1].abs(), p[:, 2]))


def around(n: int, solid: Solid, phase: float = 0.0) -> Solid:
    """n copies of the solid (which lies at x > 0) evenly about z, the first at azimuth `phase`."""

    def distance(p: Tensor) -> Tensor:
        sector = 2 * math.pi / n
        angle = azimuth(p) - math.radians(phase)
        angle = angle - sector * torch.round(angle / sector)
        r = length(p[:, :2])
        return solid(points(r * angle.cos(), r * angle.sin(), p[:, 2]))

    return distance


def join(*solids: Solid, blend: float = 0.0) -> Solid:
    """The union, with seams smoothed over `blend`."""

    def distance(p: Tensor) -> Tensor:
        d = solids[0](p)
        for solid in solids[1:]:
            d = smooth_min(d, solid(p), blend)
        return d

    return distance


def cut(solid: Solid, *tools: Solid) -> Solid:
    """The solid without the tools."""

    def distance(p: Tensor) -> Tensor:
        d = solid(p)
        for tool in tools:
            d = torch.maximum(d, -tool(p))
        return d

    return distance


def both(a: Solid, b: Solid) -> Solid:
    """The intersection."""
    return lambda p: torch.maximum(a(p), b(p))


def above(z: float) -> Solid:
    """The half-space over the height z."""
    return lambda p: z - p[:, 2]


def smooth_min(a: Tensor, b: Tensor, k: float) -> Tensor:
    """The polynomial smooth minimum (Quilez): equal to min(a, b) where they differ by k or more."""
    if k <= 0:
        return torch.minimum(a, b)
    h = (k - (a - b).abs()).clamp(min=0) / k
    return torch.minimum(a, b) - h * h * k / 4


# Colours -------------------------------------------------------------------------------------------------------


def shade(colour: Colour, p: Tensor) -> Tensor:
    """The colour at points p (N,3), as (N,3)."""
    return colour(p) if callable(colour) else p.new_tensor(colour).expand(len(p), 3)


def where(mask: Callable[[Tensor], Tensor], inside: Colour, outside: Colour) -> Colour:
    """One colour where the mask (points -> bool) holds, another elsewhere."""
    return lambda p: torch.where(mask(p)[:, None], shade(inside, p), shade(outside, p))


def within(solid: Solid, inside: Colour, outside: Colour) -> Colour:
    """One colour inside a solid, another outside: paint by solids."""
    return where(lambda p: solid(p) < 0, inside, outside)


def stripes(axis: int, period: float, a: Colour, b: Colour, phase: float = 0.0) -> Colour:
    """Bands of equal width across x (0), y (1) or z (2)."""
    return where(lambda p: ((p[:, axis] + phase) / period) % 1 < 0.5, a, b)


def segments(n: int, a: Colour, b: Colour) -> Colour:
    """n pairs of sectors about z."""
    return where(lambda p: (azimuth(p) / (2 * math.pi) * n) % 1 < 0.5, a, b)


def fade(axis: int, low: float, high: float, a: Vec, b: Vec) -> Colour:
    """From colour a at `low` to colour b at `high` along an axis."""

    def colour(p: Tensor) -> Tensor:
        s = ((p[:, axis] - low) / (high - low)).clamp(0, 1)[:, None]
        return p.new_tensor(a) * (1 - s) + p.new_tensor(b) * s

    return colour


def dots(n: int, size: float, dot: Colour, ground: Colour, turned: float = 0.0) -> Colour:
    """n round dots of angular radius `size` (degrees) on a Fibonacci lattice of directions from the origin."""
    k = torch.arange(n, dtype=torch.float64) + 0.5
    z, angle = 1 - 2 * k / n, math.pi * (1 + 5**0.5) * k + math.radians(turned)
    xy = (1 - z * z).sqrt()
    lattice = torch.stack([xy * angle.cos(), xy * angle.sin(), z], -1)
    near = math.cos(math.radians(size))
    return where(
        lambda p: ((p / length(p)[:, None].clamp(min=1e-6)) @ lattice.to(p).T).amax(-1) > near,
        dot,
        ground,
    )


# Toys ----------------------------------------------------------------------------------------------------------


BOUND = 0.56  # of every toy: the radius of the ball about the origin that it is cut to
AT_ONCE = 2**16  # points


def distance(parts: list[Part], p: Tensor) -> Tensor:
    """Signed distance of points p (N,3) to a toy, (N,)."""
    return torch.cat([_distance(parts, some) for some in _some(p)])


def _some(p: Tensor) -> Iterator[Tensor]:
    """Points (N,3) as columns, on a CPU so many at a time as its cache holds with what is computed of them."""
    return (some.T for some in p.T.contiguous().split(len(p) if p.is_cuda else AT_ONCE, 1))


def _distance(parts: list[Part], p: Tensor) -> Tensor:
    d = parts[0].solid(p)
    for part in parts[1:]:
        d = smooth_min(d, part.solid(p), part.blend)
    return torch.maximum(d, ball(BOUND)(p))


def albedo(parts: list[Part], p: Tensor, seam: float = 0.004) -> Tensor:
    """Colour of points p (N,3) on a toy, (N,3): the nearest part's, mixed over a seam of a fraction of a pixel."""
    return torch.cat([_albedo(parts, some, seam) for some in _some(p)])


def _albedo(parts: list[Part], p: Tensor, seam: float) -> Tensor:
    d = torch.stack([part.solid(p) for part in parts], -1)
    weight = torch.softmax(-d / seam, -1)
    colours = torch.stack([shade(part.colour, p) for part in parts], 1)
    return (weight[..., None] * colours).sum(1)
