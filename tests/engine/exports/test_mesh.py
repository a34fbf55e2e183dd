"""A scene's surface, against what the scene itself shows."""

import json
import math
import struct

import numpy as np
import pytest
import torch

from engine.exports import glb, mesh
from engine.exports.fields import field_of
from engine.exports.mesh import mesh_of
from engine.recipes.base import Orbit
from intake import mesh as intake
from scene.cameras import Render, look_at
from scene.canvas import CanvasConfig
from scene.gaussians import Gaussians, GaussiansConfig
from scene.nerf import NeRFConfig
from scene.voxels import VoxelConfig

ORBIT = Orbit(views=4, resolution=96)
RED, GREEN = (0.8, 0.1, 0.2), (0.1, 0.6, 0.1)


@pytest.fixture(scope="module")
def balls() -> Gaussians:
    """A red ball in front and a smaller green one above."""
    n, rng = 300, torch.Generator().manual_seed(0)
    scene = GaussiansConfig(number=2 * n).build(rng)
    within = torch.randn(2, n, 3, generator=rng)
    within = within / within.norm(dim=-1, keepdim=True) * torch.rand(2, n, 1, generator=rng) ** (1 / 3)
    size, middle = torch.tensor([0.15, 0.1])[:, None, None], torch.tensor([[[0.2, 0.0, -0.1]], [[0.0, 0.0, 0.3]]])
    with torch.no_grad():
        scene.mean.copy_((middle + size * within).reshape(-1, 3))
        scene.scale.fill_(math.log(0.015))
        scene.opacity.fill_(3.0)
        scene.colour.copy_(torch.tensor([RED, GREEN]).repeat_interleave(n, 0).logit())
    return scene


@pytest.fixture(scope="module")
def file(balls, tmp_path_factory):
    made = mesh_of(balls, field_of(balls, 48), ORBIT, 48, 4000)
    path = tmp_path_factory.mktemp("mesh") / "mesh.glb"
    glb.write(made, path, {"prompt": "two balls"})
    return path


def test_another_library_reads_its_bounds_and_colours_upright_and_looking_along_z(file):
    trimesh = pytest.importorskip("trimesh")
    (part,) = trimesh.load_scene(file, process=False).geometry.values()
    assert part.is_watertight
    assert part.volume > 0  # faces look outward
    low, high = part.bounds
    assert high[1] == pytest.approx(0.4, abs=0.03)  # y is up: the green ball's top
    assert high[2] == pytest.approx(0.35, abs=0.03)  # z is the front: the red ball's
    assert (low[0], high[0]) == pytest.approx((-0.15, 0.15), abs=0.03)
    colours, y = np.asarray(part.visual.vertex_attributes["color"]), part.vertices[:, 1]
    for wanted, where in ((RED, y < -0.1), (GREEN, y > 0.3)):  # linear, as glTF has it
        assert np.allclose(colours[where].mean(0), glb.linear(np.array(wanted)), atol=0.04)
    outward = np.einsum("ni,ni->n", part.vertex_normals, part.vertices - [0, -0.1, 0.2])
    assert (outward[y < 0.1] > 0).mean() > 0.97


def test_a_place_has_the_colour_of_the_view_that_looks_straight_at_it(monkeypatch):
    monkeypatch.setattr(mesh, "NEAR", 9.0)
    cameras, one = mesh.around(ORBIT), mesh.AROUND + 3  # of the ring in the middle
    rgb = torch.tensor([0.0, 0.0, 1.0])[:, None, None].repeat(len(cameras), 1, 8, 8)
    rgb[one] = torch.tensor([1.0, 0.0, 0.0])[:, None, None]
    opaque = torch.ones(len(cameras), 1, 8, 8)
    out = torch.nn.functional.normalize(cameras.c2w[[one, one + mesh.AROUND // 2], :3, 3], dim=-1)
    here, behind = mesh._colours(Render(rgb, opaque, opaque), cameras, 0.3 * out, out)
    assert here[0] > 0.7  # its neighbours look at it, too
    assert behind[0] == 0
    inside = mesh._colours(Render(rgb, 0 * opaque, opaque), cameras, 0.3 * out, out)
    assert np.isfinite(inside).all()  # what no view shows


def test_the_file_says_what_it_is(file):
    content = file.read_bytes()
    head = json.loads(content[20 : 20 + struct.unpack("<12xI", content[:16])[0]])
    assert head["asset"]["extras"] == {"prompt": "two balls"}
    assert head["extensionsUsed"] == ["KHR_materials_unlit"]
    assert {"POSITION", "NORMAL", "COLOR_0"} == head["meshes"][0]["primitives"][0]["attributes"].keys()


def test_it_is_seen_as_its_scene_is(file, balls):
    cameras, seen = ORBIT.cameras(), intake.read(file, "y")
    with torch.no_grad():
        own = balls.render(cameras, ORBIT.resolution)
    for k, (rgb, opacity, *_) in enumerate(seen.views(cameras, ORBIT.resolution)):
        a, b = torch.from_numpy(opacity) > 127, own.opacity[k, 0] > 0.5
        assert (a & b).sum() / (a | b).sum() > 0.9
        inside = a & (own.opacity[k, 0] > 0.98)
        error = torch.from_numpy(rgb).permute(2, 0, 1) / 255 - own.rgb[k]
        assert error[:, inside].abs().mean() < 0.03


def test_fewer_faces_are_as_many_as_asked_for(balls):
    made = mesh_of(balls, field_of(balls, 48), ORBIT, 48, 500)
    assert 400 < len(made.faces) <= 500


def test_what_is_seen_through_from_most_sides_is_carved_off():
    """A fog around a ball: dense enough for the threshold, and nowhere solid."""
    scene = GaussiansConfig(number=2).build(torch.Generator().manual_seed(0))
    with torch.no_grad():
        scene.mean.zero_()
        scene.scale.copy_(torch.tensor([[0.08], [0.2]]).expand(2, 3).log())
        scene.opacity.copy_(torch.tensor([0.999, 0.4]).logit())
    field = field_of(scene, 32)
    x = torch.tensor([[0.2, 0.0, 0.0]])
    assert field.density(x.expand(1, 3)) < field.density(torch.zeros(1, 3))
    made = mesh_of(scene, field, ORBIT, 32, 4000)
    assert np.linalg.norm(made.vertices, axis=1).max() < 0.25


def test_nothing_solid_is_no_mesh_and_a_picture_has_no_field():
    scene = GaussiansConfig(number=3).build(torch.Generator().manual_seed(0))
    with torch.no_grad():
        scene.opacity.fill_(-6.0)
        assert mesh_of(scene, field_of(scene, 16), ORBIT, 16, 100) is None
    assert field_of(CanvasConfig().build(torch.Generator()), 16) is None


def test_fields_have_the_densities_that_scenes_render():
    """A ray's light through a field, summed in small steps, is what a picture shows."""
    rng = torch.Generator().manual_seed(0)
    nerf = NeRFConfig(levels=2, log2_table=8, base=4, finest=8, hidden=8, samples=64, occupancy=8).build(rng)
    nerf.update(0.0, rng)
    voxels = VoxelConfig(size=8).build(rng)
    with torch.no_grad():
        voxels.density_grid.normal_(generator=rng)
    x = torch.zeros(4001, 3)
    x[:, 0] = torch.linspace(2, -2, 4001)
    front = look_at(0.0, 0.0, 2.0, 0.1)  # a thin beam along x
    for scene in (nerf, voxels):
        with torch.no_grad():
            sigma, opacity = field_of(scene, 16).density(x), scene.render(front, 1).opacity
        assert sigma[0] == sigma[-1] == 0
        assert 1 - torch.exp(-sigma.sum() * 0.001) == pytest.approx(float(opacity), abs=0.01)


def test_a_thin_gaussian_lets_as_much_light_through_as_its_opacity_says():
    scene = GaussiansConfig(number=1).build(torch.Generator().manual_seed(0))
    with torch.no_grad():
        scene.mean.zero_()
        scene.scale.copy_(torch.tensor([[0.001, 0.1, 0.2]]).log())  # thinner than a cell
        scene.opacity.copy_(torch.tensor([0.7]).logit())
        x = torch.zeros(4001, 3)
        x[:, 0] = torch.linspace(1, -1, 4001)
        sigma = field_of(scene, 32).density(x)
    assert 1 - torch.exp(-sigma.sum() * 0.0005) == pytest.approx(0.7, abs=0.05)
