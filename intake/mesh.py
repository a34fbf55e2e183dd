"""Meshes (GLB, OBJ, PLY) as sources of views: read by trimesh, seen by rays that Embree intersects, on a CPU, without
a display. Colours are the surface's own, unlit, as those of every rule's views: of textures, vertices or faces, as they
are in the file; one without any is grey. Both sides of a face are seen, and transparency is not.

What would not fit into memory is refused before it is read: the counts stand in the files' heads.
"""

from __future__ import annotations

import json
import math
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from errors import UserError, first_line
from intake.base import Asked, Frame, size_of
from intake.surface import Surface
from scene.cameras import Cameras

KINDS = (".glb", ".obj", ".ply")
UP = {".glb": "y", ".obj": "z", ".ply": "z"}  # glTF's own; threestudio's exports
MOST = 2_000_000  # faces: about a gigabyte while it is read
LARGEST = 1 << 30  # bytes of a file
LINE = 1 << 16  # bytes of a line of text: a face has a few corners
COUNTS = 24 * MOST  # of all that a GLB says of its corners: places, normals, colours and so on
FILL = 0.7239  # of the field of view that the ball around a fitted mesh spans: the world's toys, of radius .5, just so
GENERATOR = "run_benchmark.py export"  # in the head of a GLB whose colours of vertices are linear
MISSING = "it is a mesh, which needs libraries that are not here: uv sync --extra renders"


@dataclass(frozen=True)
class Rendered:
    """A mesh seen from an orbit; see `Asked`."""

    file: Path
    beside: tuple[Path, ...]  # materials and textures
    cameras: Cameras
    seen_from: dict[str, float]
    resolution: int
    fit: bool
    up: str

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.file, *self.beside)

    @property
    def how(self) -> str:
        return json.dumps({"up": self.up, "fit": FILL if self.fit else None, "orbit": self.seen_from})

    @property
    def orbit(self) -> dict[str, float]:
        return self.seen_from

    def __len__(self) -> int:
        return len(self.cameras)

    def frames(self) -> Iterator[Frame]:
        surface = read(self.file, self.up)
        if self.fit:
            distance, fov = float(self.cameras.distance[0]), float(self.cameras.fov[0])
            radius = distance * math.sin(math.radians(FILL * fov / 2))
            surface = surface.fitted(radius)
        yield from (Frame(*views) for views in surface.views(self.cameras, self.resolution))


def source(file: Path, asked: Asked) -> Rendered:
    """Raises UserError where the libraries are missing, and for a mesh that is damaged, empty or too large, as far as
    its head says."""
    if not (find_spec("trimesh") and find_spec("embreex")):
        raise UserError(MISSING)
    refuse(file)
    up = asked.up or UP[file.suffix.lower()]
    return Rendered(file, beside(file), asked.cameras, asked.orbit, asked.resolution, asked.fit, up)


def beside(file: Path) -> tuple[Path, ...]:
    """The materials that an OBJ names, and the pictures that these do. Raises UserError where one is not there: without
    it the mesh would be grey."""
    if file.suffix.lower() != ".obj":
        return ()
    materials = [_part(file, name) for name in _named(file, (b"mtllib",))]
    pictures = [_part(file, name) for material in materials for name in _named(material, (b"map_Kd",))]
    return (*materials, *pictures)


def _named(file: Path, words: tuple[bytes, ...]) -> list[str]:
    """What lines that begin with one of the words end with; each once."""
    with file.open("rb") as stream:
        lines = [line.split(None, 1) for line in iter(lambda: stream.readline(LINE), b"") if line[:1] in b"m"]
    return list(dict.fromkeys(x[1].strip().decode("utf-8", "replace") for x in lines if len(x) > 1 and x[0] in words))


def _part(file: Path, name: str) -> Path:
    """A file that another names, in its own folder or below. Raises UserError where it is not there."""
    part = file.parent / name.replace("\\", "/")
    if not part.is_file():
        raise UserError(f"{file.name} names {name}, which is not beside it")
    if file.parent.resolve() not in part.resolve().parents:
        raise UserError(f"{file.name} names {name}, which lies outside its folder: it is not read")
    return part


def refuse(file: Path) -> None:
    """Raise UserError for a mesh that is empty, cut short, or too large to read."""
    if (size := size_of(file)) > LARGEST:
        raise UserError(f"{file.name} has {size >> 20} MB, more than {LARGEST >> 20}: decimate it")
    try:
        faces = {".glb": _glb_faces, ".obj": _obj_faces, ".ply": _ply_faces}[file.suffix.lower()](file)
    except (
        OSError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        struct.error,
        RecursionError,
    ) as error:
        raise UserError(f"{file.name} is damaged ({first_line(error)})") from error
    if faces > MOST:
        raise UserError(f"{file.name} has {faces:,} faces, more than {MOST:,}: decimate it")
    if not faces:
        raise UserError(f"{file.name} has no faces: hand in views of it")


def _glb_faces(file: Path) -> int:
    """Of all meshes, as often as nodes show them."""
    with file.open("rb") as stream:
        magic, _, length, json_length, kind = struct.unpack("<4sIII4s", stream.read(20))
        if magic != b"glTF" or kind != b"JSON":
            raise ValueError("it is no binary glTF")
        if length > file.stat().st_size:
            raise ValueError(f"cut short: {file.stat().st_size} of {length} bytes")
        held = json.loads(stream.read(json_length))
    accessors, meshes = held.get("accessors", []), held.get("meshes", [])
    counts = [int(accessor["count"]) for accessor in accessors]
    if min(counts, default=0) < 0:
        raise ValueError("a count is below 0")
    if sum(counts) > COUNTS:  # whatever the file holds of them: what it does not is zeros, which take memory
        return sum(counts) // 3
    if any("uri" in part and not str(part["uri"]).startswith("data:") for part in held.get("buffers", [])):
        raise ValueError("its buffers are in other files")
    _refuse_no_tree(held.get("nodes", []), held.get("scenes", []))
    count = [sum(_primitive_faces(p, accessors) for p in mesh["primitives"]) for mesh in meshes]
    return sum(count[node["mesh"]] for node in held.get("nodes", []) if "mesh" in node)


def _refuse_no_tree(nodes: list[dict[str, Any]], scenes: list[dict[str, Any]]) -> None:
    """Raise ValueError where a node has two parents, or stands below itself, which glTF forbids: thirty that hold the
    next one twice would be a billion."""
    below = [child for node in nodes for child in node.get("children", [])]
    roots = {root for scene in scenes for root in scene.get("nodes", [])}
    if len(set(below)) < len(below) or roots.intersection(below):
        raise ValueError("its nodes are no tree")


def _primitive_faces(primitive: dict[str, Any], accessors: list[dict[str, Any]]) -> int:
    mode, corners = primitive.get("mode", 4), primitive.get("indices", primitive["attributes"]["POSITION"])
    n = int(accessors[corners]["count"])
    return n // 3 if mode == 4 else max(n - 2, 0) if mode in (5, 6) else 0


def _ply_faces(file: Path) -> int:
    faces, splats = 0, False
    with file.open("rb") as stream:
        if stream.readline(8).strip() != b"ply":
            raise ValueError("it is no PLY")
        for _ in range(1000):
            words = stream.readline(1000).split()
            if words[:1] == [b"end_header"]:
                if splats and not faces:
                    raise UserError(f"{file.name} is a cloud of 3D Gaussians, no mesh: hand in views of it")
                return faces
            if words[:2] == [b"element", b"face"]:
                faces = int(words[2])
            if words[:2] == [b"element", b"vertex"] and int(words[2]) > 3 * MOST:
                return int(words[2])
            splats |= words[-1:] == [b"f_dc_0"]
    raise ValueError("its head has no end")


def _obj_faces(file: Path) -> int:
    """A polygon counts as the triangles it is cut into."""
    faces = corners = 0
    with file.open("rb") as stream:
        while line := stream.readline(LINE):
            if len(line) == LINE:
                raise ValueError(f"a line has more than {LINE} bytes")
            corners += line[:2] in (b"v ", b"v\t")
            if line[:2] in (b"f ", b"f\t"):
                faces += max(len(line.split()) - 3, 0)
            if faces > MOST or corners > 3 * MOST:
                return max(faces, corners)
    return faces


def read(file: Path, up: str) -> Surface:
    """The surface of a mesh, z up, +x its front. Raises UserError where it cannot be read."""
    import trimesh

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", _bomb())
            scene = trimesh.load_scene(file, process=False)
            parts = [part for part in scene.dump() if isinstance(part, trimesh.Trimesh) and len(part.faces)]
            _refuse_lost_corners(file, parts)
            _refuse_lost_textures(file, parts)
            _keep_colours(file, scene, parts)
            surface = Surface.of(parts)
    except UserError:
        raise
    except MemoryError as error:
        raise UserError(f"{file.name} does not fit into memory: decimate it") from error
    except Exception as error:  # of many kinds: what a library says of damaged files
        raise UserError(f"{file.name} is damaged ({first_line(error)})") from error
    if surface is None or not np.isfinite(surface.vertices).all():
        raise UserError(f"{file.name} has {'no faces' if surface is None else 'vertices that are no numbers'}")
    if not np.ptp(surface.vertices[surface.faces], axis=(0, 1)).any():
        raise UserError(f"{file.name} has no extent: all its corners are one point")
    return surface.turned() if up == "y" else surface


def _keep_colours(file: Path, scene: Any, parts: list[Any]) -> None:
    """Give parts that have a material their colours of vertices, which the library loses where it copies them; as
    pictures have them (sRGB, IEC 61966-2-1) where the file's head says that they are linear."""
    linear = file.suffix.lower() == ".glb" and _head(file).get("asset", {}).get("generator") == GENERATOR
    for part in parts:
        whole = scene.geometry[part.metadata["name"]].visual
        x = getattr(whole, "vertex_attributes", {}).get("color")
        if x is not None and len(x) == len(part.vertices):
            part.visual.vertex_attributes["color"] = _shown(np.asarray(x)[:, :3]) if linear else x


def _shown(x: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
    """Linear colours in [0, 1] as sRGB."""
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.maximum(x, 1e-9) ** (1 / 2.4) - 0.055)


def _head(file: Path) -> dict[str, Any]:
    """The JSON of a GLB."""
    with file.open("rb") as stream:
        return json.loads(stream.read(struct.unpack("<12xI4x", stream.read(20))[0]))


def _bomb() -> type[Warning]:
    from PIL import Image

    return Image.DecompressionBombWarning


def _refuse_lost_corners(file: Path, parts: list[Any]) -> None:
    """Raise UserError where faces name corners that are not there: rays would be followed through foreign memory."""
    if any(part.faces.min() < 0 or part.faces.max() >= len(part.vertices) for part in parts):
        raise UserError(f"{file.name} is damaged (its faces have corners that are not there)")


def _refuse_lost_textures(file: Path, parts: list[Any]) -> None:
    """Raise UserError where a file has pictures and none was read: a library goes on without those that are damaged."""
    if file.suffix.lower() == ".ply" or not parts:
        return
    if file.suffix.lower() == ".obj":
        lost = any(_named(material, (b"map_Kd",)) for material in beside(file) if material.suffix.lower() == ".mtl")
    else:
        held = _head(file).get("materials", [])
        lost = any("baseColorTexture" in m.get("pbrMetallicRoughness", {}) for m in held)
    materials = [getattr(part.visual, "material", None) for part in parts]
    found = any(getattr(m, name, None) is not None for m in materials for name in ("baseColorTexture", "image"))
    if lost and not found:
        raise UserError(f"{file.name} has textures that cannot be read")
