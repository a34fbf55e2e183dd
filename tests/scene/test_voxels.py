"""The voxel grid renders what a slow loop along each ray renders, and learns."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from scene import regularizers
from scene.cameras import orbit, rays
from scene.voxels import VoxelConfig, Voxels

CONFIG = VoxelConfig(channels=5, size=6, radius=0.7, step=0.5)


def voxels(config: VoxelConfig = CONFIG, seed: int = 0) -> Voxels:
    rng = torch.Generator().manual_seed(seed)
    scene = Voxels(config, rng)
    with torch.no_grad():
        scene.density_grid += torch.randn(scene.density_grid.shape, generator=rng)
        scene.latent_grid += torch.randn(scene.latent_grid.shape, generator=rng)
    return scene


def test_a_cells_centre_has_its_own_values_and_a_corner_the_mean_of_eight():
    scene = voxels()
    centre = (torch.tensor([[4, 1, 3]]) + 0.5) / 6 * 1.4 - 0.7  # x, y, z
    torch.testing.assert_close(scene.latent(centre)[0], scene.latent_grid[0, :, 3, 1, 4])
    raw = scene.density_grid[0, 0, 3, 1, 4]
    torch.testing.assert_close(scene.density(centre)[0], torch.log1p(torch.exp(raw - 1)))
    corner = centre + 0.7 / 6
    eight = scene.latent_grid[0, :, 3:5, 1:3, 4:6]
    torch.testing.assert_close(scene.latent(corner)[0], eight.mean((1, 2, 3)))


def test_rendering_is_the_slow_sum_along_each_ray():
    scene, cameras = voxels(), orbit(2)
    with torch.no_grad():
        picture = scene.render(cameras, 3)
        origin, direction = (v.reshape(-1, 3) for v in rays(cameras, 3, 3))
        for k, (o, d) in enumerate(zip(origin, direction, strict=True)):
            low, high = sorted_hits(o, d)
            light, latent, depth = 1.0, torch.zeros(5), 0.0
            for i in range(max(math.ceil((high - low) / scene.step), 0)):
                at = low + (i + 0.5) * scene.step
                if at >= high:
                    break
                x = (o + at * d)[None]
                weight = light * (1 - math.exp(-scene.density(x).item() * scene.step))
                latent, depth, light = latent + weight * scene.latent(x)[0], depth + weight * at, light - weight
            latent = latent + light * scene.behind(d[None])[0]
            b, i, j = k // 9, k // 3 % 3, k % 3
            torch.testing.assert_close(picture.rgb[b, :, i, j], latent, atol=1e-4, rtol=1e-4)
            assert picture.opacity[b, 0, i, j].item() == pytest.approx(1 - light, abs=1e-5)
            assert picture.depth[b, 0, i, j].item() == pytest.approx(depth, abs=1e-4)


def sorted_hits(o: torch.Tensor, d: torch.Tensor) -> tuple[float, float]:
    pairs = [
        sorted(((-0.7 - p) / (v or 1e-9), (0.7 - p) / (v or 1e-9))) for p, v in zip(o.tolist(), d.tolist(), strict=True)
    ]
    return max(0.0, *(low for low, _ in pairs)), min(high for _, high in pairs)


def test_what_lies_behind_is_a_picture_over_the_angles():
    scene = voxels()
    up, down = scene.behind(torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]))
    assert not torch.allclose(up, down)
    level = scene.behind(torch.tensor([[1.0, 0.0, 0.0]]))[0]  # azimuth 0 and the horizon: the middle of the picture
    torch.testing.assert_close(level, scene.background[0, :, 1:3, 1:3].mean((1, 2)))
    seam = scene.behind(torch.tensor([[-1.0, -1e-6, 0.0], [-1.0, 1e-6, 0.0]]))  # azimuth +-180: the first row, the last
    ends = scene.background[0, :, [0, 3], 1:3].mean(2)
    torch.testing.assert_close(seam, ends.T, atol=1e-4, rtol=1e-4)


def test_it_starts_as_threestudios_volume_grid():
    """No latents, no density but softplus(-1), and steps of 1.732 * 2 * radius / 512."""
    scene = Voxels(VoxelConfig(), torch.Generator().manual_seed(0))
    assert scene.latent_grid.abs().sum() == scene.density_grid.abs().sum() == 0
    assert 0.5 < scene.background.std() < 1.5
    assert scene.step == pytest.approx(1.732 * 2 / 512, rel=1e-4)


def test_training_samples_are_stratified_and_those_of_evaluation_are_not():
    scene, rng = voxels(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        fixed, again = scene.render(orbit(1), 4).rgb, scene.render(orbit(1), 4).rgb
        drawn = torch.stack([scene.render(orbit(1), 4, rng=rng).rgb for _ in range(400)])
    assert torch.equal(fixed, again)
    assert drawn.std(0).mean() > 1e-3
    assert (drawn.mean(0) - fixed).abs().mean() < drawn.std(0).mean()


def test_samples_of_no_weight_change_little_and_a_faded_scene_keeps_its_gradients():
    cameras = orbit(1)
    whole, cut = voxels(), voxels(replace(CONFIG, min_weight=0.02))
    with torch.no_grad():
        difference = (whole.render(cameras, 8).rgb - cut.render(cameras, 8).rgb).abs().max()
        cut.density_grid.fill_(-40.0)
    assert 0 < difference < 0.3
    render = cut.render(cameras, 4)
    assert render.opacity.max() < 1e-6
    (render.opacity.sum() + render.rgb.sum()).backward()
    assert cut.density_grid.grad.isfinite().all()
    assert cut.background.grad.abs().sum() > 0


def test_it_learns_a_latent_by_adamax():
    scene = voxels()
    rng = torch.Generator().manual_seed(1)
    goal = torch.randn(1, 5, 8, 8, generator=rng)
    optimizer = torch.optim.Adamax(scene.parameter_groups(0.05))
    errors = []
    for _ in range(60):
        optimizer.zero_grad()
        error = (scene.render(orbit(1), 8).rgb - goal).square().mean()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.5 * errors[0]
    assert {g["lr"] for g in scene.parameter_groups(0.05)} == {0.05, 1e-4}


def test_emptiness_is_a_mean_over_the_samples_in_the_cube():
    """mean log(1 + 10 w), w along each ray by a slow loop; what lies outside the cube is no sample."""
    scene, terms = voxels(), []
    render = scene.render(orbit(1), 4)
    for o, d in zip(*(v.reshape(-1, 3) for v in rays(orbit(1), 4, 4)), strict=True):
        low, high = sorted_hits(o, d)
        light, at = 1.0, low + 0.5 * scene.step
        while at < high:
            weight = light * (1 - math.exp(-scene.density((o + at * d)[None]).item() * scene.step))
            terms.append(math.log(1 + 10 * weight))
            light, at = light - weight, at + scene.step
    assert regularizers.emptiness(render).item() == pytest.approx(sum(terms) / len(terms), rel=1e-4)
    regularizers.emptiness(render).backward()


def test_emptiness_wants_all_samples():
    from scene.canvas import Canvas, CanvasConfig

    canvas = Canvas(CanvasConfig(), torch.Generator()).render(orbit(1), 8)
    with pytest.raises(ValueError, match="samples"):
        regularizers.emptiness(canvas)
