"""The hash encoding on a CPU, compiled by Numba: the same numbers as its plain twin in `scene.hash_grid`.

Alphabet: x (N,3) points; level l of resolution n; (i, j, k) the vertex of a point's cell next to the origin, (u, v, t)
its place in the cell; g what a derivative is multiplied by. Tables have two features a row.

Forward, a thread has points of its own; backward, levels of its own. No sum is shared between threads, so that results
are equal bit by bit for any number of threads.

What takes time is waiting for rows of the tables. So cells, rows and weights of a block of points are computed before
any row is read, which leaves the processor many reads to wait for at once; a cell's edges along x, both features of
both ends, move as one vector; and tables lie in large pages.
"""

from __future__ import annotations

import inspect
import sys
import threading
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from torch import Tensor

from scene.kernels.compiled import array, compiled, spread
from scene.kernels.levels import FEATURES

if TYPE_CHECKING:
    from scene.kernels.levels import Levels

PRIME_Y, PRIME_Z = np.uint32(2654435761), np.uint32(805459861)
EDGES = 4  # of a cell, along x: from (i, j, k) to (i + 1, j, k); of edge c, bit 0 says j + 1, bit 1 k + 1
UNUSED = 2  # references to an array that a list alone holds: its own and the one that asks
BLOCK = 128  # points whose rows and weights are computed together: they stay in the first cache


def gather(
    x: Float[Tensor, "N 3"],
    dense: Float[Tensor, "T0 2"],
    hashed: Float[Tensor, "T1 2"],
    levels: Levels,
    active: int,
    slopes: bool,
) -> tuple[Float[Tensor, "N LF"], Float[Tensor, "3 N LF"] | None]:
    """The features, and with slopes their derivatives by x, y and z; 0 of levels from `active` on.
    A feature's numbers lie side by side: a level writes them so, and a perceptron reads them so."""
    width = FEATURES * len(levels.resolutions)
    e, slope = torch.empty(width, len(x)), torch.empty(3 if slopes else 0, width, len(x))
    e[FEATURES * active :], slope[:, FEATURES * active :] = 0, 0
    arrays, ends = [array(v) for v in (x.T, dense, hashed)], _shares(len(x))

    def part(k: int) -> None:
        _gather(*arrays, *_facts(levels), active, ends[k], ends[k + 1], e.numpy(), slope.numpy())

    spread(part, range(len(ends) - 1))
    return e.T, slope.transpose(1, 2) if slopes else None


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
    to_dense, to_hashed = room(*dense.shape), room(*hashed.shape)
    by_slope = g.new_empty(0, *g.T.shape) if g_by_x is None else g_by_x.transpose(1, 2)
    arrays, gradients = [array(v) for v in (x.T, to_dense, to_hashed)], [array(v) for v in (g.T, by_slope)]
    heaviest_first = range(len(levels.resolutions) - 1, -1, -1)
    spread(lambda level: _scatter(*arrays, *_facts(levels), active, level, *gradients), heaviest_first)
    return to_dense, to_hashed


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


def _shares(points: int) -> list[int]:
    """Where each thread's points begin, and the end."""
    count = min(torch.get_num_threads(), max(points, 1))
    return [points * k // count for k in range(count + 1)]


def _facts(levels: Levels) -> tuple[np.ndarray, np.ndarray, int, int]:
    return levels.resolutions, levels.offsets, levels.dense, levels.mask


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
        along = x[axis, start : start + count]
        for b in range(count):
            at = along[b] * rise
            c = _clamped(at, last)
            cell[axis, b], place[axis, b] = c, at - np.float32(c)


@compiled(fused=True)
def _weights(place, count, n, w):
    """What a cell's edges along x count for: w[:4] in the feature, w[4:8] and w[8:] in its derivatives by y and z."""
    one, rise = np.float32(1), np.float32(n)
    for b in range(count):
        v, t = place[1, b], place[2, b]
        v0, t0 = one - v, one - t
        w[0, b], w[1, b], w[2, b], w[3, b] = v0 * t0, v * t0, v0 * t, v * t
    if len(w) > EDGES:
        for b in range(count):
            v, t = rise * place[1, b], rise * place[2, b]
            v0, t0 = rise - v, rise - t
            w[4, b], w[5, b], w[6, b], w[7, b] = -t0, t0, -t, t
            w[8, b], w[9, b], w[10, b], w[11, b] = -v0, -v, v0, v


@compiled
def _rows(cell, count, n, hashed, mask, offset, rows, flip):
    """The row where each edge begins, in 32 bits: a hash keeps fewer. It ends in the next row of a dense level; of a
    hashed one, whose offset is a multiple of its rows, in the row whose bits differ by `flip`."""
    one, off, m = np.uint32(1), np.uint32(offset), np.uint32(mask)
    y = np.uint32(n + 1)
    z = np.uint32(y * y)
    for b in range(count):
        i, j, k = np.uint32(cell[0, b]), np.uint32(cell[1, b]), np.uint32(cell[2, b])
        if hashed:
            flip[b] = (i ^ np.uint32(i + one)) & m
            j, k = np.uint32(j * PRIME_Y), np.uint32(k * PRIME_Z)
            j1, k1 = np.uint32(j + PRIME_Y), np.uint32(k + PRIME_Z)
            rows[0, b], rows[1, b] = ((i ^ j ^ k) & m) + off, ((i ^ j1 ^ k) & m) + off
            rows[2, b], rows[3, b] = ((i ^ j ^ k1) & m) + off, ((i ^ j1 ^ k1) & m) + off
        else:
            first = np.uint32(i + j * y + k * z + off)
            rows[0, b], rows[1, b], rows[2, b], rows[3, b] = first, first + y, first + z, first + y + z


@compiled
def _prepare(x, low, count, n, hashed, mask, offset, cell, place, w, rows, flip):
    """Of a block of points, all that is known before a row is read: places in cells, weights and rows of edges."""
    _cells(x, low, count, n, cell, place)
    _weights(place, count, n, w)
    _rows(cell, count, n, hashed, mask, offset, rows, flip)


@compiled
def _block(kinds):
    """Where `_prepare` writes: cells, places, weights, rows and flips."""
    return (
        np.empty((3, BLOCK), np.int32), np.empty((3, BLOCK), np.float32), np.empty((EDGES * kinds, BLOCK), np.float32),
        np.empty((EDGES, BLOCK), np.uint32), np.empty(BLOCK, np.uint32),
    )  # fmt: skip


@compiled(fused=True)
def _gather(x, dense, hashed, resolutions, offsets, first_hashed, mask, active, start, stop, e, slope):
    cell, place, w, rows, flip = _block(3 if len(slope) else 1)
    for level in range(active):  # of all points: its table fits into a cache, all do not
        n, is_hashed, column = np.int32(resolutions[level]), level >= first_hashed, FEATURES * level
        table = hashed if is_hashed else dense
        for low in range(start, stop, BLOCK):
            count = min(BLOCK, stop - low)
            _prepare(x, low, count, n, is_hashed, mask, offsets[level], cell, place, w, rows, flip)
            _features(table, rows, flip, is_hashed, w, place, count, e[column:, low:])
            if len(slope):
                _slopes(table, rows, flip, is_hashed, w, place, count, n, slope[:, column:, low:])


@compiled(fused=True)
def _features(table, rows, flip, hashed, w, place, count, out):
    for b in range(count):
        t = _sum(table, rows, flip[b], w, 0, b) if hashed else _sum(table, rows, None, w, 0, b)
        u, u0 = place[0, b], np.float32(1) - place[0, b]
        out[0, b], out[1, b] = u0 * t[0] + u * t[2], u0 * t[1] + u * t[3]


@compiled(fused=True)
def _slopes(table, rows, flip, hashed, w, place, count, n, out):
    rise = np.float32(n)
    for b in range(count):
        t = _sum(table, rows, flip[b], w, 0, b) if hashed else _sum(table, rows, None, w, 0, b)
        out[0, 0, b], out[0, 1, b] = rise * (t[2] - t[0]), rise * (t[3] - t[1])
        u, u0 = place[0, b], np.float32(1) - place[0, b]
        for axis in range(1, 3):
            at = EDGES * axis
            t = _sum(table, rows, flip[b], w, at, b) if hashed else _sum(table, rows, None, w, at, b)
            out[axis, 0, b], out[axis, 1, b] = u0 * t[0] + u * t[2], u0 * t[1] + u * t[3]


@compiled(fused=True)
def _scatter(x, dense, hashed, resolutions, offsets, first_hashed, mask, active, level, g, g_by_x):
    """The transpose of the gather, one level's, into that level's rows."""
    cell, place, w, rows, flip = _block(3 if len(g_by_x) else 1)
    n, is_hashed, column = np.int32(resolutions[level]), level >= first_hashed, FEATURES * level
    table = hashed if is_hashed else dense
    size = mask + 1 if is_hashed else (n + 1) * (n + 1) * (n + 1)
    table[offsets[level] : offsets[level] + size] = 0
    if level >= active:
        return
    for low in range(0, x.shape[1], BLOCK):
        count = min(BLOCK, x.shape[1] - low)
        _prepare(x, low, count, n, is_hashed, mask, offsets[level], cell, place, w, rows, flip)
        if len(g_by_x):
            _add_slopes(table, rows, flip, is_hashed, w, place, count, n, g[column:, low:], g_by_x[:, column:, low:])
        else:
            _add_features(table, rows, flip, is_hashed, w, place, count, g[column:, low:])


@compiled(fused=True)
def _add_features(table, rows, flip, hashed, w, place, count, g):
    for b in range(count):
        q = _ends(place[0, b], g[0, b], g[1, b])
        for edge in range(EDGES):
            if hashed:
                _add(table, rows[edge, b], flip[b], w[edge, b], q)
            else:
                _add(table, rows[edge, b], None, w[edge, b], q)


@compiled(fused=True)
def _add_slopes(table, rows, flip, hashed, w, place, count, n, g, g_by_x):
    one, rise = np.float32(1), np.float32(n)
    for b in range(count):
        u = place[0, b]
        q = _ends(u, g[0, b], g[1, b])
        d0, d1 = rise * g_by_x[0, 0, b], rise * g_by_x[0, 1, b]
        q = (q[0] - d0, q[1] - d1, q[2] + d0, q[3] + d1)
        y, z = _ends(u, g_by_x[1, 0, b], g_by_x[1, 1, b]), _ends(u, g_by_x[2, 0, b], g_by_x[2, 1, b])
        for edge in range(EDGES):
            a, c, d = w[edge, b], w[EDGES + edge, b], w[2 * EDGES + edge, b]
            both = (
                a * q[0] + c * y[0] + d * z[0], a * q[1] + c * y[1] + d * z[1],
                a * q[2] + c * y[2] + d * z[2], a * q[3] + c * y[3] + d * z[3],
            )  # fmt: skip
            if hashed:
                _add(table, rows[edge, b], flip[b], one, both)
            else:
                _add(table, rows[edge, b], None, one, both)


@compiled(fused=True)
def _ends(u, first, second):
    """The shares of two features' gradients at both ends of an edge."""
    u0 = np.float32(1) - u
    return u0 * first, u0 * second, u * first, u * second


# Both features at both ends of an edge, four numbers that move together: Numba's language has no word for that,
# LLVM's has. `flip` is None on dense levels, where the ends follow each other in memory.
PAIR, QUAD, INT = ir.VectorType(ir.FloatType(), 2), ir.VectorType(ir.FloatType(), 4), ir.IntType(32)


def _vectorised(function):
    return intrinsic(inspect.unwrap(function))  # a type checker may have wrapped it


def _numbers(*values):
    """A constant of integers, which orders a vector's elements."""
    return ir.Constant(ir.VectorType(INT, len(values)), [ir.Constant(INT, k) for k in values])


def _places(context, builder, kind, table, row, flip):
    """The addresses of an edge's ends; one of both where they are neighbours."""
    data = context.make_array(kind)(context, builder, table).data

    def address(row, of):
        first = builder.shl(builder.zext(row, ir.IntType(64)), ir.Constant(ir.IntType(64), 1))
        return builder.bitcast(builder.gep(data, [first]), of.as_pointer())

    return [address(row, QUAD)] if flip is None else [address(row, PAIR), address(builder.xor(row, flip), PAIR)]


def _load(builder, places):
    parts = [builder.load(place, align=4) for place in places]
    return parts[0] if len(parts) == 1 else builder.shuffle_vector(*parts, _numbers(0, 1, 2, 3))


def _store(builder, quad, places):
    if len(places) == 1:
        builder.store(quad, places[0], align=4)
    else:
        for k, place in enumerate(places):
            half = builder.shuffle_vector(quad, ir.Constant(QUAD, ir.Undefined), _numbers(2 * k, 2 * k + 1))
            builder.store(half, place, align=4)


def _quad(builder, numbers):
    whole = ir.Constant(QUAD, ir.Undefined)
    for k, number in enumerate(numbers):
        whole = builder.insert_element(whole, number, ir.Constant(INT, k))
    return whole


@_vectorised
def _add(typing, table, row, flip, w, q):
    """Add w q to both ends of an edge."""

    def build(context, builder, signature, values):
        places = _places(context, builder, signature.args[0], *values[:2], _given(signature.args[2], values[2]))
        more = builder.fmul(
            _quad(builder, 4 * [values[3]]),
            _quad(builder, cgutils.unpack_tuple(builder, values[4])),
            flags=("contract",),
        )
        _store(builder, builder.fadd(_load(builder, places), more, flags=("contract",)), places)
        return context.get_dummy_value()

    return types.void(table, row, flip, w, q), build


@_vectorised
def _sum(typing, table, rows, flip, w, first, b):
    """The sum of both ends of the edges k of point b, weighted by w[first + k]."""

    def build(context, builder, signature, values):
        of_rows, of_w = (context.make_array(signature.args[k])(context, builder, values[k]).data for k in (1, 3))
        at, more = (builder.sext(values[k], ir.IntType(64)) if values[k].type.width < 64 else values[k] for k in (5, 4))
        start = builder.add(at, builder.mul(more, ir.Constant(more.type, BLOCK)))
        total = None
        for edge in range(EDGES):
            ahead = ir.Constant(at.type, edge * BLOCK)
            row = builder.load(builder.gep(of_rows, [builder.add(at, ahead)]))
            weight = builder.load(builder.gep(of_w, [builder.add(start, ahead)]))
            places = _places(context, builder, signature.args[0], values[0], row, _given(signature.args[2], values[2]))
            part = builder.fmul(_load(builder, places), _quad(builder, 4 * [weight]), flags=("contract",))
            total = part if total is None else builder.fadd(total, part, flags=("contract",))
        numbers = [builder.extract_element(total, ir.Constant(INT, k)) for k in range(4)]
        return context.make_tuple(builder, signature.return_type, numbers)

    return types.UniTuple(types.float32, 4)(table, rows, flip, w, first, b), build


def _given(kind, value):
    return None if isinstance(kind, types.NoneType) else value
