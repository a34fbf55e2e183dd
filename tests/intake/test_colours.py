"""Colours of vertices beside a material: most exporters write both, and the library that reads them loses one."""

import numpy as np
import pytest

from engine.exports import glb
from engine.exports.mesh import Mesh
from intake import mesh as intake

trimesh = pytest.importorskip("trimesh")
RED = np.array([0.8, 0.3, 0.1])


def colour(file):
    paints = intake.read(file, "y").paints
    assert len(paints) == 1
    return paints[0].at(np.zeros(1, int), np.full((1, 3), 1 / 3))[0]


def test_colours_of_others_are_kept_beside_their_material_as_they_are(tmp_path):
    box = trimesh.creation.box()
    box.visual = trimesh.visual.TextureVisuals(material=trimesh.visual.material.PBRMaterial(baseColorFactor=[255] * 4))
    box.visual.vertex_attributes["color"] = np.tile((np.append(RED, 1) * 255).round(), (len(box.vertices), 1))
    box.export(tmp_path / "box.glb")
    assert colour(tmp_path / "box.glb") == pytest.approx(RED, abs=0.005)


def test_linear_colours_of_ours_are_pictures_again(tmp_path):
    box = trimesh.creation.box()
    n = len(box.vertices)
    made = Mesh(box.vertices.astype(np.float32), box.faces, box.vertex_normals, np.tile(RED, (n, 1)))
    glb.write(made, tmp_path / "box.glb", {})
    assert colour(tmp_path / "box.glb") == pytest.approx(RED, abs=1e-3)
    (part,) = trimesh.load_scene(tmp_path / "box.glb").geometry.values()
    assert part.visual.vertex_attributes["color"][0][:3] == pytest.approx(glb.linear(RED), abs=1e-3)
