"""The hash encoding by compiled kernels, with its gradients: the same numbers as its plain twin in `scene.hash_grid`,
sooner. For a CPU the kernels are Numba's (`hashing_numba`), for a GPU Triton's (`hashing_triton`)."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from scene.kernels.compiled import array, module_of, on_gpu, serves
from scene.kernels.levels import FEATURES, Levels


def encode(
    x: Float[Tensor, "N 3"],
    dense: Float[Tensor, "T0 2"],
    hashed: Float[Tensor, "T1 2"],
    levels: Levels,
    active: int,
    known: Float[Tensor, "N LF"] | None = None,
) -> Float[Tensor, "N LF"]:
    """The features of float32 points, differentiable in x and in the tables. Features that are `known` are only
    differentiated."""
    return _Encode.apply(x, dense, hashed, levels, active, False, known)[0]


def encode_with_slope(
    x: Float[Tensor, "N 3"], dense: Float[Tensor, "T0 2"], hashed: Float[Tensor, "T1 2"], levels: Levels, active: int
) -> tuple[Float[Tensor, "N LF"], Float[Tensor, "3 N LF"]]:
    """The features and their derivatives by x, y and z, differentiable in the tables."""
    return _Encode.apply(x, dense, hashed, levels, active, True, None)


def fits(x: Tensor, tables: Iterable[Tensor], slopes: bool = False) -> bool:
    """Whether the kernels can serve: float32, two features."""
    two = all(table.shape[1] == FEATURES for table in tables)
    return two and serves("hash slopes" if slopes else "hash", x, *tables)


def _kernels(x: Tensor) -> ModuleType:
    return module_of("hashing_triton" if on_gpu(x) else "hashing_numba")


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, dense, hashed, levels, active, slopes, known):
        ctx.save_for_backward(x, dense, hashed)
        ctx.levels, ctx.active, ctx.slopes = levels, active, slopes
        if known is not None:
            return known.view_as(known), None
        return _kernels(x).gather(x, dense, hashed, levels, active, slopes)

    @staticmethod
    @once_differentiable
    def backward(ctx, g, g_by_x):
        x, dense, hashed = ctx.saved_tensors
        to_x, to_tables = None, (None, None)
        if ctx.needs_input_grad[0]:
            if ctx.slopes:
                raise NotImplementedError("slopes are not differentiable in x: detach it")
            _, slope = _kernels(x).gather(x, dense, hashed, ctx.levels, ctx.active, True)
            to_x = torch.einsum("kne,ne->nk", slope, g)
        if any(ctx.needs_input_grad[1:3]):
            to_tables = _kernels(x).scatter(x, g, g_by_x, dense, hashed, ctx.levels, ctx.active)
        return to_x, *to_tables, None, None, None, None


def in_large_pages(v: Tensor) -> Tensor:
    """The same numbers where the system may give them large pages, as NumPy asks it to: a table's rows are read in no
    order, and small pages make each read look for its page first."""
    if v.device.type != "cpu":
        return v
    out = torch.from_numpy(np.empty(v.shape, array(v).dtype))
    return out.copy_(v.detach())
