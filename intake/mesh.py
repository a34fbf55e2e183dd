"""Meshes (GLB, OBJ, PLY) as sources of views: read by trimesh, seen by rays that Embree intersects, on a CPU, without
a display. Colours are the surface's own, unlit, as those of every rule's views: of textures, vertices or faces, as they
are in the file; one without any is grey. Both sides of a face are seen, and transparency is not.

What would not fit into memory is refused before it is read: the counts stand in the files' heads.
"""

from __future__ import annotations

import contextlib
import json
import logging
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

from errors import UserError
from intake import glb
from intake.base import Asked, Frame, size_of
from intake.glb import FACES, damaged
from intake.pictures import refuse_textures
from intake.surface import Picture, Surface
from scene.cameras import Cameras

KINDS = (".glb", ".obj", ".ply")
UP = {".glb": "y", ".obj": "z", ".ply": "z"}  # glTF's own; threestudio's exports
LARGEST = 1 << 30  # bytes of a file
LINE = 1 << 16  # bytes of a line of text: a face has a few corners
FARTHEST = 1e15  # of a corner from the origin: squares of more are no numbers in single precision
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
        seen = False
        for views in surface.views(self.cameras, self.resolution):
            frame = Frame(*views)
            seen |= frame.opacity is not None and bool(frame.opacity.any())
            yield frame
        if not seen:
            raise UserError(f"{self.file.name} is seen in none of its views" + ("" if self.fit else ": no --as-it-is"))


def source(file: Path, asked: Asked) -> Rendered:
    """Raises UserError where the libraries are missing, and for a mesh that is damaged, empty or too large, as far as
    its head says."""
    if not (find_spec("trimesh") and find_spec("embreex")):
        raise UserError(MISSING)
    refuse(file)
    up = asked.up or UP[file.suffix.lower()]
    return Rendered(file, beside(file), asked.cameras, asked.orbit, asked.resolution, asked.fit, up)


def beside(file: Path) -> tuple[Path, ...]:
    """The materials that an OBJ names, and the pictures that these or a PLY do. Raises UserError where one is not
    there: without it the mesh would be grey."""
    if file.suffix.lower() == ".ply":
        return tuple(_part(file, name) for name in _ply_textures(file))
    if file.suffix.lower() != ".obj":
        return ()
    materials = [_part(file, name) for name in _named(file, b"mtllib")]
    pictures = [_part(file, name) for material in materials for name in _named(material, b"map_kd")]
    if materials and (lost := set(_named(file, b"usemtl")) - {n for m in materials for n in _named(m, b"newmtl")}):
        raise UserError(f"{file.name} uses the material {min(lost)}, which {materials[0].name} does not have")
    return (*materials, *pictures)


def _named(file: Path, word: bytes) -> list[str]:
    """What lines that begin with a word, in small letters or not, end with; each once."""
    with file.open("rb") as stream:
        lines = [
            line.split(None, 1) for line in iter(lambda: stream.readline(LINE), b"") if line.lstrip()[:1] in b"mnu"
        ]
    found = (x[1].strip().decode("utf-8", "replace") for x in lines if len(x) > 1 and x[0].lower() == word)
    return list(dict.fromkeys(found))


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
        faces = {".glb": glb.faces, ".obj": _obj_faces, ".ply": _ply_faces}[file.suffix.lower()](file)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, struct.error, RecursionError) as error:
        raise _unreadable(file) from error
    if faces > FACES:
        raise UserError(f"{file.name} has {faces:,} faces, more than {FACES:,}: decimate it")
    if not faces:
        raise UserError(f"{file.name} has no faces: hand in views of it")


def _unreadable(file: Path) -> UserError:
    kind = file.suffix[1:].upper()
    return UserError(f"{file.name} cannot be read: it is damaged, or no {kind} of triangles as others write them")


def _ply_head(file: Path) -> Iterator[list[bytes]]:
    """The words of the lines of its head. Raises UserError where it is none."""
    with file.open("rb") as stream:
        if stream.readline(8).strip() != b"ply":
            raise damaged(file, "it is no PLY")
        for _ in range(1000):
            words = stream.readline(1000).split()
            if words[:1] == [b"end_header"]:
                return
            yield words
    raise damaged(file, "its head has no end")


def _ply_faces(file: Path) -> int:
    faces, splats = 0, False
    for words in _ply_head(file):
        if words[:2] == [b"element", b"face"]:
            faces = int(words[2])
        if words[:2] == [b"element", b"vertex"] and int(words[2]) > 3 * FACES:
            return int(words[2])
        splats |= words[-1:] == [b"f_dc_0"]
    if splats and not faces:
        raise UserError(f"{file.name} is a cloud of 3D Gaussians, no mesh: hand in views of it")
    if faces < 0:
        raise damaged(file, "a count is below 0")
    return faces


def _ply_textures(file: Path) -> list[str]:
    lines = [words for words in _ply_head(file) if words[:2] == [b"comment", b"TextureFile"]]
    return [b" ".join(words[2:]).decode("utf-8", "replace") for words in lines]


def _obj_faces(file: Path) -> int:
    """A polygon counts as the triangles it is cut into."""
    faces = corners = 0
    with file.open("rb") as stream:
        while line := stream.readline(LINE):
            if len(line) == LINE:
                raise damaged(file, f"a line has more than {LINE} bytes")
            corners += line[:2] in (b"v ", b"v\t")
            if line[:2] in (b"f ", b"f\t"):
                words = line.split()[1:]
                if len(words) < 3 and words[-1:] != [b"\\"]:
                    raise damaged(file, "a face has less than three corners")
                if b" 0" in line and any(word.split(b"/")[0] == b"0" for word in words):
                    raise damaged(file, "a face has a corner 0, and corners count from 1")
                faces += max(len(words) - 2, 0)
            if faces > FACES or corners > 3 * FACES:
                return max(faces, corners)
    return faces


def read(file: Path, up: str) -> Surface:
    """The surface of a mesh, z up, +x its front. Raises UserError where it cannot be read."""
    import trimesh

    try:
        with _quiet():
            refuse_textures(file, _pictures(file))
            scene = trimesh.load_scene(file, process=False)
            pictures = _taken_off(scene)
            parts = [part for part in scene.dump() if isinstance(part, trimesh.Trimesh) and len(part.faces)]
            _refuse_lost_corners(file, parts)
            _keep_colours(file, scene, parts)
            surface = Surface.of(parts, [pictures.get(part.metadata["name"]) for part in parts])
    except UserError:
        raise
    except MemoryError as error:
        raise UserError(f"{file.name} does not fit into memory: decimate it") from error
    except Exception as error:  # of many kinds: what a library says of damaged files
        raise _unreadable(file) from error
    if surface is None or not np.isfinite(surface.vertices).all():
        raise UserError(f"{file.name} has {'no faces' if surface is None else 'vertices that are no numbers'}")
    if not all((np.abs(paint.corners) < FARTHEST).all() for paint in surface.paints):
        raise damaged(file, "its colours, or its places in textures, are no numbers")
    if np.abs(surface.vertices).max() > FARTHEST:
        raise UserError(f"{file.name} has corners farther than {FARTHEST:g} from the origin")
    if not np.ptp(surface.vertices[surface.faces], axis=(0, 1)).any():
        raise UserError(f"{file.name} has no extent: all its corners are one point")
    return surface.turned() if up == "y" else surface


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The library prints what it goes on without; all of that is refused here."""
    log = logging.getLogger("trimesh")
    before, log.disabled = log.disabled, True
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        log.disabled = before


def _pictures(file: Path) -> Iterator[tuple[str, Path | bytes]]:
    """The textures of a mesh, with what they are called."""
    if file.suffix.lower() == ".glb":
        yield from glb.pictures(file)
    else:
        yield from ((part.name, part) for part in beside(file) if part.suffix.lower() != ".mtl")


def _taken_off(scene: Any) -> dict[str, Picture]:
    """The pictures of textures by the name of the part, off their materials: parts share one, and a copy of a part
    would copy it."""
    held: dict[str, tuple[Any, str]] = {}
    for name, part in scene.geometry.items():
        material = getattr(getattr(part, "visual", None), "material", None)
        for kind in ("baseColorTexture", "image"):
            if getattr(material, kind, None) is not None:
                held.setdefault(name, (material, kind))
    images = {name: getattr(material, kind) for name, (material, kind) in held.items()}
    for material, kind in held.values():
        setattr(material, kind, None)
    pictures = {id(image): np.asarray(image.convert("RGB")) for image in {id(i): i for i in images.values()}.values()}
    return {name: pictures[id(image)] for name, image in images.items()}


def _keep_colours(file: Path, scene: Any, parts: list[Any]) -> None:
    """Give parts that have a material their colours of vertices, which the library loses where it copies them; as
    pictures have them (sRGB, IEC 61966-2-1) where the file's head says that they are linear."""
    linear = file.suffix.lower() == ".glb" and glb.head(file).get("asset", {}).get("generator") == GENERATOR
    for part in parts:
        whole = scene.geometry[part.metadata["name"]].visual
        x = getattr(whole, "vertex_attributes", {}).get("color")
        if x is not None and len(x) == len(part.vertices):
            part.visual.vertex_attributes["color"] = _shown(np.asarray(x)[:, :3]) if linear else x


def _shown(x: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
    """Linear colours in [0, 1] as sRGB."""
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.maximum(x, 1e-9) ** (1 / 2.4) - 0.055)


def _refuse_lost_corners(file: Path, parts: list[Any]) -> None:
    """Raise UserError where faces name corners that are not there: rays would be followed through foreign memory. And
    where a PLY has less faces than its head says: a text that is cut short reads as a smaller mesh."""
    if any(part.faces.min() < 0 or part.faces.max() >= len(part.vertices) for part in parts):
        raise damaged(file, "its faces have corners that are not there")
    n = sum(len(part.faces) for part in parts)
    if file.suffix.lower() == ".ply" and 0 < n < (said := _ply_faces(file)):
        raise damaged(file, f"cut short: {n} of {said} faces")
