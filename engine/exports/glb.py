"""A mesh as binary glTF 2.0: y up, +z in front; colours of vertices, linear, as floats, unlit, as they are in the
house's own pictures (KHR_materials_unlit)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from engine.exports.mesh import Mesh
from files import replaced
from intake.mesh import GENERATOR

TURNED = [1, 2, 0]  # (x, y, z) of here is (y, z, x) there


def write(mesh: Mesh, file: Path, facts: dict[str, Any]) -> None:
    """The facts are the file's `extras`."""
    import trimesh
    from trimesh.visual import TextureVisuals
    from trimesh.visual.material import PBRMaterial

    made = trimesh.Trimesh(
        mesh.vertices[:, TURNED], mesh.faces, vertex_normals=mesh.normals[:, TURNED], process=False,
        visual=TextureVisuals(material=PBRMaterial(baseColorFactor=[255, 255, 255, 255], metallicFactor=0.0)),
        vertex_attributes={"_COLOR_0": linear(mesh.colours)},
    )  # fmt: skip

    def finished(tree: dict[str, Any]) -> None:
        tree["asset"] |= {"generator": GENERATOR, "extras": facts}
        tree["extensionsUsed"] = ["KHR_materials_unlit"]
        tree["materials"][0]["extensions"] = {"KHR_materials_unlit": {}}
        named = tree["meshes"][0]["primitives"][0]["attributes"]
        named["COLOR_0"] = named.pop("_COLOR_0")  # by itself the library writes 8 bits, too few for dark linear ones

    content: Any = made.export(file_type="glb", include_normals=True, tree_postprocessor=finished)
    replaced(file, lambda aside: aside.write_bytes(content))


def linear(colour: Float[ndarray, "N 3"]) -> Float[ndarray, "N 3"]:
    """Of sRGB colours in [0, 1] (IEC 61966-2-1)."""
    colour = np.clip(colour, 0, 1)
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4).astype(np.float32)
