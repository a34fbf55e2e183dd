"""The radiance field: pictures, normals, occupancy, state, and what happens when there is nothing to see."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, save

from scene.background import GREY, HIGH, LOW, TINT, coloured, grey_background, spherical_harmonics
from scene.cameras import CameraRange, Cameras, look_at, orbit, rays
from scene.nerf import NeRF, NeRFConfig

SMALL = NeRFConfig(levels=3, log2_table=9, base=4, finest=16, start_levels=3, hidden=8, samples=32, occupancy=16)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def field(config=SMALL, rough=0.0):
    """A field at its start, with tables of size `rough` so that every feature counts."""
    scene = NeRF(config, seeded())
    with torch.no_grad():
        for table in scene.grid.tables:
            table.add_(rough * torch.randn(table.shape, generator=seeded(1)))
    return scene


@pytest.fixture
def cameras():
    return CameraRange().sample(2, seeded(5))


def away() -> Cameras:
    """A camera that looks past the cube."""
    return look_at(0.0, 0.0, 2.0, 20.0, target=torch.tensor([[2.0, 5.0, 0.0]]))


def test_shapes_and_ranges(cameras):
    render = field(rough=0.5).render(cameras, 12, rng=seeded(), normals=True)
    assert render.rgb.shape == render.normal.shape == (2, 3, 12, 12)
    assert render.opacity.shape == render.depth.shape == (2, 1, 12, 12)
    for image in (render.rgb, render.opacity):
        assert image.min() >= 0
        assert image.max() <= 1 + 1e-5
    assert (render.normal.norm(dim=1, keepdim=True) <= render.opacity + 1e-4).all()
    centre = render.depth[:, 0, 5:7, 5:7] / render.opacity[:, 0, 5:7, 5:7]
    assert ((centre > 1.3) & (centre < 2.1)).all()


def test_the_starting_blob_has_the_opacity_of_its_integral():
    """Through the middle, tau = 2 int_0^R softplus(b (1 - s / r)) ds, for tables that are as good as zero."""
    scene = field(replace(SMALL, samples=512, min_weight=0.0))
    s = (torch.arange(2000) + 0.5) / 2000 * SMALL.radius
    sigma = torch.nn.functional.softplus(SMALL.blob_strength * (1 - s / SMALL.blob_radius))
    expected = 1 - math.exp(-2 * sigma.mean().item() * SMALL.radius)
    opacity = scene.render(look_at(0.0, 0.0, 2.0, 1e-3), 1).opacity.item()
    assert opacity == pytest.approx(expected, abs=2e-3)


def test_normals_of_the_blob_point_outwards_and_compose_in_camera_space(cameras):
    scene = field()
    x = torch.randn(50, 3, generator=seeded()) * 0.2
    torch.testing.assert_close(scene.density_and_normal(x)[2], x / x.norm(dim=-1, keepdim=True), atol=2e-2, rtol=0)
    normal = scene.render(cameras, 9, normals=True).normal
    middle = normal[:, :, 4, 4] / normal[:, :, 4, 4].norm(dim=1, keepdim=True)
    assert (middle[:, 2] > 0.98).all()  # towards the camera
    assert (normal[:, 0, 4, 6] > normal[:, 0, 4, 2]).all()
    assert (normal[:, 1, 2, 4] > normal[:, 1, 6, 4]).all()


def test_normals_are_those_of_automatic_differentiation():
    scene = field(rough=1.0).double()
    x = (torch.rand(30, 3, generator=seeded(), dtype=torch.float64) - 0.5).requires_grad_()
    sigma, e, normal = scene.density_and_normal(x.detach())
    by_graph = scene.density(x, scene.encode(x))
    (slope,) = torch.autograd.grad(by_graph.sum(), x)
    torch.testing.assert_close(sigma, by_graph)
    torch.testing.assert_close(e, scene.encode(x))
    torch.testing.assert_close(normal, -slope / slope.norm(dim=-1, keepdim=True), atol=1e-9, rtol=0)


def test_the_gradient_of_a_normal_is_that_of_differences():
    scene = field(rough=1.0).double()
    x = torch.rand(20, 3, generator=seeded(), dtype=torch.float64) - 0.5
    probe = torch.randn(20, 3, generator=seeded(1), dtype=torch.float64)
    loss = lambda: (scene.density_and_normal(x)[2] * probe).sum()  # noqa: E731
    parameters = [*scene.grid.tables, *scene.density_mlp]
    grads = torch.autograd.grad(loss(), parameters)
    for parameter, grad in zip(parameters, grads, strict=True):
        way = torch.randn(parameter.shape, generator=seeded(2), dtype=torch.float64)
        with torch.no_grad():
            h = 1e-6
            parameter += h * way
            up = loss()
            parameter -= 2 * h * way
            down = loss()
            parameter += h * way
        assert ((up - down) / (2 * h)).item() == pytest.approx((grad * way).sum().item(), rel=1e-4, abs=1e-6)


def test_gradients_reach_every_parameter(cameras):
    scene = field(replace(SMALL, background="learned"), rough=0.1)
    render = scene.render(cameras, 8, rng=seeded(), shading="diffuse", normals=True)
    (render.rgb.square().mean() + render.normal.square().mean()).backward()
    assert all(p.grad.abs().sum() > 0 for p in scene.parameters())
    grouped = [id(p) for group in scene.parameter_groups(0.01) for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in scene.parameters())


def test_pruned_samples_change_little(cameras):
    scene = field(rough=1.0)
    full = NeRF(replace(SMALL, min_weight=0.0), seeded())
    full.load_state_dict(scene.state_dict())
    scene.update(0.0, seeded())
    a, b = scene.render(cameras, 16), full.render(cameras, 16)
    assert len(a.samples.ray) < len(b.samples.ray)
    torch.testing.assert_close(a.rgb, b.rgb, atol=0.04, rtol=0)


def test_occupancy_keeps_dense_cells_and_drops_empty_ones():
    scene = field(replace(SMALL, occupancy_every=1, blob_strength=40.0, blob_radius=0.2))
    for _ in range(6):
        scene.update(1.0, seeded())
    occupied = scene.occupied()
    x = (torch.rand(20_000, 3, generator=seeded(3)) * 2 - 1) * SMALL.radius
    cell = ((x / SMALL.radius + 1) / 2 * SMALL.occupancy).long().clamp(0, SMALL.occupancy - 1)
    with torch.no_grad():
        sigma = scene.density(x, scene.encode(x))
    inside = occupied[cell[:, 0], cell[:, 1], cell[:, 2]]
    assert inside[sigma * scene.step > SMALL.occupancy_threshold].all()
    assert occupied.float().mean() < 0.2


def test_an_empty_scene_keeps_samples_and_finite_gradients(cameras):
    scene = field(replace(SMALL, blob_strength=0.0))
    with torch.no_grad():  # softplus(-60): nothing to see anywhere
        scene.density_mlp[0].fill_(1.0)
        scene.density_mlp[1].fill_(-1.0)
        for table in scene.grid.tables:
            table.fill_(0.83)
    for _ in range(20):
        scene.update(0.0, seeded())
    assert scene.occupied().any()
    render = scene.render(cameras, 8, rng=seeded(), normals=True)
    assert render.opacity.max() < 1e-6
    assert len(render.samples.ray) > 0
    (render.rgb.mean() + render.opacity.mean()).backward()
    assert all(p.grad.isfinite().all() for p in scene.parameters())


@pytest.mark.parametrize("shading", ["albedo", "textureless"])
def test_rays_that_all_miss_see_the_background_and_move_nothing(shading):
    scene = field()
    render = scene.render(away(), 6, shading=shading, normals=True)
    torch.testing.assert_close(render.rgb, torch.full((1, 3, 6, 6), GREY))
    assert not render.opacity.any()
    assert not render.depth.any()
    assert not render.normal.any()
    render.rgb.sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in scene.parameters())


def test_chunks_and_gradients_do_not_change_the_picture(cameras, monkeypatch):
    scene = field(rough=0.5)
    whole = scene.render(cameras, 10, normals=True)
    monkeypatch.setattr("scene.nerf.CHUNK", 37)
    with torch.no_grad():
        pieces = scene.render(cameras, 10, normals=True)
    assert pieces.samples is None
    for name in ("rgb", "opacity", "depth", "normal"):
        torch.testing.assert_close(getattr(pieces, name), getattr(whole, name), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("shading", "faded"), [("albedo", False), ("diffuse", False), ("albedo", True)])
def test_the_gradient_in_chunks_is_that_of_the_whole_in_less_memory(cameras, monkeypatch, shading, faded):
    scene = field(replace(SMALL, min_weight=2.0 if faded else 1e-3), rough=0.5)  # where faded, no sample weighs enough

    def learnt():
        held = []
        with torch.autograd.graph.saved_tensors_hooks(lambda v: held.append(v.numel()) or v, lambda v: v):
            r = scene.render(cameras, 14, rng=seeded(), shading=shading, normals=shading != "albedo")
            loss = r.rgb.square().sum() + r.depth.sum() + r.samples.weight.square().sum()
            if r.normal is not None:
                loss = loss + r.normal[:, 0].sum() + r.samples.normal[:, 1].square().sum()
        return sum(held), [r.rgb, r.opacity, r.samples.ray.float()], torch.autograd.grad(loss, [*scene.parameters()])

    held, images, gradients = learnt()
    monkeypatch.setattr("scene.nerf.CHUNK", 37)
    monkeypatch.setattr("scene.nerf.GRAPH", 101)
    held_in_chunks, images_in_chunks, gradients_in_chunks = learnt()
    assert held_in_chunks < held / 1.5
    for a, b in zip(images_in_chunks, images, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-6)
    for a, b in zip(gradients_in_chunks, gradients, strict=True):
        assert b.any()
        assert (a - b).abs().max() <= 1e-5 * b.abs().max()


def test_shadings():
    scene, camera = field(rough=0.3), orbit(1)
    albedo, diffuse, plain = (scene.render(camera, 9, shading=s).rgb for s in ("albedo", "diffuse", "textureless"))
    assert (diffuse <= albedo.maximum(torch.tensor(GREY)) + 1e-5).all()
    torch.testing.assert_close(plain[:, :1].expand_as(plain), plain)  # grey
    with pytest.raises(ValueError, match="albedo, diffuse, textureless"):
        scene.render(camera, 9, shading="shiny")


def test_levels_join_with_progress():
    scene = field(replace(SMALL, start_levels=1, grow_from=0.2, grow_every=0.1), rough=1.0)
    x = torch.rand(5, 3, generator=seeded()) - 0.5
    joined = [(scene.encode(x, p).abs().sum(0) > 0).sum().item() // 2 for p in (0.0, 0.2, 0.29, 0.3, 0.4, 1.0)]
    assert joined == [1, 1, 1, 2, 3, 3]


def test_equal_seeds_give_equal_bits_and_evaluation_has_no_chance(cameras):
    def train():
        scene, rng = field(rough=0.1), seeded(7)
        optimizer = torch.optim.Adam(scene.parameter_groups(1e-2))
        for k in range(3):
            scene.update(k / 3, rng)
            optimizer.zero_grad()
            scene.render(cameras, 8, k / 3, rng, normals=True).rgb.square().mean().backward()
            optimizer.step()
        return scene

    a, b = train(), train()
    assert all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))
    assert torch.equal(a.render(cameras, 8).rgb, b.render(cameras, 8).rgb)
    first, second = (a.render(cameras, 8, rng=rng).rgb for rng in (seeded(1), seeded(2)))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("background", ["learned", "grey"])
def test_state_survives_safetensors_bit_by_bit(background, cameras):
    scene = field(replace(SMALL, background=background), rough=0.3)
    scene.update(0.0, seeded())
    again = NeRF(scene.config, seeded(99))
    again.load_state_dict(load(save(scene.state_dict())))
    assert torch.equal(scene.render(cameras, 8).rgb, again.render(cameras, 8).rgb)
    for k in range(SMALL.occupancy_every):  # the count of updates goes on where it stood
        scene.update(0.0, seeded(k))
        again.update(0.0, seeded(k))
    assert scene.updates == again.updates
    assert torch.equal(scene.density_ema, again.density_ema)


def test_grey_backgrounds_are_near_neutral_smooth_and_different():
    image = grey_background(64, 16, 8, seeded())
    grey = image.mean(1, keepdim=True)
    assert (image - grey).abs().max() <= 2 * TINT
    assert grey.min() >= LOW - TINT
    assert grey.max() <= HIGH + TINT
    assert grey.mean((1, 2, 3)).std() > 0.05
    second = image.diff(dim=2).diff(dim=2)
    assert second.abs().max() < 1e-5
    assert not image.diff(dim=3).any()


def test_spherical_harmonics_are_orthonormal():
    d = torch.nn.functional.normalize(torch.randn(200_000, 3, generator=seeded(), dtype=torch.float64), dim=-1)
    y = spherical_harmonics(d)
    torch.testing.assert_close(4 * math.pi * y.T @ y / len(d), torch.eye(9).double(), atol=0.03, rtol=0)


def painted(cameras: Cameras, resolution: int):
    """True views of a ball of radius .4, red above and blue below, on grey."""
    origin, direction = (v.reshape(-1, 3) for v in rays(cameras, resolution, resolution))
    b = (origin * direction).sum(-1)
    root = b * b - origin.square().sum(-1) + 0.4**2
    z = (origin + (-b - root.clamp(min=0).sqrt())[:, None] * direction)[:, 2:]
    colour = torch.where(z > 0, torch.tensor([0.9, 0.2, 0.1]), torch.tensor([0.1, 0.3, 0.8]))
    rgb = torch.where(root[:, None] > 0, colour, torch.tensor(GREY))
    return rgb.reshape(len(cameras), resolution, resolution, 3).permute(0, 3, 1, 2)


def test_a_field_learns_from_true_views():
    """Supervised, a small field shows a two-coloured ball from unseen sides, which no starting field does."""
    scene = NeRF(replace(SMALL, log2_table=12, finest=32, hidden=16, background="learned"), seeded())
    optimizer = torch.optim.Adam(scene.parameter_groups(2e-2), betas=(0.9, 0.99), eps=1e-15)
    ranges, rng, unseen = CameraRange(), seeded(4), orbit(4)
    psnr = lambda: -10 * (scene.render(unseen, 24).rgb - painted(unseen, 24)).square().mean().log10().item()  # noqa: E731
    before = psnr()
    for k in range(80):
        scene.update(k / 80, rng)
        seen = ranges.sample(2, rng)
        optimizer.zero_grad()
        (scene.render(seen, 24, k / 80, rng).rgb - painted(seen, 24)).square().mean().backward()
        optimizer.step()
    assert before < 18
    assert psnr() > 23


def test_backgrounds_in_one_colour_have_their_odds():
    """threestudio's random_aug: a uniform colour, the same all over a view; the other views as they were."""
    behind = torch.rand(400, 3, 2, 3, generator=seeded(1)).requires_grad_()
    image = coloured(behind, 0.5, seeded())
    flat = (image == image[..., :1, :1]).flatten(1).all(1)
    assert 0.4 < flat.float().mean() < 0.6
    assert torch.equal(image[~flat], behind[~flat])
    colours = image[flat][:, :, 0, 0].detach()
    assert (colours.mean(0) - 0.5).abs().max() < 0.06
    assert (colours.std(0) - 12**-0.5).abs().max() < 0.03
    image.sum().backward()
    assert torch.equal(behind.grad.flatten(1).any(1), ~flat)


@pytest.mark.parametrize("background", ["learned", "grey"])
def test_training_views_alone_lie_on_one_colour(background):
    usual = replace(SMALL, background=background)
    scene, plain = (field(replace(usual, coloured=odds)) for odds in (1.0, 0.0))
    rgb = scene.render(away(), 4, rng=seeded()).rgb
    assert torch.equal(rgb, rgb[..., :1, :1].expand_as(rgb))
    assert not torch.equal(rgb, scene.render(away(), 4, rng=seeded(1)).rgb)
    assert torch.equal(scene.render(away(), 4).rgb, plain.render(away(), 4).rgb)
