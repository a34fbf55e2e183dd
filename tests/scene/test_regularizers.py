"""The regularisers' closed forms, and the signs that tell a sphere from a bowl."""

from __future__ import annotations

import math

import pytest
import torch

from scene import regularizers
from scene.cameras import Render, Samples, orbit


def picture(normal=None, opacity=None, samples=None):
    size = (2, 2) if normal is None else normal.shape[-2:]
    opacity = torch.ones(1, 1, *size) if opacity is None else opacity
    return Render(opacity.expand(-1, 3, -1, -1), opacity, opacity, normal, samples)


def samples(weight, distance, ray, normal=None):
    ahead = torch.tensor([0.0, 0, -1]).expand(len(ray), 3)
    return Samples(torch.tensor(ray), torch.tensor(weight), torch.tensor(distance), ahead, normal)


def dome(sign, size=16):
    """Camera-space normals of a sphere that fills the picture: `sign` 1, or of a bowl: -1."""
    axis = (torch.arange(size) + 0.5) / size * 1.2 - 0.6
    y, x = torch.meshgrid(-axis, axis, indexing="ij")
    return torch.stack([sign * x, sign * y, (1 - x * x - y * y).sqrt()])[None]


def test_sparsity_and_opaque():
    opacity = torch.tensor([[[[0.0, 1.0], [0.5, 0.5]]]])
    assert regularizers.sparsity(opacity).item() == pytest.approx((0.1 + math.sqrt(1.01) + 2 * math.sqrt(0.26)) / 4)
    edge = -(1e-3 * math.log(1e-3) + (1 - 1e-3) * math.log(1 - 1e-3))
    assert regularizers.opaque(opacity).item() == pytest.approx((2 * edge + 2 * math.log(2)) / 4, rel=1e-4)


def test_orient_counts_only_normals_that_look_away_and_holds_the_weights():
    weight = torch.tensor([0.5, 0.25, 0.25], requires_grad=True)
    normal = torch.tensor([[0.0, 0, 1], [0, 0, -1], [0, 0.6, -0.8]], requires_grad=True)
    ahead = torch.tensor([0.0, 0, -1]).expand(3, 3)
    s = Samples(torch.tensor([0, 0, 1]), weight, torch.ones(3), ahead, normal)
    loss = regularizers.orient(picture(opacity=torch.tensor([[[[0.75, 0.25], [0, 0]]]]), samples=s))
    assert loss.item() == pytest.approx((0.25 + 0.25 * 0.64) / 2)
    loss.backward()
    assert weight.grad is None
    assert normal.grad[0].abs().sum() == 0
    assert normal.grad[1:].abs().sum() > 0


def test_z_variance_over_solid_rays():
    opacity = torch.tensor([[[[0.8, 0.9], [0.4, 0]]]])
    s = samples([0.4, 0.4, 0.9, 0.2, 0.2], [1.0, 2.0, 5.0, 0.0, 9.0], [0, 0, 1, 2, 2])
    assert regularizers.z_variance(picture(opacity=opacity, samples=s)).item() == pytest.approx((0.25 + 0) / 2)


def test_convexity_tells_a_sphere_from_a_bowl():
    assert regularizers.convexity(picture(dome(1))) < -0.05 < 0.05 < regularizers.convexity(picture(dome(-1)))
    flat = torch.tensor([0.0, 0, 1])[None, :, None, None].expand(1, 3, 16, 16)
    assert regularizers.convexity(picture(flat)).item() == pytest.approx(0, abs=1e-7)


def test_convexity_of_an_arc_is_the_sine_between_neighbours():
    """Normals turned by a constant angle from column to column, an 8x8 picture: nothing to average."""
    angle = math.radians(7)
    turn = angle * (torch.arange(8) - 3.5)
    arc = torch.stack([turn.sin(), 0 * turn, turn.cos()])[None, :, None, :].expand(1, 3, 8, 8)
    assert regularizers.convexity(picture(arc)).item() == pytest.approx(-math.sin(angle), rel=1e-5)
    down = arc.flip(3).transpose(2, 3)[:, [1, 0, 2]]  # the same, turned by a right angle: n.y falls downwards
    assert regularizers.convexity(picture(down)).item() == pytest.approx(-math.sin(angle), rel=1e-5)


def test_only_the_official_convexity_depends_on_azimuth():
    """The same picture in camera space, from all sides: as a sphere gives."""
    render = picture(dome(1), torch.ones(1, 1, 16, 16))
    official = torch.stack([regularizers.convexity_official(render, orbit(8)[k : k + 1]) for k in range(8)])
    assert official.max() - official.min() > 0.01
    assert regularizers.convexity_official(picture(dome(1), torch.zeros(1, 1, 16, 16)), orbit(1)).item() == 0


def test_an_empty_picture_gives_zeros_with_gradients():
    opacity = torch.zeros(1, 1, 2, 2, requires_grad=True)
    none = Samples(torch.zeros(0).long(), torch.zeros(0), torch.zeros(0), torch.zeros(0, 3), torch.zeros(0, 3))
    render = picture(torch.zeros(1, 3, 2, 2), opacity, none)
    losses = [regularizers.orient(render), regularizers.z_variance(render), regularizers.convexity(render)]
    assert [loss.item() for loss in losses] == [0, 0, 0]
    (sum(losses) + regularizers.opaque(opacity)).backward()
    assert opacity.grad.isfinite().all()


@pytest.mark.parametrize("name", ["orient", "z_variance", "convexity"])
def test_a_render_without_what_a_regulariser_reads_is_refused(name):
    with pytest.raises(ValueError, match="render with"):
        getattr(regularizers, name)(picture())
