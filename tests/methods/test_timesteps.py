"""Timesteps are pure in (progress, rng)."""

import torch

from methods import timesteps


def test_uniform_covers_both_ends_and_nothing_else():
    t = timesteps.uniform(20_000, 0.02, 0.03, 1000, torch.Generator().manual_seed(0))
    assert t.unique().tolist() == list(range(20, 31))
    again = timesteps.uniform(20_000, 0.02, 0.03, 1000, torch.Generator().manual_seed(0))
    assert torch.equal(t, again)


def test_linear_falls_at_constant_speed():
    values = [timesteps.linear(p / 4, 1.0, 0.2) for p in range(5)]
    torch.testing.assert_close(torch.tensor(values), torch.tensor([1.0, 0.8, 0.6, 0.4, 0.2]))


def test_sqrt_goes_from_980_to_300():
    assert round(1000 * timesteps.sqrt(0.0, 0.98, 0.3)) == 980
    assert round(1000 * timesteps.sqrt(0.25, 0.98, 0.3)) == 640
    assert round(1000 * timesteps.sqrt(1.0, 0.98, 0.3)) == 300
