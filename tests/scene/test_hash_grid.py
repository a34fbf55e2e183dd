"""The hash grid against a slow loop over points, levels and vertices, and its derivatives against differences."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.autograd import gradcheck
from torch.func import functional_call

from scene.hash_grid import HashGrid

LEVELS, FEATURES, ROWS = 3, 2, 2**7


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def grid(rng):
    """Two dense levels (27 and 125 vertices) and a hashed one, with tables of order one, in double."""
    grid = HashGrid(LEVELS, FEATURES, 7, 2, 9, rng).double()
    with torch.no_grad():
        for table in grid.tables:
            table.mul_(1e4)
    return grid


def vertex(grid, level, v):
    """The features of one vertex of a level, by the paper's words."""
    n = grid.resolutions[level]
    if (n + 1) ** 3 <= ROWS:
        start = sum((m + 1) ** 3 for m in grid.resolutions[:level])
        return grid.tables[0][start + v[0] + v[1] * (n + 1) + v[2] * (n + 1) ** 2]
    h = (v[0] ^ (v[1] * 2654435761) ^ (v[2] * 805459861)) % ROWS
    return grid.tables[1][(level - grid.dense) * ROWS + h]


def slow(grid, x):
    out = []
    for level, n in enumerate(grid.resolutions):
        place = [float(c) * n for c in x]
        cell = [min(int(p), n - 1) for p in place]
        total = torch.zeros(FEATURES, dtype=torch.float64)
        for corner in itertools.product((0, 1), repeat=3):
            weight = 1.0
            for p, c, up in zip(place, cell, corner, strict=True):
                weight *= p - c if up else 1 - (p - c)
            total = total + weight * vertex(grid, level, [c + up for c, up in zip(cell, corner, strict=True)])
        out.append(total)
    return torch.cat(out)


def test_it_equals_the_slow_loop(grid, rng):
    assert 0 < grid.dense < LEVELS
    x = torch.rand(40, 3, generator=rng, dtype=torch.float64)
    x[:3] = torch.tensor([[0.0, 0, 0], [1, 1, 1], [1, 0, 0.5]])
    torch.testing.assert_close(grid(x), torch.stack([slow(grid, p) for p in x]), atol=1e-12, rtol=1e-12)


def test_resolutions_grow_geometrically_to_the_finest():
    grid = HashGrid(16, 2, 4, 16, 4096, torch.Generator().manual_seed(0))
    assert grid.resolutions[0] == 16
    assert grid.resolutions[-1] == 4096
    ratios = [b / a for a, b in itertools.pairwise(grid.resolutions)]
    assert max(abs(r - 1.447269) for r in ratios) < 0.05


def test_it_is_continuous_across_cells(grid):
    edges = torch.tensor([[k / n, 0.31, 0.77] for n in grid.resolutions for k in range(1, n)], dtype=torch.float64)
    nudge = torch.tensor([1e-9, 0, 0], dtype=torch.float64)
    torch.testing.assert_close(grid(edges - nudge), grid(edges + nudge), atol=1e-6, rtol=0)


def test_levels_that_have_not_joined_are_zero_and_the_others_unchanged(grid, rng):
    x = torch.rand(9, 3, generator=rng, dtype=torch.float64)
    for active in range(1, LEVELS + 3):
        features = grid(x, active)
        assert torch.equal(features[:, : active * FEATURES], grid(x)[:, : active * FEATURES])
        assert not features[:, active * FEATURES :].any()


def with_tables(grid, method, x, tables):
    class Call(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.grid = grid

        def forward(self, x):
            return getattr(self.grid, method)(x)

    names = [f"grid.tables.{k}" for k in range(2)]
    return functional_call(Call(), dict(zip(names, tables, strict=True)), (x,))


def test_first_derivatives(grid, rng):
    x = torch.rand(5, 3, generator=rng, dtype=torch.float64, requires_grad=True)
    tables = [t.detach().clone().requires_grad_() for t in grid.tables]
    assert gradcheck(lambda x, *t: with_tables(grid, "forward", x, t), (x, *tables))


def test_second_derivatives(grid, rng):
    """The slopes are the derivatives by x, and their own derivatives by the tables are right."""
    x = torch.rand(5, 3, generator=rng, dtype=torch.float64)
    tables = [t.detach().clone().requires_grad_() for t in grid.tables]
    assert gradcheck(lambda *t: with_tables(grid, "with_slope", x, t), tables)
    features, slope = grid.with_slope(x)
    assert torch.equal(features, grid(x))
    jacobian = torch.autograd.functional.jacobian(lambda x: grid(x).sum(0), x)  # (E, N, 3)
    torch.testing.assert_close(slope, jacobian.permute(2, 1, 0), atol=1e-10, rtol=1e-10)


def test_no_points_give_no_features_and_zero_gradients(grid):
    out = grid(torch.zeros(0, 3, dtype=torch.float64))
    assert out.shape == (0, LEVELS * FEATURES)
    out.sum().backward()
    assert all(not t.grad.any() for t in grid.tables)
