"""What a mesh says and the library that reads it leaves out is refused by name, never drawn as something else."""

import json
import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from intake import mesh, pictures
from tests.intake.made import box
from tests.intake.test_damaged import corners, refused, why
from tests.intake.test_layouts import S, look
from tests.intake.test_short import png

pytest.importorskip("embreex")
RED = (lambda file: (Image.new("RGB", (8, 8), (255, 0, 0)).save(file, "PNG"), file.getvalue())[1])(BytesIO())


def parts_of(whole: bytes) -> tuple[dict, bytes]:
    end = 20 + struct.unpack("<I", whole[12:16])[0]
    return json.loads(whole[20:end]), whole[end + 8 :]


HEAD, DATA = parts_of(corners([0, 1, 2]))


def glb(file, data=DATA, **changes):
    text = json.dumps(HEAD | changes).encode()
    text += b" " * (-len(text) % 4)
    start = struct.pack("<4sIII4s", b"glTF", 2, 28 + len(text) + len(data), len(text), b"JSON")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(start + text + struct.pack("<I4s", len(data), b"BIN\0") + data)
    return file


def textured(file, *given: bytes, triangle=None, texture=None, n=1, **changes):
    """A triangle a picture, `n` times; `triangle` and `texture` change what their places say."""
    data, views = DATA, list(HEAD["bufferViews"])
    for part in (np.array([[0, 0], [1, 0], [0, 1]], "<f4").tobytes(), *given):
        data += bytes(-len(data) % 4)
        views.append({"buffer": 0, "byteOffset": len(data), "byteLength": len(part)})
        data += part
    places = {"count": 3, "type": "VEC2", "componentType": 5126, "bufferView": 2}
    attributes = {"POSITION": 0, "TEXCOORD_0": 2} if triangle is None else triangle
    several = range(len(given))
    return glb(
        file,
        data,
        **{
            "accessors": [*HEAD["accessors"], places],
            "bufferViews": views,
            "buffers": [{"byteLength": len(data)}],
            "images": [{"bufferView": 3 + k, "mimeType": "image/png"} for k in several],
            "textures": [{"source": k} for k in several],
            "materials": [
                {"pbrMetallicRoughness": {"baseColorTexture": {"index": k} | (texture or {})}} for k in several
            ],
            "meshes": [{"primitives": n * [{"attributes": attributes, "indices": 1, "material": k} for k in several]}],
            **changes,
        },
    )


def triangle(**more):
    return [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1, **more}]}]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"extensionsRequired": ["EXT_meshopt_compression"]},
            "written with EXT_meshopt_compression, which is not read",
        ),
        ({"extensionsRequired": ["KHR_mesh_quantization"]}, "written with KHR_mesh_quantization"),
        ({"extensionsUsed": ["EXT_mesh_gpu_instancing"]}, "written with EXT_mesh_gpu_instancing"),
        ({"meshes": triangle(extensions={"KHR_draco_mesh_compression": {"bufferView": 0}})}, "written with KHR_draco"),
        ({"meshes": triangle(mode=6)}, "fans of triangles"),
        ({"accessors": [HEAD["accessors"][0] | {"sparse": {"count": 1}}, HEAD["accessors"][1]]}, "sparse accessors"),
        ({"buffers": [{"byteLength": 48, "uri": "a.bin"}]}, "in several files"),
        ({"images": [{"uri": "a.png"}]}, "in several files"),
        ({"nodes": [{"mesh": 0, "matrix": 16 * [float("nan")]}]}, "a node stands at no place"),
        ({"nodes": [{"mesh": 0, "matrix": [1, 0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]}]}, "stands at no place"),
        ({"nodes": [{"mesh": 0, "matrix": 15 * [1.0]}]}, "a node stands at no place"),
        ({"nodes": [{"mesh": 0, "scale": [float("inf"), 1, 1]}]}, "a node stands at no place"),
        ({"nodes": 10_001 * [{"mesh": 0}]}, "10,001 nodes, more than 10,000"),
        ({"nodes": [{"mesh": 7}]}, "cannot be read: it is damaged, or no GLB"),
    ],
)
def test_heads(tmp_path, changes, said):
    glb(tmp_path / f"{S}.glb", **changes)
    assert said in refused(tmp_path)


def test_what_is_read_passes(tmp_path):
    file = glb(tmp_path / f"{S}.glb", extensionsRequired=["KHR_materials_unlit"])
    frames = list(look(tmp_path).units[0].source.frames())
    assert all(frame.opacity.any() for frame in frames[:1])
    textured(file, RED)
    (front, *_) = look(tmp_path).units[0].source.frames()
    assert (front.rgb == (255, 0, 0)).all(2).any()


@pytest.mark.parametrize(
    ("given", "changes", "said"),
    [
        ((RED, b"\x89PNG\r\n"), {}, "textures that cannot be read: its texture 1"),
        ((RED, png(64, 64, bytes(193 * 3))), {}, "textures that cannot be read: its texture 1"),
        ((RED,), {"triangle": {"POSITION": 0}}, "a texture without its first places"),
        ((RED,), {"texture": {"texCoord": 1}}, "a texture without its first places"),
        ((RED,), {"texture": {"extensions": {"KHR_texture_transform": {"scale": [2, 2]}}}}, "moves its texture"),
        ((RED,), {"textures": [{"extensions": {"KHR_texture_basisu": {"source": 0}}}]}, "of a kind that is not read"),
        ((RED,), {"textures": []}, "cannot be read: it is damaged, or no GLB"),
        ((png(60_000, 60_000, b""),), {}, "textures that cannot be read"),
        ((png(pictures.EDGE + 1, 1, b""),), {}, "its texture 0 is 8193 x 1"),
    ],
)
def test_textures_that_a_library_goes_on_without(tmp_path, given, changes, said):
    textured(tmp_path / f"{S}.glb", *given, **changes)
    assert said in why(look(tmp_path).units[0].source)


@pytest.mark.parametrize("place", [float("nan"), 1e30])
def test_places_in_textures_that_are_none(tmp_path, place):
    file = textured(tmp_path / f"{S}.glb", RED)
    whole = file.read_bytes()
    triangle = np.array([[0, 0], [1, 0], [0, 1]], "<f4").tobytes()
    odd = np.array([[0, place], [1, 0], [0, 1]], "<f4").tobytes()
    assert whole.count(triangle) == 1
    file.write_bytes(whole.replace(triangle, odd))
    assert "its places in textures, are no numbers" in why(look(tmp_path).units[0].source)


def test_parts_share_the_picture_of_a_texture(tmp_path, monkeypatch):
    file = textured(tmp_path / f"{S}.glb", RED, n=20)
    paints = mesh.read(file, "y").paints
    assert (len(paints), len({id(paint.picture) for paint in paints})) == (20, 1)
    monkeypatch.setattr(pictures, "TEXTURES", 127)
    textured(file, RED, RED)
    assert "too large together" in why(look(tmp_path).units[0].source)


def test_nothing_is_printed_of_what_a_library_goes_on_without(tmp_path, capfd):
    box(tmp_path / f"{S}.ply")
    textured(tmp_path / "an-astronaut.glb", b"none")
    for unit in look(tmp_path).units:
        try:
            list(unit.source.frames())
        except Exception:
            continue
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")


PLY = """ply
format ascii 1.0
{}element vertex 3
property float x
property float y
property float z
element face {}
property list uchar int vertex_indices
end_header
0 0 0
0 1 0
0 0 1
3 0 1 2
"""


def test_plys(tmp_path):
    file = tmp_path / f"{S}.ply"
    file.write_text(PLY.format("", 1))
    assert len(list(look(tmp_path).units[0].source.frames())) == 4
    file.write_text(PLY.format("", 3))
    assert "cut short: 1 of 3 faces" in why(look(tmp_path).units[0].source)
    file.write_text(PLY.format("comment TextureFile gone.png\n", 1))
    assert "names gone.png, which is not beside it" in refused(tmp_path)
    (tmp_path / "gone.png").write_bytes(b"none")
    (unit,) = look(tmp_path).units
    assert [f.name for f in unit.source.files] == [file.name, "gone.png"]
    assert "textures that cannot be read: gone.png" in why(unit.source)
    head = PLY.format("", 1).replace("ascii", "binary_little_endian").replace("uchar", "uint").partition("0 0 0")[0]
    for count in (2**32 - 1, 2**31, 300_000_000):
        file.write_bytes(head.encode() + bytes(36) + struct.pack("<I3i", count, 0, 1, 2))
        assert why(look(tmp_path).units[0].source).endswith(
            "cannot be read: it is damaged, or no PLY of triangles as others write them"
        )


CORNERS = "v 0 0 0\nv 0 1 0\nv 0 0 1\nvt 0 0\nvt 1 0\nvt 0 1\n"


def test_objs(tmp_path):
    file = tmp_path / f"{S}.obj"
    for face, said in (("f 0 1 2", "a corner 0, and corners count from 1"), ("f 1 2", "less than three corners")):
        file.write_text(CORNERS + "f 1 2 3\n" + face)
        assert said in refused(tmp_path)
    file.write_text("mtllib m.mtl\nusemtl b\n" + CORNERS + "f 1/1 2/2 3/3\n")
    (tmp_path / "m.mtl").write_text("newmtl a\nKd 1 0 0\n")
    assert "uses the material b, which m.mtl does not have" in refused(tmp_path)
    (tmp_path / "m.mtl").write_text("newmtl a\n\tmap_Kd a.png\nnewmtl b\n\tmap_kd b.png\n")
    (tmp_path / "a.png").write_bytes(RED)
    assert "names b.png, which is not beside it" in refused(tmp_path)
    (tmp_path / "b.png").write_bytes(RED[:45])
    assert "textures that cannot be read: b.png" in why(look(tmp_path).units[0].source)


def test_a_mesh_that_nobody_sees_is_no_empty_picture(tmp_path):
    far = DATA[:36].replace(struct.pack("<f", 1), struct.pack("<f", 1e30)) + DATA[36:]
    glb(tmp_path / f"{S}.glb", far)
    assert "corners farther than 1e+15" in why(look(tmp_path).units[0].source)
    glb(tmp_path / f"{S}.glb", nodes=[{"mesh": 0, "translation": [90, 0, 0]}])
    (unit,) = look(tmp_path, fit=False).units
    assert "seen in none of its views: no --as-it-is" in why(unit.source)
