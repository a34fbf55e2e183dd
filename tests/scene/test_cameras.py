"""Cameras against closed forms: angles, matrices, and the pixels that known points fall on."""

from __future__ import annotations

import math

import pytest
import torch

from scene.cameras import CameraRange, direction, look_at, orbit, rays


def project(cameras, point, height, width):
    """Pixel (x, y) of a world point for the first camera, by the pinhole's equation."""
    p = torch.linalg.inv(cameras.c2w[0]) @ torch.cat([point, point.new_ones(1)])
    focal = 0.5 * height / math.tan(math.radians(cameras.fov[0].item()) / 2)
    return width / 2 + focal * p[0] / -p[2], height / 2 - focal * p[1] / -p[2]


@pytest.mark.parametrize("elevation", [-90.0, -30.0, 0.0, 15.0, 89.9999, 90.0])
@pytest.mark.parametrize("azimuth", [0.0, 77.0, 180.0, -90.0])
def test_look_at_is_a_rotation_that_looks_at_the_origin(elevation, azimuth):
    cameras = look_at(elevation, azimuth, 2.0, 40.0)
    rotation, position = cameras.c2w[0, :3, :3], cameras.c2w[0, :3, 3]
    torch.testing.assert_close(rotation.T @ rotation, torch.eye(3), atol=1e-5, rtol=0)
    assert torch.linalg.det(rotation).item() == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(-rotation[:, 2], -position / position.norm(), atol=1e-5, rtol=0)
    assert position.norm().item() == pytest.approx(2)
    a = math.radians(azimuth)  # right points to growing azimuth, also at the poles
    torch.testing.assert_close(rotation[:, 0], torch.tensor([-math.sin(a), math.cos(a), 0]), atol=1e-3, rtol=0)


def test_the_front_camera_has_left_on_its_right_side_and_z_up():
    cameras = look_at(0.0, 0.0, 2.0, 40.0)
    x, y = project(cameras, torch.tensor([0.0, 0.3, 0.1]), 64, 64)
    assert x > 32
    assert y < 32
    torch.testing.assert_close(cameras.c2w[0, :3, 3], torch.tensor([2.0, 0, 0]))


def test_rays_pass_through_the_pixels_that_points_project_to():
    cameras = look_at(20.0, 130.0, 2.0, 50.0, target=torch.tensor([[0.1, -0.1, 0.05]]))
    height, width = 5, 8
    origins, directions = rays(cameras, height, width)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(1, height, width))
    for row in range(height):
        for column in range(width):
            point = origins[0, row, column] + 1.7 * directions[0, row, column]
            x, y = project(cameras, point, height, width)
            assert (x.item(), y.item()) == pytest.approx((column + 0.5, row + 0.5), abs=1e-3)


def test_orbit_is_evenly_spaced_from_the_front_and_does_not_repeat_it():
    cameras = orbit(50, elevation=15.0, distance=2.0, fov=40.0)
    torch.testing.assert_close(cameras.azimuth, 7.2 * torch.arange(50))
    e, a = math.radians(15), math.radians(7.2 * 13)
    expected = 2 * torch.tensor([math.cos(e) * math.cos(a), math.cos(e) * math.sin(a), math.sin(e)])
    torch.testing.assert_close(cameras.c2w[13, :3, 3], expected)
    assert len(cameras[10:15]) == 5
    assert cameras[10:15].azimuth[0] == cameras.azimuth[10]


def test_sampled_cameras_keep_to_their_ranges_and_repeat_with_the_seed():
    ranges = CameraRange((-10.0, 45.0), (-180.0, 180.0), (1.5, 2.0), (40.0, 70.0))
    a, b = (ranges.sample(4000, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(a.c2w, b.c2w)
    for name in ("elevation", "azimuth", "distance", "fov"):
        low, high = getattr(ranges, name)
        value = getattr(a, name)
        assert value.min() >= low - 1e-4
        assert value.max() <= high + 1e-4
        assert value.max() - value.min() > 0.95 * (high - low)
    torch.testing.assert_close(a.c2w[:, :3, 3], a.distance[:, None] * direction(a.elevation, a.azimuth))


def test_elevation_is_half_uniform_in_angle_and_half_on_the_sphere():
    elevation = CameraRange(elevation=(-10.0, 80.0)).sample(40_000, torch.Generator().manual_seed(0)).elevation
    z = lambda degrees: math.sin(math.radians(degrees))  # noqa: E731
    for cut in (20.0, 50.0):
        uniform, sphere = (cut + 10) / 90, (z(cut) - z(-10)) / (z(80) - z(-10))
        assert (elevation < cut).float().mean().item() == pytest.approx((uniform + sphere) / 2, abs=0.01)


def test_jitters_have_their_widths():
    still = CameraRange(position_jitter=0.1).sample(2000, torch.Generator().manual_seed(1))
    moved = still.c2w[:, :3, 3] - still.distance[:, None] * direction(still.elevation, still.azimuth)
    assert 0.095 < moved.abs().max() <= 0.1 + 1e-5
    aimed = CameraRange(target_jitter=0.2).sample(2000, torch.Generator().manual_seed(1))
    forward = -aimed.c2w[:, :3, 2]
    miss = torch.linalg.cross(aimed.c2w[:, :3, 3], forward).square().sum(-1)  # squared distance of axis to origin
    assert miss.mean().sqrt().item() == pytest.approx(0.2 * 2**0.5, rel=0.1)
    tilted = CameraRange(up_jitter=0.02).sample(2000, torch.Generator().manual_seed(1))
    assert 0.01 < tilted.c2w[:, 2, 0].std() < 0.03  # right leaves the horizon
