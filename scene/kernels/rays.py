"""Marching along rays and adding up along them, compiled for a CPU by Numba; Triton's kernels for a GPU are in
`scene.kernels.rays_triton`, the plain twins in `scene.volume`.

Alphabet as there: samples sorted by ray, then from near to far.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from scene.kernels.compiled import array, compiled, module_of, on_gpu, spread

PART = 512  # rays that a thread marches along at a time


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
    if on_gpu(origin):
        return module_of("rays_triton").march(origin, direction, near, far, offset, occupied, radius, step)
    rays, size = len(origin), len(occupied)
    inputs = [array(v) for v in (origin, direction, near, far, offset, occupied)]
    numbers = np.float32(step), np.float32(radius), np.float32(size / (2 * radius))
    count = np.zeros(rays, np.int64)
    nothing = torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64), torch.empty(0), torch.empty(0, 3)

    def run(fill: bool, first: np.ndarray, out: tuple[Tensor, ...]) -> None:
        arrays = [v.numpy() for v in out]
        parts = range(-(-rays // PART))
        spread(
            lambda k: _march(*inputs, *numbers, fill, first, count, *arrays, k * PART, min((k + 1) * PART, rays)), parts
        )

    run(False, count, nothing)
    first = np.cumsum(count) - count
    n = int(count.sum())
    out = torch.empty(n, dtype=torch.int64), torch.empty(n, dtype=torch.int64), torch.empty(n), torch.empty(n, 3)
    run(True, first, out)
    return out


@compiled
def _march(
    origin, direction, near, far, offset, occupied, step, radius, scale, fill, first, count, ray, slot, distance,
    position, start, stop,
):  # fmt: skip
    """Count the samples of each ray, or fill them in from its first on."""
    last = occupied.shape[0] - 1
    for r in range(start, stop):
        n, k = 0, 0
        while True:
            d = near[r] + (np.float32(k) + offset[r]) * step
            if not d < far[r]:
                break
            x = origin[r, 0] + direction[r, 0] * d
            y = origin[r, 1] + direction[r, 1] * d
            z = origin[r, 2] + direction[r, 2] * d
            i = min(max(np.int64((x + radius) * scale), 0), last)
            j = min(max(np.int64((y + radius) * scale), 0), last)
            m = min(max(np.int64((z + radius) * scale), 0), last)
            if occupied[i, j, m]:
                if fill:
                    at = first[r] + n
                    ray[at], slot[at], distance[at] = r, k, d
                    position[at, 0], position[at, 1], position[at, 2] = x, y, z
                n += 1
            k += 1
        if not fill:
            count[r] = n


def before(tau: Float[Tensor, " N"], ray: Int[Tensor, " N"], rays: int) -> Float[Tensor, " N"]:
    """Of each sample the sum over those in front of it on its ray. Differentiable once."""
    return _Before.apply(tau, ray, rays)


class _Before(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tau, ray, rays):
        ctx.save_for_backward(ray)
        ctx.rays = rays
        if on_gpu(tau):
            return module_of("rays_triton").sums(tau, ray, rays, behind=False)
        out = torch.empty_like(tau)
        _before(array(tau), array(ray), out.numpy())
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        (ray,) = ctx.saved_tensors
        if on_gpu(g):
            return module_of("rays_triton").sums(g, ray, ctx.rays, behind=True), None, None
        out = torch.empty_like(g, memory_format=torch.contiguous_format)
        _behind(array(g), array(ray), out.numpy())
        return out, None, None


@compiled
def _before(value, ray, out):
    total = np.float32(0)
    for k in range(len(value)):
        if k == 0 or ray[k] != ray[k - 1]:
            total = np.float32(0)
        out[k] = total
        total += value[k]


@compiled
def _behind(value, ray, out):
    """The transpose: of each sample the sum over those behind it on its ray."""
    total = np.float32(0)
    last = len(value) - 1
    for k in range(last, -1, -1):
        if k == last or ray[k] != ray[k + 1]:
            total = np.float32(0)
        out[k] = total
        total += value[k]


def total(value: Float[Tensor, "N C"], ray: Int[Tensor, " N"], rays: int) -> Float[Tensor, "R C"]:
    """The sum of a value along each ray. Differentiable once."""
    return _Total.apply(value, ray, rays)


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value, ray, rays):
        ctx.save_for_backward(ray)
        if on_gpu(value):
            return module_of("rays_triton").total(value, ray, rays)
        out = value.new_zeros(rays, value.shape[1])
        _total(array(value), array(ray), out.numpy())
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        return g.index_select(0, ctx.saved_tensors[0]), None, None


@compiled
def _total(value, ray, out):
    for k in range(len(value)):
        for c in range(value.shape[1]):
            out[ray[k], c] += value[k, c]
