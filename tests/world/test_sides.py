"""Samples against truth: the measure finds the view, its background and how far a picture is from it."""

from __future__ import annotations

import pytest
import torch

from eval.truth import detail
from scene.background import grey_background
from scene.cameras import look_at
from world.objects import OBJECTS
from world.trace import trace
from world.train import sides

TOY = OBJECTS["A ripe strawberry"]


@pytest.fixture(scope="module")
def views() -> torch.Tensor:
    """Six true views around the toy's front, (6,4,64,64)."""
    view = trace(TOY.parts(0), look_at(torch.linspace(-10, 45, 6), 0.0, 2.0, 40.0), 64)
    return torch.cat([view.rgb, view.opacity], 1).mul(255).round().to(torch.uint8)


def over(view: torch.Tensor, seed: int = 0) -> torch.Tensor:
    x = view.float() / 255
    return x[:3] + (1 - x[3:]) * grey_background(1, 64, 64, torch.Generator().manual_seed(seed))[0]


@pytest.mark.parametrize("k", [0, 3, 5])
def test_a_true_view_on_any_of_the_worlds_backgrounds_is_its_own_nearest(views, k):
    match = sides.nearest(over(views[k], seed=k), views)
    assert match.psnr > 45
    torch.testing.assert_close(match.view, over(views[k], seed=k), atol=0.02, rtol=0)
    assert torch.equal(match.opacity, views[k, 3:].float() / 255)


def test_noise_of_a_known_size_costs_what_it_is(views):
    sample = over(views[2])
    noise = 0.1 * torch.randn(sample.shape, generator=torch.Generator().manual_seed(1))
    assert sides.nearest(sample + noise, views).psnr == pytest.approx(20.0, abs=0.3)


def test_a_sample_is_held_against_its_own_side(views, monkeypatch):
    toys = torch.stack([views, views.flip(-1)])  # a second toy: the mirror image of the first
    monkeypatch.setattr(sides, "views_from", lambda prompts, azimuth, width: toys if azimuth == 90 else toys.flip(-2))
    pictures = iter([over(toys[t, 1]) if side == 1 else over(toys[t, 1].flip(-2)) for t in (0, 1) for side in range(4)])
    monkeypatch.setattr(sides, "drawn", lambda prior, texts, seed, cfg: torch.stack([next(pictures) for _ in texts]))
    found = sides.samples(None, ["one toy", "its mirror image"], cfg=7.5)
    assert found.images.shape == found.truth.shape == (2, 4, 3, 64, 64)
    assert (found.psnr > 45).all()
    torch.testing.assert_close(found.detail, torch.ones(2, 4), atol=0.02, rtol=0)
    torch.testing.assert_close(found.chroma, torch.ones(2, 4), atol=0.02, rtol=0)
    assert (detail(found.images.flatten(0, 1)) > 1e-3).all()
