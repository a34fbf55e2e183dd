"""True meshes: the toy's surface in its colours, and each change where it belongs."""

import numpy as np
import pytest
import torch

from world import meshes
from world.objects import OBJECTS
from world.sdf import distance
from world.trace import radiance

pytest.importorskip("skimage")
trimesh = pytest.importorskip("trimesh")

TOY = OBJECTS["A ripe strawberry"]
CELLS = 32


@pytest.fixture(scope="module")
def mesh():
    return meshes.true(TOY, CELLS)


def test_a_true_mesh_lies_on_the_surface_outside_out_in_its_colours(mesh, tmp_path):
    parts, places = TOY.parts(0), torch.from_numpy(mesh.vertices)
    assert distance(parts, places).abs().max() < 2 * meshes.BOUND / CELLS
    assert torch.allclose(torch.from_numpy(mesh.colours), radiance(parts, places))
    (tmp_path / "a.ply").write_bytes(meshes.ply(mesh))
    read = trimesh.load(tmp_path / "a.ply", process=False)
    assert np.allclose(read.vertices, mesh.vertices)
    assert np.abs(read.visual.vertex_colors[:, :3] / 255 - mesh.colours).max() < 0.003
    inside = torch.rand(4000, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    full = (distance(parts, inside) < 0).float().mean() * 8
    assert read.volume == pytest.approx(float(full), rel=0.2)  # above 0: faces look outward


def test_changes_are_what_they_are_called(mesh):
    changed = {name: change(mesh) for name, change in meshes.CHANGES.items() if name != "decimated"}
    assert np.array_equal(changed["mirrored"].vertices[:, 1], -mesh.vertices[:, 1])
    assert np.array_equal(changed["recoloured"].colours[:, 1], mesh.colours[:, 0])
    assert np.ptp(changed["flat"].vertices, 0) == pytest.approx(np.ptp(mesh.vertices, 0) * [1, 1, 0.7], rel=1e-4)
    assert np.ptp(changed["scaled"].vertices, 0) == pytest.approx(np.ptp(mesh.vertices, 0) * 0.7, rel=1e-4)
    volume = trimesh.Trimesh(changed["mirrored"].vertices, changed["mirrored"].faces, process=False).volume
    assert volume == pytest.approx(trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).volume, rel=1e-4)


def test_a_decimated_mesh_has_few_faces_on_the_surface(mesh):
    pytest.importorskip("fast_simplification")
    few = meshes.decimated(mesh, 200)
    assert len(few.faces) < 400
    assert distance(TOY.parts(0), torch.from_numpy(few.vertices)).abs().max() < 0.08
