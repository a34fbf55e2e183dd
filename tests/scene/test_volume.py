"""Ray sampling and compositing against slow loops and closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from scene.cameras import look_at, rays
from scene.volume import March, accumulate, cell_of, intersect_box, march, occupied_box, weights


def one_ray(n, rays=1):
    count = torch.arange(n)
    return March(count * 0, count, count.float(), torch.zeros(n, 3), rays, n)


def random_march(rng, n_rays=7, slots=9):
    ray, slot = (torch.rand(n_rays, slots, generator=rng) < 0.6).nonzero().T
    return March(ray, slot, slot.double(), torch.zeros(len(ray), 3).double(), n_rays, slots)


def test_weights_and_sums_equal_a_slow_loop():
    rng = torch.Generator().manual_seed(0)
    samples = random_march(rng)
    tau = torch.rand(len(samples.ray), generator=rng, dtype=torch.float64) * 2
    value = torch.rand(len(samples.ray), 3, generator=rng, dtype=torch.float64)
    expected, total = torch.zeros_like(tau), torch.zeros(samples.rays, 3, dtype=torch.float64)
    for ray in range(samples.rays):
        light = 1.0
        for i in range(len(tau)):
            if samples.ray[i] == ray:
                alpha = 1 - math.exp(-tau[i])
                expected[i] = light * alpha
                total[ray] += expected[i] * value[i]
                light *= 1 - alpha
    w = weights(tau, samples)
    torch.testing.assert_close(w, expected, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(accumulate(w, value, samples), total, atol=1e-12, rtol=1e-12)


def test_weights_have_right_gradients():
    rng = torch.Generator().manual_seed(1)
    samples = random_march(rng, 3, 4)
    tau = torch.rand(len(samples.ray), generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda tau: weights(tau, samples), tau)


@pytest.mark.parametrize("sigma", [1e-3, 1.0, 30.0, 1e4])
def test_a_slab_of_constant_density_absorbs_as_beer_and_lambert_say(sigma):
    samples, length = one_ray(64), 1.2
    opacity = weights(torch.full((64,), sigma * length / 64), samples).sum()
    assert opacity.item() == pytest.approx(1 - math.exp(-sigma * length), rel=1e-4)


def test_box_intersections_from_outside_inside_and_beside():
    low, high = torch.full((3,), -1.0), torch.full((3,), 1.0)
    origin = torch.tensor([[3.0, 0, 0], [0.5, 0, 0], [3, 0, 0], [3, 2, 0]])
    direction = torch.tensor([[-1.0, 0, 0], [1, 0, 0], [1, 0, 0], [-1, 0, 0]])
    near, far = intersect_box(origin, direction, low, high)
    torch.testing.assert_close(near[:2], torch.tensor([2.0, 0.0]))
    torch.testing.assert_close(far[:2], torch.tensor([4.0, 0.5]))
    assert (far[2:] < near[2:]).all()


@pytest.mark.parametrize("distance", [2.0, 0.3])
def test_samples_are_those_of_a_slow_march_through_the_occupied_cells(distance):
    rng = torch.Generator().manual_seed(0)
    radius, step, size = 0.6, 0.05, 4
    occupied = torch.zeros(size, size, size, dtype=torch.bool)
    occupied[1:3, 1:3, 1:4] = torch.rand(2, 2, 3, generator=rng) < 0.7
    occupied[1, 1, 1] = occupied[2, 2, 3] = True
    origin, direction = (v.reshape(-1, 3) for v in rays(look_at(25.0, 40.0, distance, 40.0), 6, 6))
    offset = torch.rand(36, generator=rng)
    found = march(origin, direction, occupied, radius, step, offset)
    near, far = intersect_box(origin, direction, *occupied_box(occupied, radius))
    expected = []
    for r in range(36):
        t = near[r] + offset[r] * step
        while t < far[r]:
            x, y, z = (((origin[r] + t * direction[r]) / radius + 1) / 2 * size).long().clamp(0, size - 1).tolist()
            if occupied[x, y, z]:
                expected.append((r, t.item()))
            t = t + step
    assert found.ray.tolist() == [r for r, _ in expected]
    torch.testing.assert_close(found.distance, torch.tensor([t for _, t in expected]), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.position, origin[found.ray] + found.distance[:, None] * direction[found.ray])


def test_the_occupied_box_holds_the_occupied_cells():
    occupied = torch.zeros(8, 8, 8, dtype=torch.bool)
    occupied[2, 5, 7] = occupied[3, 5, 1] = True
    low, high = occupied_box(occupied, 2.0)
    torch.testing.assert_close(low, torch.tensor([-1.0, 0.5, -1.5]))
    torch.testing.assert_close(high, torch.tensor([0.0, 1.0, 2.0]))
    corner = torch.tensor([[-0.99, 0.51, 1.99]])
    assert cell_of(corner, 8, 2.0).item() == (2 * 8 + 5) * 8 + 7


def test_nothing_occupied_or_nothing_hit_gives_no_samples():
    origin, direction = torch.tensor([[3.0, 0, 0]]), torch.tensor([[1.0, 0, 0]])
    for occupied in (torch.zeros(4, 4, 4, dtype=torch.bool), torch.ones(4, 4, 4, dtype=torch.bool)):
        samples = march(origin, direction, occupied, 1.0, 0.1)
        assert len(samples.ray) == 0
        assert accumulate(weights(samples.distance, samples), torch.zeros(0, 3), samples).tolist() == [[0, 0, 0]]
