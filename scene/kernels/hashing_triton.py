"""The hash encoding on a GPU, compiled by Triton: the same numbers as its plain twin in `scene.hash_grid`.

Alphabet as in `hashing_numba`. A program has a block of points and one level; levels follow each other, so that one
level's table is in the cache at a time.

The gradient of the tables is summed in 64-bit integers, in units of 2^-k of a bound of what one point can add: integers
add up to the same bits in any order, so that atomics are deterministic, and no number is lost that float32 would keep.
On dense levels, where many points meet in few rows, neighbours in a block that share a cell are added up first, and the
last of them alone goes to memory: samples come in the order of rays, one step apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from scene.kernels.launch_triton import blocks, kernel, launch

if TYPE_CHECKING:
    from scene.kernels.levels import Levels

BLOCK = 128  # points of a program
LARGEST = 62  # of an integer's bits: what all points together may fill
PRIME_Y, PRIME_Z = tl.constexpr(2654435761), tl.constexpr(805459861)


def gather(
    x: Float[Tensor, "N 3"],
    dense: Float[Tensor, "T0 2"],
    hashed: Float[Tensor, "T1 2"],
    levels: Levels,
    active: int,
    slopes: bool,
) -> tuple[Float[Tensor, "N LF"], Float[Tensor, "3 N LF"] | None]:
    """The features, and with slopes their derivatives by x, y and z; 0 of levels from `active` on."""
    width, x = 2 * len(levels.resolutions), x.contiguous()
    new = torch.empty if active == len(levels.resolutions) else torch.zeros
    out = new(4 if slopes else 1, len(x), width, device=x.device)
    facts = _facts(levels, x.device)
    for table, (first, last) in zip((dense, hashed), levels.spans(active), strict=True):
        grid = (blocks(len(x), BLOCK), last - first)
        names = {"HASHED": first >= levels.dense, "SLOPES": slopes, "BLOCK": BLOCK}
        launch(_gather, grid, x, table.contiguous(), *facts, out, len(x), width, first, levels.mask, **names)
    return out[0], out[1:] if slopes else None


def scatter(
    x: Float[Tensor, "N 3"],
    g: Float[Tensor, "N LF"],
    g_by_x: Float[Tensor, "3 N LF"] | None,
    dense: Float[Tensor, "T0 2"],
    hashed: Float[Tensor, "T1 2"],
    levels: Levels,
    active: int,
) -> tuple[Float[Tensor, "T0 2"], Float[Tensor, "T1 2"]]:
    """The gradients of both tables from that of the features (and slopes): the transpose of the gather."""
    g = g[None] if g_by_x is None else torch.cat([g[None], g_by_x])
    x, g, out = x.contiguous(), g.contiguous(), []
    facts, scale = _facts(levels, x.device), _scale(x, g, levels)
    for table, (first, last) in zip((dense, hashed), levels.spans(active), strict=True):
        total = torch.zeros(table.shape, dtype=torch.int64, device=x.device)
        grid = (blocks(len(x), BLOCK), last - first)
        names = {"HASHED": first >= levels.dense, "SLOPES": len(g) == 4, "BLOCK": BLOCK}
        launch(_scatter, grid, x, g, *facts, scale, total, len(x), g.shape[2], first, levels.mask, **names)
        start, end = (0, levels.dense) if first == 0 else (levels.dense, len(levels.resolutions))
        rows = torch.tensor([*levels.offsets[start + 1 : end], len(table)], device=x.device)
        rows = rows.diff(prepend=rows.new_zeros(1)) if end > start else rows[:0]
        unit = (1 / scale[start:end].double()).repeat_interleave(rows, output_size=len(table))
        out.append((total * unit[:, None]).float())
    return out[0], out[1]


def _scale(x: Float[Tensor, "N 3"], g: Float[Tensor, "K N LF"], levels: Levels) -> Float[Tensor, " L"]:
    """How many units of a level's integers make 1: a power of two, such that the sum of all points fits. Not a number
    where g is not, and infinite g give 0: what is divided by it is not finite either.

    A vertex takes at most prod_a (1 + n beyond_a) |g|, beyond_a how far points lie outside of the cube, and of a
    slope n times as much."""
    n = torch.as_tensor(levels.resolutions, device=x.device)
    if len(x) == 0:
        return torch.ones(len(n), device=x.device)
    peak = g.abs().amax(1).unflatten(-1, (len(n), 2)).amax(-1).double()
    beyond = (x - x.clamp(0, 1)).abs().amax(0).double()
    bound = (peak[0] + n * peak[1:].sum(0)) * (1 + n[:, None] * beyond).prod(-1)
    bits = LARGEST - torch.log2(torch.tensor(8.0 * len(x), dtype=torch.float64)) - torch.log2(bound)
    return torch.exp2(bits.floor().clamp(max=120)).float()


def _facts(levels: Levels, device: torch.device) -> tuple[Tensor, Tensor]:
    """Each level's resolution and first row, on the device."""
    both = torch.as_tensor(np.stack([levels.resolutions, levels.offsets]), dtype=torch.int32, device=device)
    return both[0], both[1]


@kernel
def _axis(x, p, axis, inside, n):
    """The cell along an axis and the place in it; outside [0, 1], the first or last cell and a place beyond it."""
    place = tl.load(x + 3 * p + axis, mask=inside, other=0.0) * n
    low = tl.where(place > 0, place, 0.0)  # what is not a number is in the first
    cell = tl.minimum(low, n - 1.0).to(tl.int32)
    return cell, place - cell


@kernel
def _cell(x, p, points, n):
    """The number of a point's cell; -1 where there is no such point."""
    inside = (p >= 0) & (p < points)
    i, _ = _axis(x, p, 0, inside, n)
    j, _ = _axis(x, p, 1, inside, n)
    k, _ = _axis(x, p, 2, inside, n)
    return tl.where(inside, i + n * (j + n * k), -1)


@kernel
def _row(i, j, k, n, mask, HASHED: tl.constexpr):
    """Of the vertex (i, j, k), counted from the level's first."""
    if HASHED:
        hash = i.to(tl.uint32) ^ (j.to(tl.uint32) * PRIME_Y) ^ (k.to(tl.uint32) * PRIME_Z)
        return hash.to(tl.int32) & mask
    else:
        return i + j * (n + 1) + k * (n + 1) * (n + 1)


@kernel
def _gather(x, table, resolutions, offsets, out, points, width, first, mask, HASHED: tl.constexpr,
            SLOPES: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    level = first + tl.program_id(1)
    n, offset = tl.load(resolutions + level), tl.load(offsets + level)
    p = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = p < points
    i, u = _axis(x, p, 0, inside, n)
    j, v = _axis(x, p, 1, inside, n)
    k, w = _axis(x, p, 2, inside, n)
    q = tl.arange(0, 2)[None, :]
    e = tl.zeros((BLOCK, 2), tl.float32)
    by_x, by_y, by_z = e, e, e
    for c in tl.static_range(2):
        for b in tl.static_range(2):
            for a in tl.static_range(2):
                row = offset + _row(i + a, j + b, k + c, n, mask, HASHED)
                entry = tl.load(table + 2 * row[:, None] + q, mask=inside[:, None], other=0.0)
                wu, wv, ww = u if a else 1 - u, v if b else 1 - v, w if c else 1 - w
                e += (wu * wv * ww)[:, None] * entry
                if SLOPES:
                    by_x += ((2 * a - 1) * wv * ww)[:, None] * entry
                    by_y += ((2 * b - 1) * wu * ww)[:, None] * entry
                    by_z += ((2 * c - 1) * wu * wv)[:, None] * entry
    at = out + p[:, None] * width + 2 * level + q
    tl.store(at, e, mask=inside[:, None])
    if SLOPES:
        kind = tl.cast(points, tl.int64) * width
        tl.store(at + kind, n * by_x, mask=inside[:, None])
        tl.store(at + 2 * kind, n * by_y, mask=inside[:, None])
        tl.store(at + 3 * kind, n * by_z, mask=inside[:, None])


@kernel
def _sum_from_head(a, a_head, b, b_head):
    """Of a scan: the sum since the last head."""
    return tl.where(b_head != 0, b, a + b), a_head | b_head


@kernel
def _scatter(x, g, resolutions, offsets, scales, total, points, width, first, mask, HASHED: tl.constexpr,
             SLOPES: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    level = first + tl.program_id(1)
    n, offset, scale = tl.load(resolutions + level), tl.load(offsets + level), tl.load(scales + level)
    lane = tl.arange(0, BLOCK)
    p = tl.program_id(0).to(tl.int64) * BLOCK + lane
    inside = p < points
    i, u = _axis(x, p, 0, inside, n)
    j, v = _axis(x, p, 1, inside, n)
    k, w = _axis(x, p, 2, inside, n)
    q = tl.arange(0, 2)[None, :]
    at = g + p[:, None] * width + 2 * level + q
    value = tl.load(at, mask=inside[:, None], other=0.0)
    if SLOPES:
        kind = tl.cast(points, tl.int64) * width
        by_x = n * tl.load(at + kind, mask=inside[:, None], other=0.0)
        by_y = n * tl.load(at + 2 * kind, mask=inside[:, None], other=0.0)
        by_z = n * tl.load(at + 3 * kind, mask=inside[:, None], other=0.0)
    if HASHED:
        goes = inside[:, None]
    else:
        here = i + n * (j + n * k)
        head = (lane == 0) | (here != _cell(x, p - 1, points, n))
        goes = (inside & ((lane == BLOCK - 1) | (here != _cell(x, p + 1, points, n))))[:, None]
        heads = tl.broadcast_to(head[:, None], (BLOCK, 2)).to(tl.int32)
    for c in tl.static_range(2):
        for b in tl.static_range(2):
            for a in tl.static_range(2):
                row = offset + _row(i + a, j + b, k + c, n, mask, HASHED)
                wu, wv, ww = u if a else 1 - u, v if b else 1 - v, w if c else 1 - w
                add = (wu * wv * ww)[:, None] * value
                if SLOPES:
                    add += ((2 * a - 1) * wv * ww)[:, None] * by_x
                    add += ((2 * b - 1) * wu * ww)[:, None] * by_y
                    add += ((2 * c - 1) * wu * wv)[:, None] * by_z
                units = (add * scale).to(tl.int64)
                if not HASHED:
                    units, _ = tl.associative_scan((units, heads), 0, _sum_from_head)
                tl.atomic_add(total + 2 * row[:, None] + q, units, mask=goes, sem="relaxed")
