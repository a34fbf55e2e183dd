"""The hash encoding, compiled: the same numbers as its plain twin in `scene.hash_grid`, sooner. Numba's kernels for a
CPU are here, Triton's for a GPU in `scene.triton_hash`.

Alphabet: x (N,3) points; level l of resolution n; (i, j, k) the vertex of a point's cell next to the origin, (u, v, w)
its place in the cell; g what a derivative is multiplied by. Tables have two features a row.

Forward, a thread has points of its own; backward, levels of its own. No sum is shared between threads and none is
reordered by the compiler, so that results are equal bit by bit for any number of threads.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from scene.compiled import array, compiled, on_gpu, serves, spread, triton_module

FEATURES = 2
PRIME_Y, PRIME_Z = 2654435761, 805459861


@dataclass(frozen=True)
class Levels:
    """The geometry of a hash grid: for each level its resolution and its first row in its table. The first `dense`
    levels lie in the first table, indexed directly, the others in the second, `mask` + 1 rows each, hashed."""

    resolutions: np.ndarray
    offsets: np.ndarray
    dense: int
    mask: int

    def spans(self, active: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """The first level and the end of those `active` in either table."""
        return (0, min(self.dense, active)), (self.dense, max(self.dense, active))


def encode(
    x: Float[Tensor, "N 3"],
    dense: Float[Tensor, "T0 2"],
    hashed: Float[Tensor, "T1 2"],
    levels: Levels,
    active: int,
    slopes: bool,
    known: Float[Tensor, "1 N LF"] | None = None,
) -> Float[Tensor, "K N LF"]:
    """The features of float32 points; with slopes, also their derivatives by x, y and z (K = 4, else 1).

    Differentiable in the tables, and without slopes in x. Features that are `known` are only differentiated."""
    return _Encode.apply(x, dense, hashed, levels, active, slopes, known)


def fits(x: Tensor, tables: Iterable[Tensor]) -> bool:
    """Whether the kernels can serve: float32, two features."""
    return serves(x, *tables) and all(table.shape[1] == FEATURES for table in tables)


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, dense, hashed, levels, active, slopes, known):
        ctx.save_for_backward(x, dense, hashed)
        ctx.levels, ctx.active, ctx.slopes = levels, active, slopes
        return known.view_as(known) if known is not None else _gathered(x, dense, hashed, levels, active, slopes)

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        x, dense, hashed = ctx.saved_tensors
        to_x = to_dense = to_hashed = None
        if ctx.needs_input_grad[0]:
            if ctx.slopes:
                raise NotImplementedError("slopes are not differentiable in x: detach it")
            slope = _gathered(x, dense, hashed, ctx.levels, ctx.active, True)[1:]
            to_x = torch.einsum("kne,ne->nk", slope, g[0])
        if any(ctx.needs_input_grad[1:3]) and on_gpu(x):
            to_dense, to_hashed = triton_module("triton_hash").scatter(x, g, dense, hashed, ctx.levels, ctx.active)
        elif any(ctx.needs_input_grad[1:3]):
            to_dense, to_hashed = torch.zeros_like(dense), torch.zeros_like(hashed)
            arrays = [array(v) for v in (x, to_dense, to_hashed)]
            spread(lambda level: _scatter_level(*arrays, *_facts(ctx.levels), level, array(g)), range(ctx.active))
        return to_x, to_dense, to_hashed, None, None, None, None


def _gathered(x: Tensor, dense: Tensor, hashed: Tensor, levels: Levels, active: int, slopes: bool) -> Tensor:
    if on_gpu(x):
        return triton_module("triton_hash").gather(x, dense, hashed, levels, active, slopes)
    width = FEATURES * len(levels.resolutions)
    new = torch.empty if active == len(levels.resolutions) else torch.zeros
    out = new(4 if slopes else 1, len(x), width)
    arrays = [array(v) for v in (x, dense, hashed)]
    count = min(torch.get_num_threads(), max(len(x), 1))
    ends = [len(x) * k // count for k in range(count + 1)]
    kernel = _gather_slopes if slopes else _gather
    spread(lambda k: kernel(*arrays, *_facts(levels), active, ends[k], ends[k + 1], out.numpy()), range(count))
    return out


def _facts(levels: Levels) -> tuple[np.ndarray, np.ndarray, int, int]:
    return levels.resolutions, levels.offsets, levels.dense, levels.mask


@compiled
def _axis(x, n):
    """The cell along an axis and the place in it; outside [0, 1], the first or last cell and a place beyond it."""
    place = x * np.float32(n)
    cell = np.int64(min(max(place, np.float32(0)), np.float32(n - 1)))
    return cell, place - np.float32(cell)


@compiled
def _rows(hashed, n, mask, offset, i, j, k):
    """The rows of the four vertices at i, and then of those at i + 1; of each the order is (j, k), (j + 1, k),
    (j, k + 1), (j + 1, k + 1)."""
    if hashed:
        j0, j1, k0, k1 = j * PRIME_Y, (j + 1) * PRIME_Y, k * PRIME_Z, (k + 1) * PRIME_Z
        a, b, c, d = j0 ^ k0, j1 ^ k0, j0 ^ k1, j1 ^ k1
        low = ((i ^ a) & mask, (i ^ b) & mask, (i ^ c) & mask, (i ^ d) & mask)
        i += 1
        high = ((i ^ a) & mask, (i ^ b) & mask, (i ^ c) & mask, (i ^ d) & mask)
    else:
        y, z = n + 1, (n + 1) * (n + 1)
        first = i + j * y + k * z
        low = (first, first + y, first + z, first + y + z)
        high = (first + 1, first + y + 1, first + z + 1, first + y + z + 1)
    return (
        np.uint64(offset + low[0]), np.uint64(offset + low[1]), np.uint64(offset + low[2]), np.uint64(offset + low[3]),
        np.uint64(offset + high[0]), np.uint64(offset + high[1]), np.uint64(offset + high[2]),
        np.uint64(offset + high[3]),
    )  # fmt: skip


@compiled
def _gather(x, dense, hashed, resolutions, offsets, first_hashed, mask, active, start, stop, out):
    one = np.float32(1)
    for level in range(active):
        n, offset, is_hashed = resolutions[level], offsets[level], level >= first_hashed
        table = hashed if is_hashed else dense
        for p in range(start, stop):
            i, u = _axis(x[p, 0], n)
            j, v = _axis(x[p, 1], n)
            k, w = _axis(x[p, 2], n)
            a, b, c, d, e, f, g, h = _rows(is_hashed, n, mask, offset, i, j, k)
            v0, w0 = one - v, one - w
            s, t, y, z = v0 * w0, v * w0, v0 * w, v * w
            for q in range(FEATURES):
                left = s * table[a, q] + t * table[b, q] + y * table[c, q] + z * table[d, q]
                right = s * table[e, q] + t * table[f, q] + y * table[g, q] + z * table[h, q]
                out[0, p, FEATURES * level + q] = (one - u) * left + u * right


@compiled
def _gather_slopes(x, dense, hashed, resolutions, offsets, first_hashed, mask, active, start, stop, out):
    one = np.float32(1)
    for level in range(active):
        n, offset, is_hashed = resolutions[level], offsets[level], level >= first_hashed
        table, rise = hashed if is_hashed else dense, np.float32(n)
        for p in range(start, stop):
            i, u = _axis(x[p, 0], n)
            j, v = _axis(x[p, 1], n)
            k, w = _axis(x[p, 2], n)
            a, b, c, d, e, f, g, h = _rows(is_hashed, n, mask, offset, i, j, k)
            u0, v0, w0 = one - u, one - v, one - w
            s, t, y, z = v0 * w0, v * w0, v0 * w, v * w
            for q in range(FEATURES):
                left = s * table[a, q] + t * table[b, q] + y * table[c, q] + z * table[d, q]
                right = s * table[e, q] + t * table[f, q] + y * table[g, q] + z * table[h, q]
                at_00 = u0 * table[a, q] + u * table[e, q]
                at_10 = u0 * table[b, q] + u * table[f, q]
                at_01 = u0 * table[c, q] + u * table[g, q]
                at_11 = u0 * table[d, q] + u * table[h, q]
                column = FEATURES * level + q
                out[0, p, column] = u0 * left + u * right
                out[1, p, column] = rise * (right - left)
                out[2, p, column] = rise * (w0 * (at_10 - at_00) + w * (at_11 - at_01))
                out[3, p, column] = rise * (v0 * (at_01 - at_00) + v * (at_11 - at_10))


@compiled
def _scatter_level(x, dense, hashed, resolutions, offsets, first_hashed, mask, level, g):
    """Add the transpose of the gather, one level's, to that level's rows."""
    one = np.float32(1)
    n, offset, is_hashed = resolutions[level], offsets[level], level >= first_hashed
    table, rise, slopes = hashed if is_hashed else dense, np.float32(n), g.shape[0] == 4
    for p in range(len(x)):
        i, u = _axis(x[p, 0], n)
        j, v = _axis(x[p, 1], n)
        k, w = _axis(x[p, 2], n)
        a, b, c, d, e, f, o, h = _rows(is_hashed, n, mask, offset, i, j, k)
        u0, v0, w0 = one - u, one - v, one - w
        s, t, y, z = v0 * w0, v * w0, v0 * w, v * w
        for q in range(FEATURES):
            column = FEATURES * level + q
            value = g[0, p, column]
            left, right = u0 * value, u * value
            if slopes:
                by_x, by_y, by_z = rise * g[1, p, column], rise * g[2, p, column], rise * g[3, p, column]
                left, right = left - by_x, right + by_x
                at_00, at_10 = -w0 * by_y - v0 * by_z, w0 * by_y - v * by_z
                at_01, at_11 = v0 * by_z - w * by_y, w * by_y + v * by_z
                table[a, q] += s * left + u0 * at_00
                table[b, q] += t * left + u0 * at_10
                table[c, q] += y * left + u0 * at_01
                table[d, q] += z * left + u0 * at_11
                table[e, q] += s * right + u * at_00
                table[f, q] += t * right + u * at_10
                table[o, q] += y * right + u * at_01
                table[h, q] += z * right + u * at_11
            else:
                table[a, q] += s * left
                table[b, q] += t * left
                table[c, q] += y * left
                table[d, q] += z * left
                table[e, q] += s * right
                table[f, q] += t * right
                table[o, q] += y * right
                table[h, q] += z * right
