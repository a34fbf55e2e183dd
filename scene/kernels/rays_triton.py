"""Marching along rays and adding up along them on a GPU, compiled by Triton; the plain twins are in `scene.volume`.

Alphabet as there: samples sorted by ray, then from near to far. A program has a few rays, and looks at some steps or
samples of each at a time; each sum has one program of its own, so that results are equal bit by bit.
"""

from __future__ import annotations

from typing import Any

import torch
import triton.language as tl
from jaxtyping import Bool, Float, Int
from torch import Tensor

from scene.kernels.launch_triton import blocks, kernel, launch

RAYS, STEPS = 16, 32  # of a program, and of each of its rays at a time


def march(
    origin: Float[Tensor, "R 3"],
    direction: Float[Tensor, "R 3"],
    near: Float[Tensor, " R"],
    far: Float[Tensor, " R"],
    offset: Float[Tensor, " R"],
    occupied: Bool[Tensor, "G G G"],
    radius: float,
    step: float,
) -> tuple[Int[Tensor, " N"], Int[Tensor, " N"], Float[Tensor, " N"], Float[Tensor, "N 3"]]:
    """ray, slot, distance and position of the samples in occupied cells, between near and far."""
    rays, size, device = len(origin), len(occupied), origin.device
    inputs = [v.contiguous() for v in (origin, direction, near, far, offset, occupied.view(torch.uint8))]
    numbers = rays, size, step, radius, size / (2 * radius)
    first = torch.zeros(rays + 1, dtype=torch.int64, device=device)

    def run(fill: bool, count: Tensor, ray: Tensor, slot: Tensor, distance: Tensor, position: Tensor) -> None:
        arguments: tuple[Any, ...] = (*inputs, count, ray, slot, distance, position, *numbers)
        launch(_march, (blocks(rays, RAYS),), *arguments, FILL=fill, RAYS=RAYS, STEPS=STEPS)

    run(False, first[1:], first, first, near, near)
    first = first.cumsum(0)
    n = int(first[-1])
    ray, slot = (torch.empty(n, dtype=torch.int64, device=device) for _ in range(2))
    distance, position = torch.empty(n, device=device), torch.empty(n, 3, device=device)
    run(True, first, ray, slot, distance, position)
    return ray, slot, distance, position


@kernel
def _march(origin, direction, near, far, offset, occupied, count, ray, slot, distance, position, rays, size, step,
           radius, scale, FILL: tl.constexpr, RAYS: tl.constexpr, STEPS: tl.constexpr):  # fmt: skip
    """Count the samples of each ray, or fill them in from its first on."""
    r = tl.program_id(0) * RAYS + tl.arange(0, RAYS)
    real = r < rays
    start, stop = tl.load(near + r, mask=real, other=0.0), tl.load(far + r, mask=real, other=0.0)
    within = tl.load(offset + r, mask=real, other=0.0)
    ox, dx = _along(origin, r, 0, real), _along(direction, r, 0, real)
    oy, dy = _along(origin, r, 1, real), _along(direction, r, 1, real)
    oz, dz = _along(origin, r, 2, real), _along(direction, r, 2, real)
    found = tl.zeros((RAYS,), tl.int64)
    if FILL:
        found += tl.load(count + r, mask=real, other=0)
    longest = tl.max(tl.ceil((stop - start) / step), 0).to(tl.int32)  # rounded: one more is looked at
    for low in range(0, longest + 1, STEPS):
        k = low + tl.arange(0, STEPS)[None, :]
        d = start[:, None] + (k + within[:, None]) * step
        x, y, z = ox + dx * d, oy + dy * d, oz + dz * d
        reached = d < stop[:, None]
        i, j, m = _cell(x, radius, scale, size), _cell(y, radius, scale, size), _cell(z, radius, scale, size)
        hit = tl.load(occupied + (i * size + j) * size + m, mask=reached, other=0).to(tl.int32)
        if FILL:
            at = found[:, None] + tl.cumsum(hit, 1) - hit
            taken = hit != 0
            tl.store(ray + at, tl.broadcast_to(r[:, None], (RAYS, STEPS)).to(tl.int64), mask=taken)
            tl.store(slot + at, tl.broadcast_to(k, (RAYS, STEPS)).to(tl.int64), mask=taken)
            tl.store(distance + at, d, mask=taken)
            tl.store(position + 3 * at, x, mask=taken)
            tl.store(position + 3 * at + 1, y, mask=taken)
            tl.store(position + 3 * at + 2, z, mask=taken)
        found += tl.sum(hit, 1)
    if not FILL:
        tl.store(count + r, found, mask=real)


@kernel
def _along(vectors, r, axis, real):
    """A coordinate of each ray's vector, as a column."""
    return tl.load(vectors + 3 * r + axis, mask=real, other=0.0)[:, None]


@kernel
def _cell(x, radius, scale, size):
    return tl.minimum(tl.maximum(((x + radius) * scale).to(tl.int32), 0), size - 1)


def sums(value: Float[Tensor, " N"], ray: Int[Tensor, " N"], rays: int, behind: bool) -> Float[Tensor, " N"]:
    """Of each sample the sum over those in front of it on its ray, or over those behind it."""
    value, out = value.contiguous(), torch.empty_like(value, memory_format=torch.contiguous_format)
    arguments = value, _firsts(ray, rays), out, rays
    launch(_sums, (blocks(rays, RAYS),), *arguments, BEHIND=behind, RAYS=RAYS, STEPS=STEPS)
    return out


@kernel
def _sums(value, firsts, out, rays, BEHIND: tl.constexpr, RAYS: tl.constexpr, STEPS: tl.constexpr):
    r = tl.program_id(0) * RAYS + tl.arange(0, RAYS)
    first = tl.load(firsts + r, mask=r < rays, other=0)
    length = (tl.load(firsts + r + 1, mask=r < rays, other=0) - first).to(tl.int32)
    total = tl.zeros((RAYS,), tl.float32)
    for low in range(0, tl.max(length, 0), STEPS):
        k = low + tl.arange(0, STEPS)[None, :]
        inside = k < length[:, None]
        at = first[:, None] + (length[:, None] - 1 - k if BEHIND else k)
        before = tl.load(value + (at + 1 if BEHIND else at - 1), mask=inside & (k > low), other=0.0)
        here = total[:, None] + tl.cumsum(before, 1)
        tl.store(out + at, here, mask=inside)
        last = tl.load(value + at, mask=inside & (k == low + STEPS - 1), other=0.0)
        # not total + sum: Triton 3.6 cannot compile one that nothing reads after the loop
        total = tl.sum(tl.where(k == low + STEPS - 1, here + last, 0.0), 1)


def total(value: Float[Tensor, "N C"], ray: Int[Tensor, " N"], rays: int) -> Float[Tensor, "R C"]:
    """The sum of a value along each ray."""
    value, channels = value.contiguous(), value.shape[1]
    out = torch.empty(rays, channels, device=value.device)
    launch(
        _total, (blocks(rays, RAYS), channels), value, _firsts(ray, rays), out, rays, channels, RAYS=RAYS, STEPS=STEPS
    )
    return out


@kernel
def _total(value, firsts, out, rays, channels, RAYS: tl.constexpr, STEPS: tl.constexpr):
    r, c = tl.program_id(0) * RAYS + tl.arange(0, RAYS), tl.program_id(1)
    first = tl.load(firsts + r, mask=r < rays, other=0)
    length = (tl.load(firsts + r + 1, mask=r < rays, other=0) - first).to(tl.int32)
    sum = tl.zeros((RAYS,), tl.float32)
    for low in range(0, tl.max(length, 0), STEPS):
        k = low + tl.arange(0, STEPS)[None, :]
        at = (first[:, None] + k) * channels + c
        sum += tl.sum(tl.load(value + at, mask=k < length[:, None], other=0.0), 1)
    tl.store(out + r * channels + c, sum, mask=r < rays)


def _firsts(ray: Int[Tensor, " N"], rays: int) -> Int[Tensor, " R1"]:
    """Each ray's first sample, and after the last ray's the number of all."""
    return torch.searchsorted(ray, torch.arange(rays + 1, device=ray.device))
