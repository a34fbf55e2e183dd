"""The multi-resolution hash encoding of Instant-NGP (2201.05989).

Alphabet: x points in [0, 1]^3; level l has resolution N_l = floor(base b^l), b = (finest / base)^(1 / (L - 1)), and a
table of T = 2^log2_table rows of F features. A level whose (N_l + 1)^3 vertices fit into T indexes them directly;
a finer one hashes them, h(v) = (v_x xor v_y pi_2 xor v_z pi_3) mod T (eq. 4). The features of x are interpolated
trilinearly between the 8 vertices of its cell, and the levels are concatenated, coarse to fine.

In float32, on a CPU or a GPU, compiled kernels compute it (`scene.kernels.hashing`); what is here in plain torch is
their twin, which serves everywhere else and is what they are tested against.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from scene.kernels import hashing

PRIMES = (1, 2654435761 - 2**32, 805459861)  # as wrapping 32-bit integers
INIT = 1e-4  # half-width of the tables' uniform start (2201.05989, section 4)


class HashGrid(nn.Module):
    """Points -> L F features."""

    def __init__(self, levels: int, features: int, log2_table: int, base: int, finest: int, rng: torch.Generator):
        super().__init__()
        growth = (finest / base) ** (1 / max(levels - 1, 1))
        self.resolutions = [int(base * growth**level + 1e-6) for level in range(levels)]
        self.rows = 2**log2_table
        self.dense = sum((n + 1) ** 3 <= self.rows for n in self.resolutions)  # the first levels, indexed directly
        vertices = [(n + 1) ** 3 for n in self.resolutions[: self.dense]]
        self.offsets = [sum(vertices[:level]) for level in range(self.dense)]  # of the levels, in the first table
        self.offsets += [self.rows * level for level in range(levels - self.dense)]  # and in the second
        sizes = (sum(vertices), self.rows * (levels - self.dense))
        self.tables = nn.ParameterList(
            nn.Parameter(
                hashing.in_large_pages(INIT * (2 * torch.rand(n, features, generator=rng, device=rng.device) - 1))
            )
            for n in sizes
        )
        resolutions, offsets = (np.array(v, dtype=np.int64) for v in (self.resolutions, self.offsets))
        self.geometry = hashing.Levels(resolutions, offsets, self.dense, self.rows - 1)

    def forward(
        self, x: Float[Tensor, "N 3"], active: int | None = None, known: Float[Tensor, "N LF"] | None = None
    ) -> Float[Tensor, "N LF"]:
        """The features; those of levels from `active` on are zero. Differentiable in x and, at will, in the tables.

        Features that are `known` from a call without gradients need not be computed again."""
        active = self._active(active)
        if hashing.fits(x, self.tables):
            return hashing.encode(x, self.tables[0], self.tables[1], self.geometry, active, known)
        return self.plain(x, active, slopes=False)[0]

    def with_slope(
        self, x: Float[Tensor, "N 3"], active: int | None = None
    ) -> tuple[Float[Tensor, "N LF"], Float[Tensor, "3 N LF"]]:
        """The features and their derivatives by x, y and z, both differentiable in the tables: the second order that
        the gradient of a normal takes, without differentiating a graph twice."""
        x, active = x.detach(), self._active(active)
        if hashing.fits(x, self.tables, slopes=True):
            return hashing.encode_with_slope(x, self.tables[0], self.tables[1], self.geometry, active)
        out = self.plain(x, active, slopes=True)
        return out[0], out[1:]

    def _active(self, active: int | None) -> int:
        levels = len(self.resolutions)
        return levels if active is None else min(active, levels)

    def plain(self, x: Float[Tensor, "N 3"], active: int, slopes: bool) -> Float[Tensor, "K N LF"]:
        """The features, and with slopes their derivatives by x, y and z, in plain torch."""
        levels = len(self.resolutions)
        features = self.tables[0].shape[1]
        width, kinds = levels * features, 4 if slopes else 1
        parts = [
            _Gather.apply(table, *self._corners(x, first, last, slopes)).reshape(
                kinds, len(x), (last - first) * features
            )
            for table, (first, last) in zip(self.tables, self.geometry.spans(active), strict=True)
            if last > first
        ]
        out = torch.cat(parts, -1) if len(parts) > 1 else parts[0]
        return out if out.shape[-1] == width else F.pad(out, (0, width - out.shape[-1]))

    def _corners(
        self, x: Float[Tensor, "N 3"], first: int, last: int, slopes: bool
    ) -> tuple[Int[Tensor, "M 8"], Float[Tensor, "K M 8"]]:
        """Rows and trilinear weights of the 8 vertices about each point, M = N (last - first), levels innermost; with
        slopes, also the weights' derivatives by x, y and z (K = 4, else 1).

        The levels are all dense or all hashed: only the way that the axes' parts combine differs."""
        hashed = first >= self.dense
        n, offset = (
            torch.tensor(v[first:last], dtype=torch.int32, device=x.device) for v in (self.resolutions, self.offsets)
        )
        strides = (torch.ones_like(n), n + 1, (n + 1) * (n + 1))
        rows, weights = [], []
        for axis in range(3):
            place = x[:, axis, None] * n
            cell = torch.minimum(place.detach().int().clamp_(min=0), n - 1)  # x = 1 belongs to the last cell
            part = (place - cell).reshape(-1)
            step = PRIMES[axis] if hashed else strides[axis]
            pair = [cell * step, (cell + 1) * step]
            rows.append([(row & (self.rows - 1) if hashed else row).reshape(-1) for row in pair])
            weights.append([1 - part, part])
        combine = torch.bitwise_xor if hashed else torch.add
        level = offset.expand(len(x), -1).reshape(-1)  # a hash is below T and offsets are its multiples, so + is xor
        xy = [combine(rows[0][i], rows[1][j]) for j in (0, 1) for i in (0, 1)]
        index = torch.stack([combine(z + level, row) for z in rows[2] for row in xy], -1)
        kinds = [_corner_products(weights)]
        if slopes:
            rise = n.to(x).expand(len(x), -1).reshape(-1)
            steepness = [-rise, rise]
            kinds += [_corner_products([*weights[:k], steepness, *weights[k + 1 :]]) for k in range(3)]
        return index, torch.stack(kinds)


def _corner_products(axes: list[list[Tensor]]) -> Float[Tensor, "M 8"]:
    """x_i y_j z_k for pairs x, y, z; i fastest."""
    x, y, z = axes
    xy = [a * b for b in y for a in x]
    return torch.stack([a * c for c in z for a in xy], -1)


class _Gather(torch.autograd.Function):
    """out_km = sum_c w_kmc table[i_mc], linear in the table and in the weights."""

    @staticmethod
    def forward(ctx, table, index, weight):
        ctx.save_for_backward(table, index, weight)
        return torch.stack([F.embedding_bag(index, table, mode="sum", per_sample_weights=w) for w in weight])

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        table, index, weight = ctx.saved_tensors
        to_table = _scatter(g, index, weight, len(table)) if ctx.needs_input_grad[0] else None
        to_weight = torch.einsum("kmf,mcf->kmc", g, table[index.long()]) if ctx.needs_input_grad[2] else None
        return to_table, None, to_weight


def _scatter(
    g: Float[Tensor, "K M F"], index: Int[Tensor, "M 8"], weight: Float[Tensor, "K M 8"], rows: int
) -> Float[Tensor, "rows F"]:
    """The transpose of the gather. One feature at a time, which torch adds up fastest."""
    flat, out = index.reshape(-1).long(), g.new_zeros(g.shape[2], rows)
    for feature, total in enumerate(out):
        total.index_add_(0, flat, sum(w * v[:, feature, None] for w, v in zip(weight, g, strict=True)).reshape(-1))
    return out.T.contiguous()
