"""The canvas behaves as a scene, and is one picture."""

from __future__ import annotations

import torch

from scene.cameras import orbit
from scene.canvas import Canvas, CanvasConfig


def test_an_image_is_seen_alike_by_every_camera_and_learns():
    rng = torch.Generator().manual_seed(0)
    scene = Canvas(CanvasConfig(size=8), rng)
    target = torch.rand(1, 3, 8, 8, generator=rng)
    optimizer = torch.optim.Adam(scene.parameter_groups(0.1))
    for k in range(100):
        scene.update(k / 100, rng)
        render = scene.render(orbit(3), 8, k / 100, rng)
        optimizer.zero_grad()
        (render.rgb - target).square().mean().backward()
        optimizer.step()
    assert render.rgb.shape == (3, 3, 8, 8)
    assert torch.equal(render.rgb[0], render.rgb[2])
    assert (render.opacity == 1).all()
    assert (render.rgb - target).abs().max() < 0.1
    assert scene.render(orbit(1), 16).rgb.shape == (1, 3, 16, 16)


def test_a_latent_is_kept_as_it_is():
    scene = Canvas(CanvasConfig(channels=8, size=4), torch.Generator().manual_seed(0))
    latent = scene.render(orbit(2), 4).rgb
    assert latent.shape == (2, 8, 4, 4)
    assert latent.min() < 0
    assert torch.equal(latent[:1], scene.pixels)
