"""A coloured triangle mesh, seen by rays that Embree intersects: exact, and the same on every machine.

Alphabet: N vertices, F faces, both of all parts together; (u, v) Embree's weights of a face's second and third corner.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from scene.background import GREY
from scene.cameras import Cameras, rays

PLAIN = 0.5  # of a surface without colours
FINE, SMALL = (4, 2), 128  # rays along a pixel's edge, of pictures up to this size and of larger ones
BLOCK = 1 << 20  # rays followed together
Picture = UInt8[ndarray, "H W 3"]


@dataclass(frozen=True)
class Paint:
    """The colours of a part's faces: at their corners (F,3,3), times `factor`, or of a picture at the corners' places
    in it (F,3,2), from its lower left."""

    corners: Float[ndarray, "F 3 C"]
    picture: Picture | None = None
    factor: Float[ndarray, 3] | float = 1.0

    def at(self, face: Int[ndarray, " K"], weights: Float[ndarray, "K 3"]) -> Float[ndarray, "K 3"]:
        """In [0, 1], on K places of faces."""
        here = np.einsum("kc,kcd->kd", weights, self.corners[face])
        return here * self.factor if self.picture is None else _looked_up(self.picture, here)


@dataclass(frozen=True)
class Surface:
    """`first` is the number of each part's first face."""

    vertices: Float[ndarray, "N 3"]
    faces: Int[ndarray, "F 3"]
    first: tuple[int, ...]
    paints: tuple[Paint, ...]

    @classmethod
    def of(cls, parts: list[Any], pictures: Sequence[Picture | None]) -> Surface | None:
        """Of trimesh's meshes and the pictures of their textures; None of none."""
        if not parts:
            return None
        start = np.cumsum([0, *(len(part.vertices) for part in parts)])
        faces = np.concatenate([part.faces + n for part, n in zip(parts, start, strict=False)])
        first = np.cumsum([0, *(len(part.faces) for part in parts[:-1])])
        vertices = np.concatenate([np.asarray(part.vertices, np.float32) for part in parts])
        return cls(vertices, faces.astype(np.int32), tuple(map(int, first)), tuple(map(paint, parts, pictures)))

    def turned(self) -> Surface:
        """From y up, +z in front, to z up, +x in front."""
        return replace(self, vertices=np.ascontiguousarray(self.vertices[:, [2, 0, 1]]))

    def fitted(self, radius: float) -> Surface:
        """Moved so that the middle of its box is the origin, and scaled so that its farthest point is at the radius."""
        used = self.vertices[np.unique(self.faces)]
        moved = self.vertices - (used.min(0) + used.max(0)) / 2
        far = np.linalg.norm(used - (used.min(0) + used.max(0)) / 2, axis=1).max()
        return replace(self, vertices=(moved * (radius / max(far, 1e-12))).astype(np.float32))

    def views(
        self, cameras: Cameras, size: int
    ) -> Iterator[tuple[UInt8[ndarray, "size size 3"], UInt8[ndarray, "size size"], Float[ndarray, "size size"]]]:
        """Colours on the grey of evaluation, opacity, and depth along the rays, 0 where none meets it, of each
        camera."""
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        scene, fine = EmbreeScene(), FINE[size > SMALL]
        TriangleMesh(scene, np.ascontiguousarray(self.vertices), np.ascontiguousarray(self.faces))
        for k in range(len(cameras)):
            origins, directions = (
                x[0].reshape(-1, 3).numpy() for x in rays(cameras[k : k + 1], size * fine, size * fine)
            )
            seen = [self._along(scene, origins[b : b + BLOCK], directions[b : b + BLOCK])
                    for b in range(0, len(origins), BLOCK)]  # fmt: skip
            layers = np.concatenate(seen).reshape(size, fine, size, fine, 5).mean((1, 3))
            opacity = layers[..., 3]
            rgb = layers[..., :3] + (1 - opacity[..., None]) * GREY
            yield _bytes(rgb), _bytes(opacity), layers[..., 4] / opacity.clip(1e-3)

    def _along(
        self, scene: Any, origins: Float[ndarray, "K 3"], directions: Float[ndarray, "K 3"]
    ) -> Float[ndarray, "K 5"]:
        """Where a ray meets the surface: colours, 1, and how far along it; else 0."""
        hit = scene.run(np.ascontiguousarray(origins), np.ascontiguousarray(directions), output=1)
        layers = np.zeros((len(origins), 5), np.float32)
        met = np.flatnonzero(hit["primID"] >= 0)
        face, u, v = hit["primID"][met], hit["u"][met], hit["v"][met]
        weights = np.stack([1 - u - v, u, v], 1)
        part = np.searchsorted(self.first, face, side="right") - 1
        for k in np.unique(part):
            mine = part == k
            layers[met[mine], :3] = self.paints[k].at(face[mine] - self.first[k], weights[mine]).clip(0, 1)
        layers[met, 3] = 1
        layers[met, 4] = hit["tfar"][met]
        return layers


def paint(part: Any, picture: Picture | None) -> Paint:
    """A part's colours, as they are in the file: of its texture, its vertices or its faces; grey where it has none."""
    visual = part.visual
    material = getattr(visual, "material", None)
    factor = _factor(material)
    if picture is not None and visual.uv is not None:
        uv = np.asarray(visual.uv, np.float32)[part.faces]
        return Paint(uv, picture)  # without the grey factor that exporters put beside it
    colours = getattr(visual, "vertex_attributes", {}).get("color") if material is not None else None
    if colours is not None:
        return Paint(_unit(colours)[part.faces], None, factor)
    if material is None and visual.kind == "face":
        return Paint(np.repeat(_unit(visual.face_colors)[:, None], 3, 1))
    if material is None and visual.kind == "vertex":
        return Paint(_unit(visual.vertex_colors)[part.faces])
    plain = PLAIN if material is None or np.ndim(factor) == 0 else 1.0
    return Paint(np.full((len(part.faces), 3, 3), plain, np.float32), None, factor)


def _factor(material: Any) -> Float[ndarray, 3] | float:
    """What a material without a texture multiplies colours by, or its whole colour; 1 where it does not say."""
    said = getattr(material, "baseColorFactor", None)
    if said is None and getattr(material, "image", None) is None:
        said = (getattr(material, "kwargs", None) or {}).get("kd")  # of an OBJ: its material's own colour
    return 1.0 if said is None else _unit(np.asarray(said))


def _unit(colours: Any) -> Float[ndarray, "... 3"]:
    """RGB in [0, 1], of 8 or 16 bits or of floats."""
    colours = np.asarray(colours)[..., :3]
    most = np.iinfo(colours.dtype).max if colours.dtype.kind in "ui" else 1.0
    return (colours / most).astype(np.float32)


def _looked_up(picture: Picture, uv: Float[ndarray, "K 2"]) -> Float[ndarray, "K 3"]:
    """A picture's colours, bilinear; it repeats beyond its edges."""
    h, w = picture.shape[:2]
    x, y = uv[:, 0] * w - 0.5, (1 - uv[:, 1]) * h - 0.5
    left, top = np.floor(x), np.floor(y)
    dx, dy = (x - left)[:, None], (y - top)[:, None]
    x0, x1 = left.astype(np.int64) % w, (left.astype(np.int64) + 1) % w
    y0, y1 = top.astype(np.int64) % h, (top.astype(np.int64) + 1) % h
    upper = picture[y0, x0] * (1 - dx) + picture[y0, x1] * dx
    lower = picture[y1, x0] * (1 - dx) + picture[y1, x1] * dx
    return (upper * (1 - dy) + lower * dy).astype(np.float32) / 255


def _bytes(image: Float[ndarray, ...]) -> UInt8[ndarray, ...]:
    return (image.clip(0, 1) * 255).round().astype(np.uint8)
