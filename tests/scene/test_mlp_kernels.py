"""The compiled perceptron against the two matrix products that it stands for."""

from __future__ import annotations

import pytest
import torch

from scene.kernels.mlp import mlp, mlp_with_slope
from tests.scene.conftest import INTERPRETED

MANY = 1100 if INTERPRETED else 2500


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)


def layers(n, inputs, hidden, outputs, rng, device="cpu"):
    sizes = ((n, inputs), (inputs, hidden), (hidden, outputs))
    return [torch.randn(size, generator=rng).to(device).requires_grad_() for size in sizes]


@pytest.mark.parametrize("n", [0, 1, 127, MANY])
@pytest.mark.parametrize(("inputs", "hidden", "outputs"), [(16, 32, 3), (16, 32, 1), (7, 10, 2)])
def test_it_equals_the_products(n, inputs, hidden, outputs, rng, device):
    tensors = layers(n, inputs, hidden, outputs, rng, device)
    g = torch.randn(n, outputs, generator=rng).to(device)
    e, first, second = (v.detach().double().requires_grad_() for v in tensors)
    slow = torch.relu(e @ first) @ second
    fast = mlp(*tensors)
    pairs = [(fast, slow)]
    doubles = torch.autograd.grad(slow, (e, first, second), g.double())
    pairs += zip(torch.autograd.grad(fast, tensors, g), doubles, strict=True)
    for a, b in pairs:
        assert a.shape == b.shape
        assert n == 0 or b.any()
        assert ((a - b).abs() <= 1e-5 * b.abs().max() if n else a == 0).all()


@pytest.mark.parametrize("n", [0, 70, MANY])
def test_the_slope_and_its_gradients_equal_automatic_differentiation(n, rng, device):
    tensors = layers(n, 16, 32, 1, rng, device)
    g, h = torch.randn(n, 1, generator=rng).to(device), torch.randn(n, 16, generator=rng).to(device)
    e, first, second = (v.detach().double().requires_grad_() for v in tensors)
    slow = torch.relu(e @ first) @ second
    (slope,) = torch.autograd.grad(slow.sum(), e, create_graph=True)
    fast = mlp_with_slope(*tensors)
    doubles = torch.autograd.grad((slow, slope), (e, first, second), (g.double(), h.double()))
    singles = torch.autograd.grad(fast, tensors, (g, h))
    for a, b in zip((*fast, *singles), (slow, slope, *doubles), strict=True):
        assert a.shape == b.shape
        assert n == 0 or b.any()
        assert ((a - b).abs() <= 1e-5 * b.abs().max() if n else a == 0).all()


def test_bits_do_not_depend_on_the_number_of_threads(rng):
    tensors = layers(5000, 16, 32, 3, rng)
    g = torch.randn(5000, 3, generator=rng)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            out = mlp(*tensors)
            results.append([out, *torch.autograd.grad(out, tensors, g)])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_a_point_that_is_not_a_number_is_not_hidden(rng):
    e, first, second = layers(3, 4, 8, 1, rng)
    bad = e.detach().clone()
    bad[1, 2] = float("nan")
    assert mlp(bad, first, second)[1].isnan().all()
