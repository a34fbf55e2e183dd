"""A perceptron of one hidden layer, compiled: narrow layers wait for memory, so that a block of points passes through
all of them while it is in the cache, and the hidden layer is computed again in the backward pass. Numba's kernels for
a CPU are here, Triton's for a GPU in `scene.kernels.mlp_triton`.

Alphabet: e (N,E) inputs; W (E,H), V (H,O) the layers; h = e W; out = relu(h) V; g (N,O) the gradient of out;
by_e (N,E), where O = 1, the derivative of out by e.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from scene.kernels.compiled import array, compiled, in_place, module_of, on_gpu, serves, spread

BLOCK = 128  # points that pass through the layers together
PART = 16 * BLOCK  # points whose gradients of the layers are summed up before those of others are added


def mlp(e: Float[Tensor, "N E"], first: Float[Tensor, "E H"], second: Float[Tensor, "H O"]) -> Float[Tensor, "N O"]:
    """relu(e first) second. In float32 compiled, and differentiable once."""
    if serves("perceptron", e, first, second):
        return _MLP.apply(e, first, second)
    return torch.relu(e @ first) @ second


def mlp_with_slope(
    e: Float[Tensor, "N E"], first: Float[Tensor, "E H"], second: Float[Tensor, "H 1"]
) -> tuple[Float[Tensor, "N 1"], Float[Tensor, "N E"]]:
    """relu(e first) second and its derivative by e, [relu'(e first) second^T] first^T. On a GPU in float32 compiled,
    and differentiable once; on a CPU two products are not worth it."""
    if on_gpu(e) and serves("perceptron slopes", e, first, second):
        return _WithSlope.apply(e, first, second)
    hidden = e @ first
    return torch.relu(hidden) @ second, ((hidden > 0) * second.squeeze(-1)) @ first.T


class _MLP(torch.autograd.Function):
    @staticmethod
    def forward(ctx, e, first, second):
        ctx.save_for_backward(e, first, second)
        if on_gpu(e):
            return module_of("mlp_triton").forward(e, first, second, slope=False)[0]
        out = e.new_empty(len(e), second.shape[1])
        arrays = [array(v) for v in (*_padded(first, second), out)]
        spread(
            lambda k: _forward(in_place(e), *arrays, k * PART, min((k + 1) * PART, len(e))), range(-(-len(e) // PART))
        )
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        e, first, second = ctx.saved_tensors
        if on_gpu(e):
            return module_of("mlp_triton").backward(e, first, second, g)
        (inputs, hidden), parts = first.shape, -(-len(e) // PART)
        W, V = _padded(first, second)
        to_e = torch.empty_like(e)
        to_W, to_V = e.new_zeros(parts, *W.shape), e.new_zeros(parts, *V.shape)
        arrays = [in_place(e), *(array(v) for v in (W, V, g)), in_place(to_e), to_W.numpy(), to_V.numpy()]
        spread(lambda k: _backward(*arrays, k, k * PART, min((k + 1) * PART, len(e))), range(parts))
        return to_e, to_W.sum(0)[:hidden, :inputs].T, to_V.sum(0)[:hidden]


class _WithSlope(torch.autograd.Function):
    @staticmethod
    def forward(ctx, e, first, second):
        ctx.save_for_backward(e, first, second)
        return module_of("mlp_triton").forward(e, first, second, slope=True)

    @staticmethod
    @once_differentiable
    def backward(ctx, g, g_by_e):
        return module_of("mlp_triton").backward(*ctx.saved_tensors, g, g_by_e)


def _padded(first: Float[Tensor, "E H"], second: Float[Tensor, "H O"]) -> tuple[Tensor, Tensor]:
    """W^T and V with zeros up to multiples of four: four units pass through the registers together."""
    (inputs, hidden) = first.shape
    more = -hidden % 4
    return F.pad(first.detach().T, (0, -inputs % 4, 0, more)), F.pad(second.detach(), (0, 0, 0, more))


@compiled(fused=True)
def _hidden(W, j, e, h0, h1, h2, h3):
    """Four rows of W e, from row j on; e is E x BLOCK."""
    for h in (h0, h1, h2, h3):
        h[:] = np.float32(0)
    for i in range(0, W.shape[1], 2):
        a0, a1, a2, a3 = W[j, i], W[j + 1, i], W[j + 2, i], W[j + 3, i]
        b0, b1, b2, b3 = W[j, i + 1], W[j + 1, i + 1], W[j + 2, i + 1], W[j + 3, i + 1]
        for s in range(BLOCK):
            x, y = e[i, s], e[i + 1, s]
            h0[s] += a0 * x + b0 * y
            h1[s] += a1 * x + b1 * y
            h2[s] += a2 * x + b2 * y
            h3[s] += a3 * x + b3 * y


@compiled
def _load(source, low, stop, block):
    """Rows low, low + 1, ... of a matrix as columns; zeros from stop on, and in rows that it does not have."""
    block[:] = np.float32(0)
    for i in range(source.shape[1]):
        for s in range(min(BLOCK, stop - low)):
            block[i, s] = source[low + s, i]


@compiled
def _store(block, low, stop, out):
    for i in range(out.shape[1]):
        for s in range(min(BLOCK, stop - low)):
            out[low + s, i] = block[i, s]


@compiled
def _relu(h):
    for s in range(BLOCK):
        h[s] = max(h[s], np.float32(0))


@compiled
def _row():
    return np.empty(BLOCK, np.float32)


@compiled(fused=True)
def _forward(e, W, V, out, start, stop):
    x, y = np.empty((W.shape[1], BLOCK), np.float32), np.empty((V.shape[1], BLOCK), np.float32)
    h0, h1, h2, h3 = _row(), _row(), _row(), _row()
    for low in range(start, stop, BLOCK):
        _load(e, low, stop, x)
        y[:] = np.float32(0)
        for j in range(0, len(W), 4):
            _hidden(W, j, x, h0, h1, h2, h3)
            for h in (h0, h1, h2, h3):
                _relu(h)
            for o in range(V.shape[1]):
                a, b, c, d = V[j, o], V[j + 1, o], V[j + 2, o], V[j + 3, o]
                for s in range(BLOCK):
                    y[o, s] += a * h0[s] + b * h1[s] + c * h2[s] + d * h3[s]
        _store(y, low, stop, out)


@compiled(fused=True)
def _to_hidden(V, j, y, h, to_h, to_V):
    """The gradient at hidden unit j, and that of its row of V, from those of the outputs."""
    to_h[:] = np.float32(0)
    for o in range(V.shape[1]):
        v, total = V[j, o], np.float32(0)
        for s in range(BLOCK):
            to_h[s] += v * y[o, s]
            total += max(h[s], np.float32(0)) * y[o, s]
        to_V[j, o] += total
    for s in range(BLOCK):
        to_h[s] = to_h[s] if h[s] > 0 else np.float32(0)


@compiled(fused=True)
def _to_inputs(W, j, x, g0, g1, g2, g3, to_x, to_W):
    """Add what four hidden units, from j on, give to the gradients of the inputs and of their rows of W."""
    for i in range(W.shape[1]):
        a, b, c, d = W[j, i], W[j + 1, i], W[j + 2, i], W[j + 3, i]
        for s in range(BLOCK):
            to_x[i, s] += a * g0[s] + b * g1[s] + c * g2[s] + d * g3[s]
        t0, t1, t2, t3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        for s in range(BLOCK):
            v = x[i, s]
            t0 += v * g0[s]
            t1 += v * g1[s]
            t2 += v * g2[s]
            t3 += v * g3[s]
        to_W[j, i] += t0
        to_W[j + 1, i] += t1
        to_W[j + 2, i] += t2
        to_W[j + 3, i] += t3


@compiled(fused=True)
def _backward(e, W, V, g, to_e, to_W, to_V, part, start, stop):
    """Gradients of a part's points; those of the layers are added up in the part's own place."""
    x, y = np.empty((W.shape[1], BLOCK), np.float32), np.empty((V.shape[1], BLOCK), np.float32)
    h0, h1, h2, h3, to_x = _row(), _row(), _row(), _row(), np.empty((W.shape[1], BLOCK), np.float32)
    g0, g1, g2, g3 = _row(), _row(), _row(), _row()
    for low in range(start, stop, BLOCK):
        _load(e, low, stop, x)
        _load(g, low, stop, y)
        to_x[:] = np.float32(0)
        for j in range(0, len(W), 4):
            _hidden(W, j, x, h0, h1, h2, h3)
            _to_hidden(V, j, y, h0, g0, to_V[part])
            _to_hidden(V, j + 1, y, h1, g1, to_V[part])
            _to_hidden(V, j + 2, y, h2, g2, to_V[part])
            _to_hidden(V, j + 3, y, h3, g3, to_V[part])
            _to_inputs(W, j, x, g0, g1, g2, g3, to_x, to_W[part])
        _store(to_x, low, stop, to_e)
