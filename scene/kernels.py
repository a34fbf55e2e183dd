"""The hash encoding, compiled: the same numbers as its plain twin in `scene.hash_grid`, sooner. Numba's kernels for a
CPU are here, Triton's for a GPU in `scene.triton_hash`.

Alphabet: x (N,3) points; level l of resolution n; (i, j, k) the vertex of a point's cell next to the origin, (u, v, w)
its place in the cell; g what a derivative is multiplied by. Tables have two features a row.

Forward, a thread has points of its own; backward, levels of its own. No sum is shared between threads, so that results
are equal bit by bit for any number of threads.

What takes time is waiting for rows of the tables. So cells, rows and weights of a block of points are computed before
any row is read, which leaves the processor many reads to wait for at once; the two features of a row move together;
and tables lie in large pages.
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from torch import Tensor
from torch.autograd.function import once_differentiable

from scene.compiled import array, compiled, on_gpu, serves, spread, triton_module

FEATURES = 2
PRIME_Y, PRIME_Z = np.uint32(2654435761), np.uint32(805459861)
VERTICES = 8  # of a cell; of vertex c, bit 0 says i + 1, bit 1 j + 1, bit 2 k + 1
UNUSED = 2  # references to an array that a list alone holds: its own and the one that asks
BLOCK = 128  # points whose rows and weights are computed together: they stay in the first cache


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
            to_dense, to_hashed = room(*dense.shape), room(*hashed.shape)
            arrays, by_level = [array(v) for v in (x.T, to_dense, to_hashed)], _by_level(g).numpy()
            facts, heaviest_first = (*_facts(ctx.levels), ctx.active), range(len(ctx.levels.resolutions) - 1, -1, -1)
            spread(lambda level: _scatter(*arrays, *facts, level, by_level), heaviest_first)
        return to_x, to_dense, to_hashed, None, None, None, None


def in_large_pages(v: Tensor) -> Tensor:
    """The same numbers where the system may give them large pages, as NumPy asks it to: a table's rows are read in no
    order, and small pages make each read look for its page first."""
    if v.device.type != "cpu":
        return v
    out = torch.from_numpy(np.empty(v.shape, array(v).dtype))
    return out.copy_(v.detach())


_kept: list[np.ndarray] = []
_keeping = threading.Lock()


def room(*shape: int) -> Tensor:
    """An uninitialised tensor in memory that is kept for the next of its shape, once nothing refers to it: the system
    takes as long to give the memory of a table's gradient as the kernel to compute it. For the shapes of tables alone:
    those of samples change from step to step."""
    with _keeping:
        for k in range(len(_kept)):
            if _kept[k].shape == shape and sys.getrefcount(_kept[k]) == UNUSED:
                return torch.from_numpy(_kept[k])
        _kept.append(np.empty(shape, np.float32))
        return torch.from_numpy(_kept[-1])


def _gathered(x: Tensor, dense: Tensor, hashed: Tensor, levels: Levels, active: int, slopes: bool) -> Tensor:
    if on_gpu(x):
        return triton_module("triton_hash").gather(x, dense, hashed, levels, active, slopes)
    width = FEATURES * len(levels.resolutions)
    out = torch.empty(4 if slopes else 1, len(x), width)
    out[:, :, FEATURES * active :] = 0
    arrays = [array(v) for v in (x.T, dense, hashed)]
    by_level = torch.empty(len(out), width, len(x))
    ends = _shares(len(x))

    def part(k: int) -> None:
        _gather(*arrays, *_facts(levels), active, ends[k], ends[k + 1], by_level.numpy())
        _turn(by_level[:, : FEATURES * active].numpy().swapaxes(1, 2), out.numpy().swapaxes(1, 2), ends[k], ends[k + 1])

    spread(part, range(len(ends) - 1))
    return out


def _shares(points: int) -> list[int]:
    """Where each thread's points begin, and the end."""
    count = min(torch.get_num_threads(), max(points, 1))
    return [points * k // count for k in range(count + 1)]


def _by_level(g: Float[Tensor, "K N LF"]) -> Float[Tensor, "K LF N"]:
    """A level's numbers side by side."""
    source, out = array(g), torch.empty(g.shape[0], g.shape[2], g.shape[1])
    ends = _shares(g.shape[1])
    spread(lambda k: _turn(source, out.numpy(), ends[k], ends[k + 1]), range(len(ends) - 1))
    return out


def _facts(levels: Levels) -> tuple[np.ndarray, np.ndarray, int, int]:
    return levels.resolutions, levels.offsets, levels.dense, levels.mask


@compiled
def _turn(source, out, start, stop):
    """out[:, :, p] = source[:, p], for points p from start to stop."""
    for low in range(start, stop, 16):  # of 16 points a column is a line of the cache
        for kind in range(len(out)):
            for column in range(source.shape[2]):
                for p in range(low, min(low + 16, stop)):
                    out[kind, column, p] = source[kind, p, column]


@compiled
def _clamped(place, last):
    """The cell of a place, from 0 to last; 0 of what is not a number."""
    place = place if place > np.float32(0) else np.float32(0)
    return np.int32(place if place < last else last)


@compiled
def _cells(x, start, count, n, cell, place):
    """The cell of each point along each axis, and the place in it; outside [0, 1], the first or last cell and a place
    beyond it. A short loop an axis, and others for what follows: the compiler does eight points at once in such."""
    rise, last = np.float32(n), np.float32(n - 1)
    for axis in range(3):
        for b in range(count):
            at = x[axis, start + b] * rise
            c = _clamped(at, last)
            cell[axis, b], place[axis, b] = c, at - np.float32(c)


@compiled(fused=True)
def _weights(place, count, w):
    """What a cell's vertices count for in the feature."""
    one = np.float32(1)
    for b in range(count):
        u, v, t = place[0, b], place[1, b], place[2, b]
        u0, v0, t0 = one - u, one - v, one - t
        a, c, d, e = v0 * t0, v * t0, v0 * t, v * t
        w[0, b], w[2, b], w[4, b], w[6, b] = u0 * a, u0 * c, u0 * d, u0 * e
        w[1, b], w[3, b], w[5, b], w[7, b] = u * a, u * c, u * d, u * e


@compiled(fused=True)
def _slopes(place, count, n, w):
    """And in its derivatives by x, y and z, w[1] to w[3]."""
    one, rise = np.float32(1), np.float32(n)
    for b in range(count):
        u, v, t = place[0, b], place[1, b], place[2, b]
        u0, v0, t0 = one - u, one - v, one - t
        a, c, d, e = rise * v0 * t0, rise * v * t0, rise * v0 * t, rise * v * t
        w[1, 0, b], w[1, 2, b], w[1, 4, b], w[1, 6, b] = -a, -c, -d, -e
        w[1, 1, b], w[1, 3, b], w[1, 5, b], w[1, 7, b] = a, c, d, e
        a, c, d, e = rise * u0 * t0, rise * u * t0, rise * u0 * t, rise * u * t
        w[2, 0, b], w[2, 1, b], w[2, 4, b], w[2, 5, b] = -a, -c, -d, -e
        w[2, 2, b], w[2, 3, b], w[2, 6, b], w[2, 7, b] = a, c, d, e
        a, c, d, e = rise * u0 * v0, rise * u * v0, rise * u0 * v, rise * u * v
        w[3, 0, b], w[3, 1, b], w[3, 2, b], w[3, 3, b] = -a, -c, -d, -e
        w[3, 4, b], w[3, 5, b], w[3, 6, b], w[3, 7, b] = a, c, d, e


@compiled
def _rows(cell, count, n, hashed, mask, offset, rows):
    """The rows of each cell's vertices, in 32 bits: a hash keeps fewer."""
    one, off, m = np.uint32(1), np.uint32(offset), np.uint32(mask)
    y = np.uint32(n + 1)
    z = np.uint32(y * y)
    for b in range(count):
        i, j, k = np.uint32(cell[0, b]), np.uint32(cell[1, b]), np.uint32(cell[2, b])
        if hashed:
            i1, j, k = np.uint32(i + one), np.uint32(j * PRIME_Y), np.uint32(k * PRIME_Z)
            j1, k1 = np.uint32(j + PRIME_Y), np.uint32(k + PRIME_Z)
            a, c, d, e = j ^ k, j1 ^ k, j ^ k1, j1 ^ k1
            rows[0, b], rows[2, b], rows[4, b], rows[6, b] = (
                ((i ^ a) & m) + off, ((i ^ c) & m) + off, ((i ^ d) & m) + off, ((i ^ e) & m) + off
            )  # fmt: skip
            rows[1, b], rows[3, b], rows[5, b], rows[7, b] = (
                ((i1 ^ a) & m) + off, ((i1 ^ c) & m) + off, ((i1 ^ d) & m) + off, ((i1 ^ e) & m) + off
            )  # fmt: skip
        else:
            first = np.uint32(i + j * y + k * z + off)
            rows[0, b], rows[2, b], rows[4, b], rows[6, b] = first, first + y, first + z, first + y + z
            first += one
            rows[1, b], rows[3, b], rows[5, b], rows[7, b] = first, first + y, first + z, first + y + z


@compiled
def _prepare(x, low, count, n, hashed, mask, offset, cell, place, w, rows):
    """Of a block of points, all that is known before a row is read: weights and rows."""
    _cells(x, low, count, n, cell, place)
    _weights(place, count, w[0])
    if len(w) == 4:
        _slopes(place, count, n, w)
    _rows(cell, count, n, hashed, mask, offset, rows)


@compiled(fused=True)
def _gather(x, dense, hashed, resolutions, offsets, first_hashed, mask, active, start, stop, out):
    cell, rows = np.empty((3, BLOCK), np.int32), np.empty((VERTICES, BLOCK), np.uint32)
    w, place = np.empty((len(out), VERTICES, BLOCK), np.float32), np.empty((3, BLOCK), np.float32)
    for level in range(active):  # of all points: its table fits into a cache, all do not
        n, is_hashed = np.int32(resolutions[level]), level >= first_hashed
        table = hashed if is_hashed else dense
        for low in range(start, stop, BLOCK):
            count = min(BLOCK, stop - low)
            _prepare(x, low, count, n, is_hashed, mask, offsets[level], cell, place, w, rows)
            for kind in range(len(out)):
                _sums(table, rows, w[kind], count, out[kind, FEATURES * level :, low:])


@compiled(fused=True)
def _sums(table, rows, w, count, out):
    for b in range(count):
        out[0, b], out[1, b] = _sum(table, rows, w, b)


@compiled(fused=True)
def _scatter(x, dense, hashed, resolutions, offsets, first_hashed, mask, active, level, g):
    """The transpose of the gather, one level's, into that level's rows. g is as `_by_level` gives it."""
    kinds, column = len(g), FEATURES * level
    cell, rows = np.empty((3, BLOCK), np.int32), np.empty((VERTICES, BLOCK), np.uint32)
    w, place = np.empty((kinds, VERTICES, BLOCK), np.float32), np.empty((3, BLOCK), np.float32)
    n, is_hashed = np.int32(resolutions[level]), level >= first_hashed
    table = hashed if is_hashed else dense
    size = mask + 1 if is_hashed else (n + 1) * (n + 1) * (n + 1)
    table[offsets[level] : offsets[level] + size] = 0
    if level >= active:
        return
    for low in range(0, x.shape[1], BLOCK):
        count = min(BLOCK, x.shape[1] - low)
        _prepare(x, low, count, n, is_hashed, mask, offsets[level], cell, place, w, rows)
        if kinds == 1:
            for b in range(count):
                first, second = g[0, column, low + b], g[0, column + 1, low + b]
                for c in range(VERTICES):
                    _add(table, rows[c, b], w[0, c, b], first, second)
        else:
            for b in range(count):
                for c in range(VERTICES):
                    first, second = np.float32(0), np.float32(0)
                    for kind in range(4):
                        first += w[kind, c, b] * g[kind, column, low + b]
                        second += w[kind, c, b] * g[kind, column + 1, low + b]
                    _add(table, rows[c, b], np.float32(1), first, second)


PAIR, INT = ir.VectorType(ir.FloatType(), 2), ir.IntType(32)


def _pairwise(function):
    """Numba's language has no word for two numbers that move together; LLVM's has."""
    return intrinsic(inspect.unwrap(function))  # a type checker may have wrapped it


def _row(context, builder, kind, table, row):
    """The address of a table's row."""
    data = context.make_array(kind)(context, builder, table).data
    first = builder.shl(builder.zext(row, ir.IntType(64)), ir.Constant(ir.IntType(64), 1))
    return builder.bitcast(builder.gep(data, [first]), PAIR.as_pointer())


def _pair(builder, first, second):
    whole = builder.insert_element(ir.Constant(PAIR, ir.Undefined), first, ir.Constant(INT, 0))
    return builder.insert_element(whole, second, ir.Constant(INT, 1))


@_pairwise
def _add(typing, table, row, w, first, second):
    """table[row] += w (first, second)"""

    def build(context, builder, signature, values):
        place = _row(context, builder, signature.args[0], *values[:2])
        before, more = builder.load(place, align=4), _pair(builder, *values[3:])
        more = builder.fmul(more, _pair(builder, values[2], values[2]), flags=("contract",))
        builder.store(builder.fadd(before, more, flags=("contract",)), place, align=4)
        return context.get_dummy_value()

    return types.void(table, row, w, first, second), build


@_pairwise
def _sum(typing, table, rows, w, b):
    """The sum of table[rows[c, b]] w[c, b] over the vertices c."""

    def build(context, builder, signature, values):
        of_rows, of_w = (context.make_array(signature.args[k])(context, builder, values[k]).data for k in (1, 2))
        total = None
        for c in range(VERTICES):
            at = [builder.add(values[3], ir.Constant(values[3].type, c * BLOCK))]
            row, weight = builder.load(builder.gep(of_rows, at)), builder.load(builder.gep(of_w, at))
            pair = builder.load(_row(context, builder, signature.args[0], values[0], row), align=4)
            part = builder.fmul(pair, _pair(builder, weight, weight), flags=("contract",))
            total = part if total is None else builder.fadd(total, part, flags=("contract",))
        both = [builder.extract_element(total, ir.Constant(INT, k)) for k in (0, 1)]
        return context.make_tuple(builder, signature.return_type, both)

    return types.UniTuple(types.float32, 2)(table, rows, w, b), build
