"""A perceptron of one hidden layer on a GPU, compiled by Triton; the plain twins are in `scene.kernels.mlp`.

Alphabet as there. Neither the hidden layer nor its gradient ever goes to memory. A product of float32 is three of TF32,
on tensor cores, and as exact but for its last bits. Each part of the points adds up its gradients of the layers by
itself, and the parts' are then added in order.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from scene.kernels.launch_triton import blocks, kernel, launch

BLOCK = 64  # points that pass through the layers together
PART = 16 * BLOCK  # points whose gradients of the layers a program adds up


def forward(
    e: Float[Tensor, "N E"], first: Float[Tensor, "E H"], second: Float[Tensor, "H O"], slope: bool
) -> tuple[Float[Tensor, "N O"], Float[Tensor, "N S"]]:
    """relu(e first) second and, with slope, its derivative by e (S = E; else 0). Slopes are of O = 1 alone."""
    e, W, V, sizes = e.contiguous(), first.contiguous(), second.contiguous(), _sizes(first, second)
    out = torch.empty(len(e), second.shape[1], device=e.device)
    by_e = torch.empty(len(e), e.shape[1] if slope else 0, device=e.device)
    launch(_forward, (blocks(len(e), BLOCK),), e, W, V, out, by_e, len(e), *first.shape, second.shape[1],
           SLOPE=slope, BLOCK=BLOCK, **sizes)  # fmt: skip
    return out, by_e


def backward(
    e: Float[Tensor, "N E"],
    first: Float[Tensor, "E H"],
    second: Float[Tensor, "H O"],
    g: Float[Tensor, "N O"],
    g_by_e: Float[Tensor, "N E"] | None = None,
) -> tuple[Float[Tensor, "N E"], Float[Tensor, "E H"], Float[Tensor, "H O"]]:
    """The gradients of e and both layers from that of the output, and of its derivative where given."""
    e, g, W, V, sizes = e.contiguous(), g.contiguous(), first.contiguous(), second.contiguous(), _sizes(first, second)
    parts = blocks(len(e), PART)
    to_e = torch.empty_like(e)
    to_W, to_V = torch.empty(parts, *W.shape, device=e.device), torch.empty(parts, *V.shape, device=e.device)
    slope = e if g_by_e is None else g_by_e.contiguous()
    launch(_backward, (parts,), e, W, V, g, slope, to_e, to_W, to_V, len(e), *first.shape, second.shape[1],
           SLOPE=g_by_e is not None, BLOCK=BLOCK, PART=PART, **sizes)  # fmt: skip
    return to_e, to_W.sum(0), to_V.sum(0)


def _sizes(first: Tensor, second: Tensor) -> dict[str, int]:
    """What the layers are padded to: powers of two, which a product needs from 16 on."""
    names = zip(("E", "H", "OUT"), (*first.shape, second.shape[1]), strict=True)
    return {name: max(16, triton.next_power_of_2(size)) for name, size in names}


@kernel
def _load(matrix, row, column, rows, columns):
    """A block of a matrix, 0 beyond its ends."""
    inside = (row[:, None] < rows) & (column[None, :] < columns)
    return tl.load(matrix + row[:, None] * columns + column[None, :], mask=inside, other=0.0)


@kernel
def _store(matrix, block, row, column, rows, columns):
    inside = (row[:, None] < rows) & (column[None, :] < columns)
    tl.store(matrix + row[:, None] * columns + column[None, :], block, mask=inside)


@kernel
def _product(a, b):
    return tl.dot(a, b, input_precision="tf32x3")


@kernel
def _forward(e, W, V, out, by_e, points, inputs, hidden, outputs, SLOPE: tl.constexpr, BLOCK: tl.constexpr,
             E: tl.constexpr, H: tl.constexpr, OUT: tl.constexpr):  # fmt: skip
    p = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    i, j, o = tl.arange(0, E), tl.arange(0, H), tl.arange(0, OUT)
    w = _load(W, i, j, inputs, hidden)
    h = _product(_load(e, p, i, points, inputs), w)
    relu = tl.where(h < 0, 0.0, h)  # what is not a number stays
    _store(out, _product(relu, _load(V, j, o, hidden, outputs)), p, o, points, outputs)
    if SLOPE:
        v = tl.load(V + j, mask=j < hidden, other=0.0)
        slope = _product(tl.where(h > 0, tl.broadcast_to(v[None, :], (BLOCK, H)), 0.0), tl.trans(w))
        _store(by_e, slope, p, i, points, inputs)


@kernel
def _backward(e, W, V, g, g_by_e, to_e, to_W, to_V, points, inputs, hidden, outputs, SLOPE: tl.constexpr,
              BLOCK: tl.constexpr, PART: tl.constexpr, E: tl.constexpr, H: tl.constexpr,
              OUT: tl.constexpr):  # fmt: skip
    part = tl.program_id(0).to(tl.int64)
    i, j, o = tl.arange(0, E), tl.arange(0, H), tl.arange(0, OUT)
    w, v = _load(W, i, j, inputs, hidden), _load(V, j, o, hidden, outputs)
    sum_w, sum_v = tl.zeros((E, H), tl.float32), tl.zeros((H, OUT), tl.float32)
    for low in range(0, PART, BLOCK):
        p = part * PART + low + tl.arange(0, BLOCK)
        x, y = _load(e, p, i, points, inputs), _load(g, p, o, points, outputs)
        h = _product(x, w)
        to_h = tl.where(h > 0, _product(y, tl.trans(v)), 0.0)
        _store(to_e, _product(to_h, tl.trans(w)), p, i, points, inputs)
        sum_w += _product(tl.trans(x), to_h)
        sum_v += _product(tl.trans(tl.where(h < 0, 0.0, h)), y)
        if SLOPE:  # by_e is linear in W and in V's only column
            s = _load(g_by_e, p, i, points, inputs)
            only = tl.load(V + j, mask=j < hidden, other=0.0)
            sum_w += _product(tl.trans(s), tl.where(h > 0, tl.broadcast_to(only[None, :], (BLOCK, H)), 0.0))
            column = tl.sum(tl.where(h > 0, _product(s, w), 0.0), 0)
            sum_v += tl.where(o[None, :] == 0, column[:, None], 0.0)
    _store(to_W + part * inputs * hidden, sum_w, i, j, inputs, hidden)
    _store(to_V + part * hidden * outputs, sum_v, j, o, hidden, outputs)
