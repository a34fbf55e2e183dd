"""The toys and their true pictures."""

from __future__ import annotations

import inspect
import itertools
from functools import cache

import pytest
import torch

import world
from errors import UserError
from prompts import paper43
from scene.cameras import orbit, rays
from world.objects import OBJECTS
from world.sdf import BOUND, Part, Solid, albedo, ball, distance
from world.trace import _march, inside, surface, trace

PROMPTS = [prompt.text for prompt in paper43()]


PRIMITIVES = ("ball", "egg", "box", "rod", "drum", "ring", "coil")


@cache
def silhouettes(prompt: str) -> torch.Tensor:
    return world.truth_views(prompt, orbit(8), 32).opacity > 0.5


def primitives(solid: Solid) -> int:
    """How many a solid is made of, read from the functions that it closes over."""
    name, held = solid.__qualname__.split(".")[0], inspect.getclosurevars(solid).nonlocals
    if name in PRIMITIVES:
        return 1
    inner = [x for v in held.values() for x in (v if isinstance(v, tuple) else (v,)) if callable(x)]
    return sum(map(primitives, inner)) * {"around": held.get("n", 1), "twins": 2}.get(name, 1)


def test_every_prompt_of_the_suite_has_its_toy():
    assert set(PROMPTS) == set(OBJECTS)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_toy_is_not_cut_and_fills_the_picture(prompt):
    p = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0))
    p = p / p.norm(dim=-1, keepdim=True)
    for variant in range(4):
        parts = OBJECTS[prompt].parts(variant)
        assert all((part.solid(p * BOUND) > 0).all() for part in parts)
    assert inside(OBJECTS[prompt].parts(), p * torch.linspace(0.01, BOUND, 4000)[:, None]).any()
    rows = silhouettes(prompt).flatten(0, 1).any(0).any(-1)
    columns = silhouettes(prompt).flatten(0, 1).any(0).any(-2)
    assert max(rows.sum(), columns.sum()) >= 16


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_toy_has_many_parts_and_colours(prompt):
    parts = OBJECTS[prompt].parts()
    if prompt != "A DSLR photo of a soccer ball":  # its twelve pentagons are three, folded
        assert sum(primitives(part.solid) for part in parts) >= 8
    colours = albedo(parts, surface(parts, 2000, torch.Generator().manual_seed(0)))
    apart = colours[:1]
    for colour in colours:
        if (apart - colour).norm(dim=-1).min() > 0.15:
            apart = torch.cat([apart, colour[None]])
    assert len(apart) >= 3


@pytest.mark.parametrize("prompt", PROMPTS[::6])
def test_variants_differ_and_repeat(prompt):
    toy = OBJECTS[prompt]
    views = [trace(toy.parts(k), orbit(2), 24).rgb for k in (0, 1, 1, 2)]
    assert torch.equal(views[1], views[2])
    assert all((a - b).abs().mean() > 3e-3 for a, b in itertools.combinations([views[0], views[1], views[3]], 2))


def test_silhouettes_of_different_toys_differ():
    masks = {prompt: silhouettes(prompt) for prompt in PROMPTS}
    for a, b in itertools.combinations(PROMPTS, 2):
        iou = (masks[a] & masks[b]).sum() / (masks[a] | masks[b]).sum()
        assert iou < 0.95, (a, b)


@pytest.mark.parametrize("prompt", [p for p in PROMPTS if OBJECTS[p].has_front])
def test_a_toy_with_a_front_looks_different_from_behind(prompt):
    view = world.truth_views(prompt, orbit(2), 32)
    assert (view.rgb[0] - view.rgb[1].flip(-1)).abs().mean() > 0.01


def test_a_ball_is_traced_as_its_closed_form():
    r, distance_ = 0.4, 2.0
    view = trace([Part(ball(r), (1.0, 1.0, 1.0))], orbit(1, elevation=0.0, distance=distance_), 64)
    assert view.depth[0, 0, 31:33, 31:33].mean().item() == pytest.approx(distance_ - r, abs=2e-3)
    focal = 32 / torch.tan(torch.deg2rad(torch.tensor(20.0)))
    radius = focal * r / (distance_**2 - r**2) ** 0.5  # of the circle of contact
    assert view.opacity.sum().item() == pytest.approx(torch.pi * radius.item() ** 2, rel=0.01)
    normal = view.normal[0, :, 31:33, 31:33].mean((1, 2))
    assert torch.allclose(normal, torch.tensor([0.0, 0.0, 1.0]), atol=0.03)
    assert (view.rgb <= view.opacity + 1e-6).all()


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_distance_is_the_same_of_rows_of_columns_and_of_some_points_alone(prompt, monkeypatch):
    p = torch.rand(301, 3, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.6
    parts = OBJECTS[prompt].parts()
    whole, colours = distance(parts, p), albedo(parts, p)
    assert torch.equal(distance(parts, p.T.contiguous().T), whole)
    assert torch.equal(albedo(parts, p.T.contiguous().T), colours)
    monkeypatch.setattr("world.sdf.AT_ONCE", 64)
    assert torch.equal(distance(parts, p), whole)


def test_rays_that_are_done_change_nothing_for_the_others():
    """Each marches as it would in the plain loop over all rays, to the last bit, whether it hits or not."""
    parts = OBJECTS["A plush dragon toy"].parts()
    origin, direction = (x.reshape(-1, 3) for x in rays(orbit(2), 24, 24))
    depth, hit = _march(parts, origin, direction)
    b = (origin * direction).sum(-1)
    root = b * b - origin.square().sum(-1) + BOUND**2
    t, far = (-b - root.clamp(min=0).sqrt()).clamp(min=0), -b + root.clamp(min=0).sqrt()
    on, arrived = root > 0, torch.zeros_like(hit)
    for _ in range(64):
        d = distance(parts, origin + t[:, None] * direction)
        t = torch.where(on, t + 0.9 * d, t)
        arrived |= on & (d.abs() < 1e-3)
        on &= ~arrived & (t < far)
    assert torch.equal(hit, arrived)
    assert torch.equal(depth, t)
    assert 0.2 < hit.float().mean() < 0.5


def test_the_true_surface_is_where_the_distance_vanishes():
    parts = OBJECTS["A ripe strawberry"].parts()
    found = surface(parts, 500, torch.Generator().manual_seed(0))
    assert found.shape == (500, 3)
    assert distance(parts, found).abs().max() < 3e-3


def test_a_prompt_without_a_toy_is_the_users_error():
    with pytest.raises(UserError, match="has no toy"):
        world.truth_views("A unicorn", orbit(1), 16)
