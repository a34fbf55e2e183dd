"""Distortions: ordered by their strength, and those that the judges are measured by unlike those they are taught."""

from __future__ import annotations

import itertools

import pytest
import torch

from world.dataset import Pictures
from world.train import distort, held_out

WAYS = (*distort.DISTORTIONS, *held_out.HELD_OUT)


@pytest.fixture(scope="module")
def balls() -> Pictures:
    """Balls of three toys, each striped in colours of its own, larger in front."""
    y, x = torch.meshgrid(torch.arange(64) - 31.5, torch.arange(64) - 31.5, indexing="ij")
    rgba, azimuth = [], torch.tensor([0.0, 90.0, 180.0, -90.0]).repeat(3)
    for colour in ([0.8, 0.3, 0.2], [0.2, 0.6, 0.3], [0.5, 0.4, 0.8]):
        for side in range(4):
            inside = ((x**2 + y**2) < (24 - 3 * abs(side - 2)) ** 2).float()
            stripes = 0.7 + 0.3 * (((x + 2 * y + 64 * 3 + 5 * side) // 6) % 2)
            rgba.append(torch.cat([torch.tensor(colour)[:, None, None] * stripes * inside, inside[None]]))
    return Pictures((torch.stack(rgba) * 255).to(torch.uint8), torch.arange(3).repeat_interleave(4), azimuth, azimuth)


@pytest.mark.parametrize("way", WAYS, ids=lambda f: f.__name__)
def test_a_distortion_grows_with_its_strength_from_nothing(way, balls):
    data, new = held_out.subjects(balls, way), torch.Generator
    clean = data.rgba.float() / 255
    others = distort.beside(balls, data.label, new().manual_seed(1))
    if way is held_out.two_faced:
        others = held_out.fronts(balls, data.label)
    strengths = (torch.full((len(clean), 1, 1, 1), s) for s in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0))
    made = [way(clean, others, s, new().manual_seed(0)) for s in strengths]
    far = [(bad - clean).abs().mean().item() for bad in made]
    assert far[0] < 1e-3
    assert all(a < b for a, b in itertools.pairwise(far))
    assert far[-1] > 0.01
    for bad in made:
        assert bad.shape == clean.shape
        assert ((bad >= -1e-4) & (bad <= 1 + 1e-4)).all()
        assert (bad[:, :3] <= bad[:, 3:] + 1e-3).all()


@pytest.mark.parametrize("way", WAYS, ids=lambda f: f.__name__)
def test_each_picture_has_its_own_strength(way, balls):
    data = held_out.subjects(balls, way)
    rgba, rng = data.rgba.float() / 255, torch.Generator().manual_seed(0)
    s = torch.zeros(len(rgba), 1, 1, 1)
    s[1::2] = 1
    changed = (way(rgba, held_out.fronts(balls, data.label), s, rng) - rgba).abs().mean((1, 2, 3))
    assert (changed[::2] < 1e-3).all()
    assert (changed[1::2] > 5e-3).all()


def test_judges_are_measured_by_none_of_what_they_are_taught():
    assert not {way.__name__ for way in distort.DISTORTIONS} & {way.__name__ for way in held_out.HELD_OUT}


def test_companions_are_the_same_toy_and_another(balls):
    numbered = balls._replace(rgba=balls.rgba * 0 + (100 * balls.label + torch.arange(12))[:, None, None, None].byte())
    rng = torch.Generator().manual_seed(0)
    label = torch.arange(3).repeat(50)
    view, toy = (255 * x[:, 0, 0, 0] for x in distort.beside(numbered, label, rng))
    number = {float((100 * balls.label[k] + k) % 256): k for k in range(12)}
    view, toy = (torch.tensor([number[round(v.item())] for v in x]) for x in (view, toy))
    assert torch.equal(balls.label[view], label)
    assert (balls.label[toy] != label).all()
    assert len(set(view.tolist())) == 12


def test_a_second_face_is_the_front_on_other_sides(balls):
    turned = held_out.subjects(balls, held_out.two_faced)
    assert turned.azimuth.tolist() == [90.0, 180.0, -90.0] * 3
    rgba, others = turned.rgba.float() / 255, held_out.fronts(balls, turned.label)
    faces = others.view
    assert torch.equal(faces, balls.rgba[[0, 4, 8]].repeat_interleave(3, 0).float() / 255)
    bad = held_out.two_faced(rgba, others, torch.ones(9, 1, 1, 1), torch.Generator())
    torch.testing.assert_close(bad[:, :, 28:36, 28:36], faces[:, :, 28:36, 28:36])
    torch.testing.assert_close(bad[:, :, :12], rgba[:, :, :12])
