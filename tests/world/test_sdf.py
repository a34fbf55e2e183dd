"""Signed distances: closed forms, unit gradients, and that moving and joining do what their names say."""

from __future__ import annotations

import math

import pytest
import torch

from world import sdf


def points(n: int = 400) -> torch.Tensor:
    return torch.rand(n, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1


def winding(n: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    """Centres (n,3) and radii (n,) of balls along a coil of 2.5 turns that narrows from .6 to .4 as it thickens."""
    s = torch.linspace(0, 1, n, dtype=torch.float64)
    reach, angle = 0.6 - 0.2 * s, 5 * math.pi * s
    return torch.stack([reach * angle.cos(), reach * angle.sin(), 1.2 * s - 0.6], -1), 0.1 + 0.1 * s


def is_in_winding(p: torch.Tensor) -> torch.Tensor:
    centres, radii = winding()
    return (torch.cdist(p, centres) < radii).any(-1)


@pytest.mark.parametrize("size", [1, 5, 33, 1001])
def test_lengths_and_azimuths_are_those_of_rows_to_the_last_bit(size):
    """And of a point the same wherever it stands: so true pictures do not depend on how points are laid out."""
    rows = torch.randn(size, 3, generator=torch.Generator().manual_seed(size))
    columns = sdf.points(*rows.T.contiguous())
    assert columns.stride() == (1, size)
    for p in (rows, columns):
        assert torch.equal(sdf.length(p), rows.norm(dim=-1))
        assert torch.equal(sdf.length(p[:, :2]), rows[:, :2].norm(dim=-1))
        assert torch.equal(sdf.azimuth(p), torch.atan2(rows[:, 1], rows[:, 0]))
        assert torch.equal(sdf.azimuth(p[size // 3 :]), sdf.azimuth(p)[size // 3 :])


SOLIDS = {
    "ball": (sdf.ball(0.4), lambda p: p.norm(dim=-1) < 0.4),
    "egg": (sdf.egg(0.5, 0.3, 0.2), lambda p: (p / p.new_tensor([0.5, 0.3, 0.2])).norm(dim=-1) < 1),
    "box": (sdf.box(0.5, 0.3, 0.2, 0.0), lambda p: (p.abs() < p.new_tensor([0.5, 0.3, 0.2])).all(-1)),
    "drum": (sdf.drum(0.4, 0.3, 0.0), lambda p: (p[:, :2].norm(dim=-1) < 0.4) & (p[:, 2].abs() < 0.3)),
    "ring": (sdf.ring(0.5, 0.2), lambda p: (p[:, :2].norm(dim=-1) - 0.5) ** 2 + p[:, 2] ** 2 < 0.04),
    "rod": (
        sdf.rod((0.0, 0.0, -0.4), (0.0, 0.0, 0.4), 0.2),
        lambda p: torch.cat([p[:, :2], p[:, 2:] - p[:, 2:].clamp(-0.4, 0.4)], -1).norm(dim=-1) < 0.2,
    ),
    "closed coil": (sdf.coil(1.0, (0.5, 0.0, 0.2), (0.5, 0.0, 0.2)), lambda p: sdf.ring(0.5, 0.2)(p) < 0),
    "coil": (sdf.coil(2.5, (0.6, -0.6, 0.1), (0.4, 0.6, 0.2)), is_in_winding),
}


@pytest.mark.parametrize("name", SOLIDS)
def test_a_solid_is_negative_inside_alone(name):
    solid, is_inside = SOLIDS[name]
    p = points()
    assert torch.equal(solid(p) < 0, is_inside(p))


@pytest.mark.parametrize("name", SOLIDS)
def test_no_distance_is_overestimated(name):
    """Sphere tracing may step by the distance: no surface point lies nearer than it says."""
    solid, _ = SOLIDS[name]
    p, q = points(150), points(20_000)
    q = q[solid(q) < 0]
    outside = p[solid(p) > 0.02]
    nearest = torch.cdist(outside, q).amin(-1)
    assert (solid(outside) <= nearest + 1e-6).all()


def test_turning_carries_x_to_y():
    turned = sdf.turn("z", 90, sdf.at(0.5, 0, 0, sdf.ball(0.1)))
    centre = torch.tensor([[0.0, 0.5, 0.0], [0.5, 0.0, 0.0]])
    assert turned(centre)[0].item() == pytest.approx(-0.1, abs=1e-6)
    assert turned(centre)[1].item() > 0


def test_twins_and_around_repeat():
    twins = sdf.twins(sdf.at(0, 0.3, 0, sdf.ball(0.1)))
    assert torch.allclose(twins(torch.tensor([[0, 0.3, 0], [0, -0.3, 0.0]])), torch.tensor(-0.1), atol=1e-6)
    five = sdf.around(5, sdf.at(0.4, 0, 0, sdf.ball(0.1)))
    angle = torch.arange(5) * 2 * math.pi / 5
    ring = torch.stack([0.4 * angle.cos(), 0.4 * angle.sin(), torch.zeros(5)], -1)
    assert torch.allclose(five(ring), torch.tensor(-0.1), atol=1e-5)


def test_smooth_min_is_the_minimum_away_from_the_seam():
    a, b = torch.tensor([0.0, 0.5, 0.2]), torch.tensor([0.3, 0.1, 0.2])
    low = sdf.smooth_min(a, b, 0.1)
    assert torch.allclose(low[:2], torch.minimum(a, b)[:2])
    assert low[2].item() == pytest.approx(0.2 - 0.1 / 4)


def test_colours_follow_their_masks():
    p = torch.tensor([[0.0, 0.0, 0.3], [0.0, 0.0, -0.3]])
    red, blue = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
    assert torch.equal(sdf.shade(sdf.within(sdf.above(0.0), red, blue), p), torch.tensor([red, blue]))
    middle = sdf.shade(sdf.fade(2, -0.3, 0.3, red, blue), torch.zeros(1, 3))
    assert torch.allclose(middle, torch.tensor([[0.5, 0.0, 0.5]]))


def test_a_toy_has_the_colour_of_its_nearest_part():
    parts = [
        sdf.Part(sdf.at(0.3, 0, 0, sdf.ball(0.2)), (1.0, 0.0, 0.0)),
        sdf.Part(sdf.at(-0.3, 0, 0, sdf.ball(0.2)), (0.0, 1.0, 0.0)),
    ]
    p = torch.tensor([[0.5, 0.0, 0.0], [-0.5, 0.0, 0.0]])
    assert torch.allclose(sdf.distance(parts, p), torch.zeros(2), atol=1e-6)
    assert torch.allclose(sdf.albedo(parts, p), torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]), atol=1e-6)
