"""Splatting against closed forms, a slow loop, finite differences, and the volume renderer's cameras."""

from __future__ import annotations

import math
import sys
from dataclasses import fields, replace
from types import SimpleNamespace

import pytest
import torch

from scene import splatting
from scene.cameras import Cameras, look_at, orbit, rays
from scene.splatting import BLUR, FAINT, SOLID, Splats, plain, project, rotations, splat, views_of

SIZE = 24
LEVEL = torch.tensor([1.0, 0, 0, 0])


def ball(where, scale=0.05, opacity=0.8, colour=(1.0, 0.5, 0.25)) -> Splats:
    return Splats(
        torch.tensor([where]), torch.full((1, 3), scale), LEVEL[None], torch.tensor([opacity]), torch.tensor([colour])
    )


def cloud(n: int, seed: int = 0, dtype=torch.float32) -> Splats:
    rng = torch.Generator().manual_seed(seed)
    u = torch.rand(n, 14, generator=rng, dtype=dtype)
    mean, scale, rotation = 0.8 * (u[:, :3] - 0.5), 0.02 + 0.15 * u[:, 3:6], u[:, 6:10] - 0.5
    return Splats(mean, scale, rotation, 0.1 + 0.9 * u[:, 10], u[:, 11:])


def joined(*splats: Splats) -> Splats:
    return Splats(*(torch.cat([getattr(s, f.name) for s in splats]) for f in fields(Splats)))


def seen_from(elevation: float, azimuth: float) -> Cameras:
    return look_at(float(elevation), float(azimuth), 2.0, 40.0)


def focal(size: int = SIZE) -> float:
    return 0.5 * size / math.tan(math.radians(20))


def test_a_gaussian_is_where_the_ray_of_its_pixel_passes():
    """The mean is put on the ray through the centre of pixel (row 5, column 17), at any distance."""
    for camera in (seen_from(15, 0), seen_from(-10, 130)):
        origin, direction = rays(camera, SIZE, SIZE)
        for distance in (1.2, 2.5):
            mean = origin[0, 5, 17] + distance * direction[0, 5, 17]
            splats = replace(ball((0.0, 0, 0), 0.01), mean=mean[None])
            drawn = plain(splats, camera, SIZE)
            torch.testing.assert_close(drawn.centre[0, 0], torch.tensor([17.5, 5.5]), atol=1e-4, rtol=0)
            assert drawn.opacity[0, 0].flatten().argmax() == 5 * SIZE + 17
            assert drawn.opacity.max().item() == pytest.approx(0.8, abs=1e-4)  # alpha at its centre is its opacity
            z = drawn.z[0, 0, 5, 17] / drawn.opacity[0, 0, 5, 17]
            ahead = direction[0, 5, 17] @ -camera.c2w[0, :3, 2]
            assert z.item() == pytest.approx(distance * ahead.item(), rel=1e-4)


def test_on_the_axis_the_covariance_is_scaled_by_focal_length_over_distance():
    """Seen from the front (+x), y points right and z up: variances there times (f / 2)^2, plus the blur."""
    splats = replace(ball((0.0, 0, 0)), scale=torch.tensor([[0.3, 0.1, 0.2]]))
    view, f = views_of(seen_from(0, 0), SIZE)
    p = project(splats, view[0], f[0], SIZE)
    wanted = torch.diag(torch.tensor([0.1, 0.2]).square()) * (focal() / 2) ** 2 + BLUR * torch.eye(2)
    torch.testing.assert_close(p.covariance[0], wanted, atol=1e-4, rtol=1e-4)
    inverse = p.covariance[0].inverse()
    torch.testing.assert_close(p.inverse[0], inverse.flatten()[[0, 1, 3]], atol=1e-5, rtol=1e-4)


def test_the_covariance_is_that_of_projected_points():
    """Of many points drawn from a small Gaussian off the axis: perspective is of first order there."""
    splats = replace(
        ball((0.2, 0.3, -0.25)), scale=torch.tensor([[0.004, 0.02, 0.01]]), rotation=torch.tensor([[0.5, -0.7, 0.2, 1]])
    )
    view, f = views_of(seen_from(20, 40), SIZE)
    p = project(splats, view[0], f[0], SIZE)
    normal = torch.randn(200_000, 3, generator=torch.Generator().manual_seed(0))
    points = splats.mean + (normal * splats.scale) @ rotations(splats.rotation)[0].T
    x, y, z = (points @ view[0, :3, :3].T + view[0, :3, 3]).unbind(-1)
    measured = torch.cov(f[0] * torch.stack([x / z, y / z]))
    torch.testing.assert_close(p.covariance[0] - BLUR * torch.eye(2), measured, atol=3e-3, rtol=0.03)


def test_quaternions_turn_about_their_axis_whatever_their_length():
    half = math.radians(35)
    about_z = 3 * torch.tensor([[math.cos(half), 0, 0, math.sin(half)]])
    c, s = math.cos(2 * half), math.sin(2 * half)
    torch.testing.assert_close(rotations(about_z)[0], torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1]]))


def test_the_nearer_of_two_hides_the_farther_from_either_side():
    """Over black: colour = a c_near + (1 - a) b c_far, opacity = 1 - (1 - a)(1 - b)."""
    red, blue = ball((0.3, 0.0, 0.0), colour=(1.0, 0, 0), opacity=0.6), ball((-0.3, 0.0, 0.0), colour=(0, 0, 1.0))
    middle = SIZE // 2
    for order in ((red, blue), (blue, red)):
        for camera, near, far in ((seen_from(0, 0), red, blue), (seen_from(0, 180), blue, red)):
            drawn = plain(joined(*order), camera, SIZE + 1)  # whose middle pixel is on the axis
            a, b = near.opacity.item(), far.opacity.item()
            wanted = a * near.colour[0] + (1 - a) * b * far.colour[0]
            torch.testing.assert_close(drawn.colour[0, :, middle, middle], wanted, atol=1e-4, rtol=0)
            assert drawn.opacity[0, 0, middle, middle].item() == pytest.approx(1 - (1 - a) * (1 - b), abs=1e-4)
            z = a * 1.7 + (1 - a) * b * 2.3
            assert drawn.z[0, 0, middle, middle].item() == pytest.approx(z, abs=1e-3)


def slow(splats: Splats, cameras: Cameras, size: int) -> torch.Tensor:
    """Colour, opacity and z at every pixel, a Gaussian after the other."""
    out = torch.zeros(len(cameras), 5, size, size, dtype=splats.mean.dtype)
    for b, (view, f) in enumerate(zip(*views_of(cameras, size), strict=True)):
        p = project(splats, view, f, size)
        for row in range(size):
            for column in range(size):
                light = 1.0
                for i in sorted(range(len(p.z)), key=lambda i: p.z[i].item()):
                    d = torch.tensor([column + 0.5, row + 0.5]).to(out) - p.centre[i]
                    alpha = splats.opacity[i] * torch.exp(-0.5 * d @ p.covariance[i].inverse() @ d)
                    alpha = min(alpha.item(), SOLID)
                    if alpha < FAINT or (splats.mean[i] @ view[2, :3] + view[2, 3]) < splatting.NEAR:
                        continue
                    value = torch.cat([splats.colour[i], torch.ones(1).to(out), p.z[i : i + 1]])
                    out[b, :, row, column] += light * alpha * value
                    light *= 1 - alpha
    return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # by the kernels along rays, and by their twins
def test_it_is_the_slow_loop(dtype):
    splats = joined(
        cloud(12, dtype=dtype), replace(cloud(2, 1, dtype), mean=torch.tensor([[3.0, 0, 0]] * 2, dtype=dtype))
    )
    cameras = Cameras(*(getattr(orbit(2), f.name).to(dtype) for f in fields(Cameras)))
    drawn, wanted = plain(splats, cameras, 10), slow(splats, cameras, 10)
    picture = torch.cat([drawn.colour, drawn.opacity, drawn.z], 1)
    torch.testing.assert_close(picture, wanted, atol=1e-5, rtol=1e-4)
    behind = drawn.seen[:, -2:]
    assert not behind[0].any()  # nearer than the first camera, behind it
    assert drawn.seen[:, :12].all()


def test_gradients_are_finite_differences():
    splats = cloud(6, dtype=torch.float64)
    cameras = Cameras(*(getattr(seen_from(10, 30), f.name).double() for f in fields(Cameras)))
    weight = torch.rand(5, 8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def loss(*values):
        drawn = plain(Splats(*values), cameras, 8)
        return (torch.cat([drawn.colour, drawn.opacity, drawn.z], 1) * weight).sum()

    values = [getattr(splats, f.name).requires_grad_() for f in fields(Splats)]
    grads = torch.autograd.grad(loss(*values), values)
    rng = torch.Generator().manual_seed(3)
    for value, grad in zip(values, grads, strict=True):
        step = 1e-6 * torch.randn(value.shape, generator=rng, dtype=torch.float64)
        with torch.no_grad():
            up, down = (loss(*(v + s * step if v is value else v for v in values)) for s in (1, -1))
        assert ((up - down) / 2).item() == pytest.approx((grad * step).sum().item(), rel=1e-4, abs=1e-13)


def test_bands_of_rows_are_the_whole_picture(monkeypatch):
    splats, cameras = cloud(20), orbit(2)
    whole = plain(splats, cameras, 15)
    monkeypatch.setattr(splatting, "FRAGMENTS", 500)
    with torch.no_grad():
        parts = plain(splats, cameras, 15)
    for name in ("colour", "opacity", "z"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name))


def test_what_is_faint_behind_or_beside_is_not_seen():
    splats = joined(
        ball((0.0, 0, 0), opacity=FAINT / 2), ball((2.5, 0.0, 0)), ball((0.0, 30.0, 0)), ball((2.0, 0.0, 0.0))
    )
    drawn = plain(splats, seen_from(0, 0), SIZE)
    assert not drawn.seen.any()
    assert drawn.opacity.abs().max() == drawn.colour.abs().max() == 0
    assert drawn.colour.isfinite().all()


class FakeGsplat:
    """`rasterization` as gsplat 1.5 has it: checks what it is given, and gives it to the twin."""

    def rasterization(
        self,
        means,
        quats,
        scales,
        opacities,
        colors,
        viewmats,
        Ks,
        width,
        height,
        near_plane,
        eps2d,
        packed,
        render_mode,
    ):
        n, c = len(means), len(viewmats)
        assert (quats.shape, scales.shape, opacities.shape, colors.shape) == ((n, 4), (n, 3), (n,), (n, 3))
        assert (viewmats.shape, Ks.shape) == ((c, 4, 4), (c, 3, 3))
        assert (near_plane, eps2d, packed, render_mode) == (0.01, 0.3, False, "RGB+D")
        assert width == height
        wanted = torch.tensor([[focal(width), 0, width / 2], [0, focal(width), width / 2], [0, 0, 1]])
        torch.testing.assert_close(Ks, wanted.expand(c, 3, 3))
        in_front = viewmats @ torch.tensor([0.0, 0, 0, 1])  # the origin, two units before each camera
        torch.testing.assert_close(in_front, torch.tensor([0.0, 0, 2, 1]).expand(c, 4), atol=1e-5, rtol=0)
        c2w = torch.linalg.inv(viewmats) * torch.tensor([1.0, -1, -1, 1])
        cameras = Cameras(c2w, *(torch.full((c,), 40.0) for _ in range(4)))
        drawn = plain(Splats(means, scales, quats, opacities, colors), cameras, width)
        picture = torch.cat([drawn.colour, drawn.z], 1).permute(0, 2, 3, 1)
        radii = drawn.seen[:, :, None].expand(-1, -1, 2).int()
        return picture, drawn.opacity.permute(0, 2, 3, 1), {"means2d": drawn.centre, "radii": radii}


def test_gsplat_is_given_the_same_scene_and_gives_the_same_pictures(monkeypatch):
    monkeypatch.setitem(sys.modules, "gsplat", SimpleNamespace(rasterization=FakeGsplat().rasterization))
    splats, cameras = cloud(10), orbit(3)
    drawn, wanted = splatting.fast(splats, cameras, SIZE), plain(splats, cameras, SIZE)
    for f in fields(drawn):
        torch.testing.assert_close(getattr(drawn, f.name), getattr(wanted, f.name), atol=1e-4, rtol=1e-4)


def test_a_cpu_never_asks_for_gsplat(monkeypatch):
    monkeypatch.setattr(splatting, "fast", lambda *_: pytest.fail("gsplat runs on a GPU alone"))
    monkeypatch.setattr(splatting, "installed", lambda: True)
    assert splat(cloud(2), orbit(1), 8).colour.shape == (1, 3, 8, 8)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.skipif(not splatting.installed(), reason="gsplat is not installed (the extra gaussians)")
def test_gsplat_on_a_gpu_is_its_twins_equal():
    splats, cameras = cloud(200), orbit(3).to("cuda")
    values = [getattr(splats, f.name).cuda().requires_grad_() for f in fields(Splats)]
    fast, twin = (made(Splats(*values), cameras, 64) for made in (splatting.fast, plain))
    for name in ("colour", "opacity", "z", "centre"):
        torch.testing.assert_close(getattr(fast, name), getattr(twin, name), atol=2e-3, rtol=1e-3)
    grads = [torch.autograd.grad(d.colour.square().sum() + d.z.sum(), values) for d in (fast, twin)]
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, atol=1e-2 * b.abs().max().item(), rtol=1e-2)
