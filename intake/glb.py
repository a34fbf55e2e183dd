"""What the head of a GLB says, held against what the library that reads it can: of what it cannot, it would make
another mesh, in silence.

Sizes are checked here too, before anything is read: all counts stand in the head.
"""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from errors import UserError

FACES = 2_000_000  # of a mesh: about a gigabyte while it is read
COUNTS = 24 * FACES  # of all that a GLB says of its corners: places, normals, colours and so on
NODES = 10_000  # each is placed by itself
READ = ("EXT_texture_webp", "KHR_materials_", "KHR_lights_", "KHR_xmp", "KHR_draco_mesh_compression")
FLOAT = 5126
Head = dict[str, Any]


def damaged(file: Path, why: str) -> UserError:
    return UserError(f"{file.name} is damaged ({why})")


def head(file: Path) -> Head:
    """The JSON of a GLB. Raises UserError where it is none, and ValueError and struct.error where it is damaged."""
    with file.open("rb") as stream:
        magic, _, length, json_length, kind = struct.unpack("<4sIII4s", stream.read(20))
        if magic != b"glTF" or kind != b"JSON":
            raise damaged(file, "it is no binary glTF")
        if length > (size := file.stat().st_size):
            raise damaged(file, f"cut short: {size} of {length} bytes")
        held: Head = json.loads(stream.read(json_length))
        return held


def faces(file: Path) -> int:
    """Of all meshes, as often as nodes show them. Raises UserError for what cannot be read, or not as it is meant, and
    what Python raises of a head that does not fit together."""
    held = head(file)
    accessors, nodes = held.get("accessors", []), held.get("nodes", [])
    counts = [int(accessor["count"]) for accessor in accessors]
    if min(counts, default=0) < 0:
        raise damaged(file, "a count is below 0")
    if sum(counts) > COUNTS:  # whatever the file holds of them: what it does not is zeros, which take memory
        return sum(counts) // 3
    _refuse_unread(file, held)
    _refuse_no_tree(file, nodes, held.get("scenes", []))
    for node in nodes:
        _refuse_odd(file, node)
    count = [sum(_primitive_faces(file, p, accessors) for p in mesh["primitives"]) for mesh in held.get("meshes", [])]
    return sum(count[node["mesh"]] for node in nodes if "mesh" in node)


def _refuse_unread(file: Path, held: Head) -> None:
    from importlib.util import find_spec

    asked = set(held.get("extensionsRequired", [])) | {"EXT_mesh_gpu_instancing"} & set(held.get("extensionsUsed", []))
    primitives = [p for mesh in held.get("meshes", []) for p in mesh["primitives"]]
    asked.update(name for p in primitives for name in p.get("extensions", {}) if "compression" in name)
    unread = sorted(name for name in asked if not name.startswith(READ))
    if "KHR_draco_mesh_compression" in asked and not find_spec("DracoPy"):
        unread.append("KHR_draco_mesh_compression")
    if unread:
        raise UserError(f"{file.name} is written with {unread[0]}, which is not read here: export it without")
    if any("uri" in part and not str(part["uri"]).startswith("data:")
           for kind in ("buffers", "images") for part in held.get(kind, [])):  # fmt: skip
        raise UserError(f"{file.name} is in several files: export it as one, with all buffers and textures inside")
    if any("sparse" in accessor for accessor in held.get("accessors", [])):
        raise UserError(f"{file.name} has sparse accessors, which are not read here: export it without")


def _refuse_no_tree(file: Path, nodes: list[Head], scenes: list[Head]) -> None:
    """Raise UserError where a node has two parents, or stands below itself, which glTF forbids: thirty that hold the
    next one twice would be a billion."""
    if len(nodes) > NODES:
        raise UserError(f"{file.name} has {len(nodes):,} nodes, more than {NODES:,}: join its meshes")
    below = [child for node in nodes for child in node.get("children", [])]
    roots = {root for scene in scenes for root in scene.get("nodes", [])}
    if len(set(below)) < len(below) or roots.intersection(below):
        raise damaged(file, "its nodes are no tree")


def _refuse_odd(file: Path, node: Head) -> None:
    """Raise UserError for a place of a node that is none: numbers are missing, or are none, or it is a perspective."""
    matrix = node.get("matrix", [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1])
    parts = [matrix, *(node[key] for key in ("translation", "rotation", "scale") if key in node)]
    if not all(math.isfinite(x) for part in parts for x in part) or len(matrix) != 16 or matrix[3::4] != [0, 0, 0, 1]:
        raise damaged(file, "a node stands at no place")


def _primitive_faces(file: Path, primitive: Head, accessors: list[Head]) -> int:
    mode, corners = primitive.get("mode", 4), primitive.get("indices", primitive["attributes"]["POSITION"])
    if mode == 6:
        raise UserError(f"{file.name} has fans of triangles, which are not read here: export it as triangles")
    n = int(accessors[corners]["count"])
    return n // 3 if mode == 4 else max(n - 2, 0) if mode == 5 else 0


def pictures(file: Path) -> Iterator[tuple[str, bytes]]:
    """The textures of the surface's colours that are in use, once each, with what they are called. Raises UserError
    where one is not there, or lies on the surface in a way that is not read, and as `faces` does."""
    held, views = head(file), _buffer_views(file)
    primitives = [p for mesh in held.get("meshes", []) for p in mesh["primitives"] if "material" in p]
    seen = set()
    for primitive in primitives:
        material = held["materials"][primitive["material"]]
        if (texture := _colours_of(material)) is None:
            continue
        _refuse_unplaced(file, texture, primitive, held["accessors"])
        at = held["textures"][texture["index"]]
        source = at.get("extensions", {}).get("EXT_texture_webp", at).get("source")
        if source is None:
            raise UserError(f"{file.name} has a texture of a kind that is not read here: export it with PNG or JPEG")
        if source not in seen:
            seen.add(source)
            image = held["images"][source]
            name = f"its texture {image.get('name') or source}"
            yield name, views(image["bufferView"]) if "bufferView" in image else _inside(image["uri"])


def _colours_of(material: Head) -> Head | None:
    """The texture that the library takes for a material's colours."""
    shiny = material.get("extensions", {}).get("KHR_materials_pbrSpecularGlossiness", {}).get("diffuseTexture")
    return shiny or material.get("pbrMetallicRoughness", {}).get("baseColorTexture")


def _refuse_unplaced(file: Path, texture: Head, primitive: Head, accessors: list[Head]) -> None:
    places = primitive["attributes"].get("TEXCOORD_0")
    if texture.get("texCoord", 0) != 0 or places is None:
        raise UserError(f"{file.name} has a texture without its first places (TEXCOORD_0): export it with these")
    if accessors[places]["componentType"] != FLOAT:
        raise UserError(f"{file.name} has places in textures that are no floats: export it without quantization")
    moved = texture.get("extensions", {}).get("KHR_texture_transform", {})
    if any(moved.get(key, plain) != plain for key, plain in (("offset", [0, 0]), ("rotation", 0), ("scale", [1, 1]))):
        raise UserError(f"{file.name} moves its texture (KHR_texture_transform): export it without")


def _buffer_views(file: Path) -> Any:
    """What gives the bytes of a view of the GLB's own buffer, by its number."""
    whole = file.read_bytes()
    start = 20 + struct.unpack("<I", whole[12:16])[0] + 8
    views = head(file).get("bufferViews", [])

    def view(number: int) -> bytes:
        at = views[number]
        begin = start + at.get("byteOffset", 0)
        return whole[begin : begin + at["byteLength"]]

    return view


def _inside(uri: str) -> bytes:
    return base64.b64decode(uri.partition(",")[2])
