"""The compiled hash encoding against its plain twin, and the twin's derivatives of second order against autograd."""

from __future__ import annotations

import itertools

import pytest
import torch

from scene.hash_grid import HashGrid
from scene.kernels import hashing as kernels
from scene.kernels import hashing_numba as numba_hash
from scene.kernels.compiled import on_gpu
from tests.scene.conftest import INTERPRETED

LEVELS = 6
POINTS = 140 if INTERPRETED else 500
ACTIVE = (5,) if INTERPRETED else (2, 5, LEVELS)  # the interpreter takes seconds for what does not depend on the kernel


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def grid(rng):
    """Three dense levels and three hashed ones, with tables of order one."""
    grid = HashGrid(LEVELS, 2, 10, 3, 60, rng)
    assert grid.dense == 3
    with torch.no_grad():
        for table in grid.tables:
            table.mul_(1e4)
    return grid


def points(n, rng):
    """Random ones; every third on cell borders, and some outside of the cube."""
    x = torch.rand(n, 3, generator=rng)
    x[::3] = (x[::3] * 60).round() / 60
    x[::7] = x[::7] * 1.5 - 0.25
    x[:4] = torch.tensor([[0.0, 0, 0], [1, 1, 1], [1, 0, 0.5], [-3, 9, 0.5]])
    return x


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def usual(grid, x):
    """Eight gathers a level, differentiable as often as one likes."""
    out = []
    for level, n in enumerate(grid.resolutions):
        place = x * n
        cell = place.detach().int().clamp(0, n - 1).long()
        part, total = place - cell, 0
        for corner in itertools.product((0, 1), repeat=3):
            v = cell + torch.tensor(corner).to(x.device)
            if level < grid.dense:
                row, table = v[:, 0] + v[:, 1] * (n + 1) + v[:, 2] * (n + 1) ** 2, grid.tables[0]
            else:
                row = (v[:, 0] ^ v[:, 1] * 2654435761 ^ v[:, 2] * 805459861) & (grid.rows - 1)
                table = grid.tables[1]
            weight = torch.stack([part[:, a] if up else 1 - part[:, a] for a, up in enumerate(corner)]).prod(0)
            total = total + weight[:, None] * table[grid.offsets[level] + row]
        out.append(total)
    return torch.cat(out, -1)


def gradients(out, g, inputs):
    return torch.autograd.grad(out, inputs, g, allow_unused=True, materialize_grads=True)


def encoded(grid, x, active, slopes):
    """Features, and behind them slopes."""
    if not slopes:
        return grid(x, active)[None]
    features, slope = grid.with_slope(x, active)
    return torch.cat([features[None], slope])


def assert_near(a, b, share):
    """Equal to a share of the peak."""
    assert (a - b).abs().max() <= share * b.abs().max()


@pytest.mark.parametrize("slopes", [False, True])
@pytest.mark.parametrize("active", ACTIVE)
def test_forward_and_gradients_equal_the_twin(grid, rng, active, slopes, device):
    grid = grid.to(device)
    x = points(POINTS, rng).to(device).requires_grad_(not slopes)
    assert kernels.fits(x, grid.tables)
    fast, slow = encoded(grid, x, active, slopes), grid.plain(x, active, slopes)
    for a, b in zip(fast, slow, strict=True):
        assert_near(a, b, 1e-6)
    g = torch.randn(fast.shape, generator=rng).to(device)
    inputs = [*grid.tables] if slopes else [x, *grid.tables]
    for a, b in zip(gradients(fast, g, inputs), gradients(slow, g, inputs), strict=True):
        assert_near(a, b, 1e-5)


def test_second_order_equals_autograd_twice(grid, rng, device):
    """The tables' gradient of <g, de/dx>, which a normal's loss takes, and of a loss of both features and slopes."""
    grid, x = grid.to(device), points(POINTS, rng).to(device)
    g, h = (torch.randn(*n, len(x), 2 * LEVELS, generator=rng).to(device) for n in ((3,), ()))
    features, slope = grid.with_slope(x)
    fast = gradients([slope, features], [g, h], [*grid.tables])
    x.requires_grad_()
    e = usual(grid, x)
    v = torch.zeros_like(e, requires_grad=True)  # de/dx by reverse mode twice
    (by_x,) = torch.autograd.grad(e, x, v, create_graph=True)
    (first,) = torch.autograd.grad(by_x.sum(), v, create_graph=True)
    assert_near(slope.sum(0), first, 1e-5)
    total = sum((torch.autograd.grad((e * g[k]).sum(), x, create_graph=True)[0][:, k]).sum() for k in range(3))
    for a, b in zip(fast, gradients(total + (e * h).sum(), None, [*grid.tables]), strict=True):
        assert_near(a, b, 1e-5)


@pytest.mark.parametrize("slopes", [False, True])
def test_bits_do_not_depend_on_the_number_of_threads(grid, rng, threads, slopes):
    x = points(1001, rng)
    g = torch.randn(4 if slopes else 1, len(x), 2 * LEVELS, generator=rng)
    results = []
    for n in (1, 2, 3):
        threads(n)
        out = encoded(grid, x, LEVELS, slopes)
        results.append([out, *gradients(out, g, [*grid.tables])])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("slopes", [True] if INTERPRETED else [False, True])
def test_on_a_gpu_bits_do_not_depend_on_the_order_of_points(grid, rng, slopes, device):
    """Whatever order atomics take: Triton's sums of integers have none."""
    x, grid = points(POINTS, rng).to(device), grid.to(device)
    if not on_gpu(x):
        pytest.skip("on a CPU the order of points is the order of sums")
    g = torch.randn(4 if slopes else 1, len(x), 2 * LEVELS, generator=rng).to(device)
    order = torch.randperm(len(x), generator=rng).to(device)
    there, back = (
        gradients(encoded(grid, x[i], LEVELS, slopes), g[:, i], [*grid.tables]) for i in (order.sort()[0], order)
    )
    assert all(torch.equal(a, b) for a, b in zip(there, back, strict=True))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_is_not_hidden(grid, rng, bad, device):
    x, grid = points(9, rng).to(device), grid.to(device)
    g = torch.randn(9, 2 * LEVELS, generator=rng).to(device)
    g[4, 0], g[4, -1] = bad, bad
    assert not any(v.isfinite().all() for v in gradients(grid(x), g, [*grid.tables]))


def test_points_that_are_not_numbers_stay_inside_the_tables(grid):
    x = torch.tensor([[float("nan"), 0.5, 0.5], [float("inf"), 0.5, 0.5], [1e30, -1e30, 0.5]])
    assert grid(x)[0].isnan().all()
    gradients(grid(x), torch.ones(3, 2 * LEVELS), [*grid.tables])


def test_no_points_give_no_features_and_zero_gradients(grid):
    out = grid(torch.zeros(0, 3))
    assert out.shape == (0, 2 * LEVELS)
    assert not any(g.any() for g in gradients(out, torch.zeros_like(out), [*grid.tables]))


@pytest.mark.parametrize(("features", "dtype"), [(3, torch.float32), (2, torch.float64)])
def test_the_twin_serves_what_the_kernels_do_not(features, dtype, rng):
    grid = HashGrid(3, features, 7, 2, 9, rng).to(dtype)
    x = torch.rand(5, 3, generator=rng).to(dtype)
    assert not kernels.fits(x, grid.tables)
    assert grid(x).shape == (5, 3 * features)


def test_known_features_are_differentiated_and_not_computed_again(grid, rng):
    x = points(30, rng)
    with torch.no_grad():
        known = grid(x)
    g = torch.randn(known.shape, generator=rng)
    out = grid(x, known=known)
    assert torch.equal(out, known)
    assert out.data_ptr() == known.data_ptr()
    for a, b in zip(gradients(out, g, [*grid.tables]), gradients(grid(x), g, [*grid.tables]), strict=True):
        assert torch.equal(a, b)


def test_memory_is_kept_for_gradients_of_tables_alone(grid, rng):
    """Kept while nothing refers to it, never shared, and not for numbers of points, which change from step to step."""
    shapes = {tuple(table.shape) for table in grid.tables}
    for n in (10, 11, 12):
        x = points(n, rng)
        first = gradients(grid(x), torch.ones(n, 2 * LEVELS), [*grid.tables])
        second = gradients(grid(x), torch.ones(n, 2 * LEVELS), [*grid.tables])
        assert all(a.data_ptr() != b.data_ptr() and torch.equal(a, b) for a, b in zip(first, second, strict=True))
    mine = [array for array in numba_hash._kept if array.shape in shapes]
    assert len(mine) <= 2 * 2 + 2 * 2  # two tables, twice alive, and as many that are not let go yet
    assert all(len(array.shape) == 2 for array in numba_hash._kept)
