"""What is compiled along rays against its plain twins, forward and backward."""

from __future__ import annotations

import pytest
import torch

from scene import volume
from scene.cameras import look_at, rays
from scene.volume import accumulate, march, weights
from tests.scene.conftest import INTERPRETED

SIZE = 12 if INTERPRETED else 24  # of the pictures


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def plain(monkeypatch):
    """Call a function without kernels."""

    def call(f, *args):
        with monkeypatch.context() as m:
            m.setattr(volume, "serves", lambda *_: False)
            return f(*args)

    return call


def sampled(rng, device, plain_call=None):
    origin, direction = (
        v.reshape(-1, 3) for v in rays(look_at(20.0, torch.tensor([30.0, 200.0]), 2.0, 40.0), SIZE, SIZE)
    )
    occupied = torch.rand(16, 16, 16, generator=rng) < 0.3
    offset = torch.rand(len(origin), generator=rng)
    origin, direction, occupied, offset = (v.to(device) for v in (origin, direction, occupied, offset))
    arguments = origin, direction, occupied, 0.6, 0.04, offset
    return march(*arguments), plain_call(march, *arguments) if plain_call else None


def test_march_takes_the_same_samples(rng, plain, device):
    fast, slow = sampled(rng, device, plain)
    assert len(fast.ray) > SIZE**2
    assert fast.slots == slow.slots
    key = [set(zip(s.ray.tolist(), s.slot.tolist(), strict=True)) for s in (fast, slow)]
    assert len(key[0] ^ key[1]) <= 2  # a sample on a cell's border may round into the next
    if key[0] == key[1]:
        torch.testing.assert_close(fast.distance, slow.distance)
        torch.testing.assert_close(fast.position, slow.position)
    order = fast.ray * fast.slots + fast.slot
    assert (order.diff() > 0).all()


def test_march_through_nothing_takes_no_samples():
    origin, direction = torch.tensor([[2.0, 0, 0], [2, 0, 0]]), torch.tensor([[-1.0, 0, 0], [0, 1, 0]])
    empty = torch.zeros(4, 4, 4, dtype=torch.bool)
    assert len(march(origin, direction, empty, 0.6, 0.04).ray) == 0
    full = march(origin, direction, ~empty, 0.6, 0.04)
    assert set(full.ray.tolist()) == {0}
    assert len(full.ray) == 30


def test_weights_and_sums_equal_their_twins(rng, plain, device):
    s, _ = sampled(rng, device)
    tau = (torch.rand(len(s.ray), generator=rng) * 2).to(device).requires_grad_()
    value = torch.rand(len(s.ray), 5, generator=rng).to(device).requires_grad_()
    g = torch.randn(s.rays, 5, generator=rng).to(device)

    def image():
        w = weights(tau, s)
        out = accumulate(w, value, s)
        return w, out, *torch.autograd.grad(out, (tau, value), g)

    for fast, slow in zip(image(), plain(image), strict=True):
        assert (fast - slow).abs().max() <= 1e-6 * slow.abs().max()
