"""What is damaged, hostile or too large is refused by name, in little memory, and the rest is taken."""

import io
import json
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

import intake
from errors import UserError
from intake import archive, mesh, pictures
from intake.write import leave_out, take
from tests.intake.made import box, gif, video, view, views
from tests.intake.test_layouts import S, T, asked, look

av, embree = (pytest.importorskip(name) for name in ("av", "embreex"))


def why(source) -> str:
    with pytest.raises(UserError) as error:
        list(source.frames())
    return str(error.value)


def refused(root, *texts) -> str:
    found = look(root, *texts)
    assert not found.units
    return " ".join(r.why for r in found.refused)


def test_a_picture(tmp_path):
    folder = views(tmp_path / "a" / S)
    (unit,) = look(tmp_path).units
    for content, said in ((b"\x89PNG\r\n", "rgb_002.png is damaged"), (b"", "rgb_002.png is empty")):
        (folder / "rgb_002.png").write_bytes(content)
        assert why(unit.source) == said
    whole = (folder / "rgb_001.png").read_bytes()
    (folder / "rgb_002.png").write_bytes(whole[: len(whole) // 2])
    assert why(unit.source) == "rgb_002.png is damaged"
    Image.fromarray(view(0, 20)).save(folder / "rgb_002.png")
    assert why(unit.source) == "rgb_002.png is 20 x 20 where the first view is 16 x 16"
    Image.fromarray(np.zeros((16, 16), np.uint16)).save(folder / "rgb_002.png")
    assert "8 bits a channel" in why(unit.source)
    Image.new("L", (pictures.EDGE + 1, 1)).save(folder / "rgb_002.png")
    assert "8193 x 1: a view has at most 8192" in why(unit.source)
    Image.new("1", (4097, 4096)).save(folder / "rgb_002.png")
    assert "4097 x 4096: a view has at most 8192 pixels an edge, and 16,777,216 in all" in why(unit.source)
    (folder / "rgb_002.png").unlink()
    assert refused(tmp_path) == "view 2 is missing: rgb_003.png comes after rgb_001.png"


def test_a_missing_view_leaves_a_record_and_no_picture(tmp_path):
    folder = views(tmp_path / "in" / "a" / S)
    (folder / "rgb_000.png").write_bytes(b"")
    (unit,) = look(tmp_path / "in").units
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(UserError):
        take(unit, run, "world")
    assert not list(run.rglob("*"))
    leave_out(intake.base.Refused(unit.where, "it is empty", unit.place), run, "world")
    job = run / "a" / S / "0"
    assert (
        json.loads((job / "record.json").read_text()).items() >= {"status": "missing", "cause": "it is empty"}.items()
    )
    assert not list(job.rglob("*.png"))


def test_videos(tmp_path):
    whole = video(tmp_path / "in" / f"{T}.mp4").read_bytes()
    (tmp_path / "in" / f"{S}.mp4").write_bytes(b"")
    (tmp_path / "in" / "a-car-made-out-of-sushi.mp4").write_bytes(whole[:200])
    (tmp_path / "in" / "a-delicious-croissant.gif").write_bytes(b"GIF89a")
    gif(tmp_path / "in" / "an-astronaut.gif", 1)
    found = look(tmp_path / "in")
    assert [u.place.prompt.id for u in found.units] == [T]
    said = " ".join(r.why for r in found.refused)
    assert f"{S}.mp4 is empty" in said
    assert said.count("is damaged") == 2
    assert "has 1 frames: a turn has more" in said


@pytest.mark.parametrize(
    ("ext", "said"), [(".mp4", "lacks a part"), (".mkv", "cut short: 4"), (".avi", "lacks a part")]
)
def test_a_video_that_is_cut_is_no_turn(tmp_path, ext, said):
    """Where its head stands in front, it opens, and FFmpeg gives what is left of it."""
    whole = video(tmp_path / f"whole{ext}", 60, movflags="faststart").read_bytes()
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / f"{T}{ext}"
    file.write_bytes(whole)
    assert len(look(tmp_path / "in").units[0].source) == 4
    file.write_bytes(whole[: len(whole) * 4 // 5])
    assert said in refused(tmp_path / "in")


def test_a_video_whose_frames_are_mended_by_the_library_is_damaged(tmp_path):
    file = video(tmp_path / "in" / f"{T}.mp4", 60)
    broken = bytearray(file.read_bytes())
    for k in range(200, 743, 97):
        broken[k] ^= 0xFF
    file.write_bytes(broken)
    with av.open(str(file)) as container:
        frames = list(container.decode(video=0))
    assert (len(frames), any(frame.is_corrupt for frame in frames)) == (60, True)
    assert "lacks a part" in refused(tmp_path / "in")


def test_a_gif_whose_pictures_are_cut_is_named(tmp_path):
    """It is counted without being decoded: what is wrong with a picture is found where that is read."""
    folder = tmp_path / "in"
    folder.mkdir()
    still(folder / f"{T}.gif", 4, 64, 64, 64)
    assert why(look(folder).units[0].source).startswith(f"{T}.gif is damaged (image file is truncated")


def test_a_gif_is_decoded_for_its_views_alone(tmp_path, monkeypatch):
    gif(tmp_path / f"{T}.gif", 40)
    made = []
    monkeypatch.setattr(intake.video, "seen", lambda frame: made.append(frame) or pictures.seen(frame))
    (unit,) = look(tmp_path).units
    assert (unit.source.n, len(list(unit.source.frames())), len(made)) == (40, 4, 4)


def glb(file, faces: int, cut: int = 0):
    """A head that says so many faces, and no data."""
    head = {
        "asset": {"version": "2.0"},
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [{"count": 3}, {"count": 3 * faces}],
    }
    text = json.dumps(head).encode()
    file.write_bytes(struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text) + cut, len(text), b"JSON") + text)
    return file


def test_meshes_are_refused_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(mesh, "read", None)
    root = tmp_path / "in"
    root.mkdir()
    ten = 10_000_000
    glb(root / f"{S}.glb", ten)
    assert f"has {ten:,} faces, more than 2,000,000: decimate it" in refused(root)
    glb(root / f"{S}.glb", 12, cut=1000)
    assert "cut short" in refused(root)
    (root / f"{S}.glb").write_bytes(b"glTF")
    assert "is damaged" in refused(root)
    (root / f"{S}.glb").unlink()
    ply = root / f"{S}.ply"
    ply.write_bytes(b"ply\nformat ascii 1.0\nelement vertex 8\nelement face %d\nend_header\n" % ten)
    assert f"{ten:,} faces" in refused(root)
    ply.write_bytes(b"ply\nformat ascii 1.0\nelement vertex 8\nproperty float f_dc_0\nend_header\n")
    assert "a cloud of 3D Gaussians" in refused(root)
    ply.write_bytes(b"ply\nformat ascii 1.0\nelement vertex 8\nend_header\n")
    assert "has no faces" in refused(root)
    ply.unlink()
    (root / f"{S}.obj").write_text("v 0 0 0\n" * 3 + "f 1 2 3\n" * 9)
    monkeypatch.setattr(mesh, "FACES", 8)
    assert "faces, more than 8" in refused(root)


def test_meshes_that_turn_out_to_be_damaged(tmp_path):
    whole = box(tmp_path / "in" / f"{S}.glb").read_bytes()
    (unit,) = look(tmp_path / "in").units
    head = struct.unpack("<I", whole[12:16])[0]
    (tmp_path / "in" / f"{S}.glb").write_bytes(whole[: 28 + head] + bytes(len(whole) - 28 - head))
    assert "no extent" in why(unit.source)
    obj = tmp_path / "in" / f"{T}.obj"
    obj.write_text("v 0 0 0\nv 1 0 0\nv 0 nan 1\nf 1 2 3\n")
    (unit,) = [u for u in look(tmp_path / "in").units if u.place.prompt.id == T]
    assert "no numbers" in why(unit.source)


def test_what_a_mesh_names_is_read_from_its_own_folder_alone(tmp_path):
    root = tmp_path / "in"
    root.mkdir()
    (tmp_path / "secret.mtl").write_text("newmtl m\nKd 1 0 0\n")
    obj = root / f"{S}.obj"
    obj.write_text("mtllib ../secret.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    assert "lies outside its folder" in refused(root)
    obj.write_text("mtllib gone.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    assert "names gone.mtl, which is not beside it" in refused(root)


def zipped(file, members):
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as held:
        for name, content in members.items():
            held.writestr(name, content)
    return file


def test_an_archive_is_unpacked_within_bounds(tmp_path, monkeypatch):
    views(tmp_path / "a" / S)
    good = {f"a/{S}/{f.name}": f.read_bytes() for f in (tmp_path / "a" / S).iterdir()}
    monkeypatch.setattr(archive, "SMALL", 1 << 16)
    hostile = {"../out.png": b"x", "/abs.png": b"x", "b/../../c.png": b"x", "zeros.bin": bytes(20 << 20)}
    into = tmp_path / "into"
    into.mkdir()
    left_out = archive.unpacked(zipped(tmp_path / "a.zip", good | hostile), into)
    assert [r.where for r in left_out] == [f"a.zip: {name}" for name in hostile]
    assert "would grow" in left_out[-1].why
    assert all("leads out" in r.why for r in left_out[:-1])
    assert sorted(f.relative_to(into).as_posix() for f in into.rglob("*") if f.is_file()) == sorted(good)
    assert not (tmp_path / "out.png").exists()
    assert len(intake.look(into, asked(), tmp_path / "a.zip").units) == 1


def test_a_tar_with_links_and_a_torn_end(tmp_path):
    file = tmp_path / "a.tar.gz"
    with tarfile.open(file, "w:gz") as held:
        link = tarfile.TarInfo(f"a/{S}/rgb_000.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        held.addfile(link)
        plain = tarfile.TarInfo("a/b.txt")
        plain.size = 4
        held.addfile(plain, io.BytesIO(b"text"))
    into = tmp_path / "into"
    into.mkdir()
    (only,) = archive.unpacked(file, into)
    assert "a link" in only.why
    assert (into / "a" / "b.txt").read_text() == "text"
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(UserError, match="cannot be read"):
        archive.unpacked(file, into)
    (tmp_path / "b.zip").write_bytes(b"PK nothing")
    with pytest.raises(UserError, match="cannot be read"):
        archive.unpacked(tmp_path / "b.zip", into)


def test_links_in_a_circle_end(tmp_path):
    views(tmp_path / "a" / S)
    (tmp_path / "a" / "round").symlink_to(tmp_path)
    assert len(look(tmp_path).units) == 1


def corners(indices, loose=0) -> bytes:
    """A GLB whose one face has these corners of a triangle; `loose` more are said, and are in no buffer."""
    accessors = [
        {"count": 3, "type": "VEC3", "componentType": 5126, "bufferView": 0},
        {"count": len(indices), "type": "SCALAR", "componentType": 5125, "bufferView": 1},
        *([{"count": loose, "type": "VEC3", "componentType": 5126}] if loose else []),
    ]
    places = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], "<f4").tobytes()
    data = places + np.array(indices, "<u4").tobytes()
    views = [{"buffer": 0, "byteLength": 36}, {"buffer": 0, "byteOffset": 36, "byteLength": len(data) - 36}]
    head = {
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": accessors, "bufferViews": views, "buffers": [{"byteLength": len(data)}],
    }  # fmt: skip
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 4)
    start = struct.pack("<4sIII4s", b"glTF", 2, 28 + len(text) + len(data), len(text), b"JSON")
    return start + text + struct.pack("<I4s", len(data), b"BIN\0") + data


def test_a_mesh_says_more_than_it_holds(tmp_path):
    file = tmp_path / f"{S}.glb"
    file.write_bytes(corners([0, 1, 2]))
    assert len(list(look(tmp_path).units[0].source.frames())) == 4
    for indices in ([0, 1, 3], [0, 1, 4_000_000_000]):
        file.write_bytes(corners(indices))
        assert "corners that are not there" in why(look(tmp_path).units[0].source)
    file.write_bytes(corners([0, 1, 2], loose=4_000_000_000))
    assert "more than 2,000,000: decimate it" in refused(tmp_path)
    file.unlink()
    obj = tmp_path / f"{S}.obj"
    obj.write_bytes(b"v 0 0 0\nf " + b"1 2 3 " * 20_000)
    assert "a line has more than" in refused(tmp_path)


def test_links_to_nowhere_are_named(tmp_path):
    folder = views(tmp_path / "in" / "a" / S)
    for name in (f"{T}.mp4", f"{T}.glb", "an-astronaut.gif"):
        (tmp_path / "in" / name).symlink_to(tmp_path / "gone")
    (folder / "rgb_001.png").unlink()
    (folder / "rgb_001.png").symlink_to(tmp_path / "gone")
    found = look(tmp_path / "in")
    assert all("cannot be read (No such file" in r.why for r in found.refused)
    assert len(found.refused) == 3
    assert "rgb_001.png cannot be read" in why(found.units[0].source)


def test_pipes_and_devices_are_named_and_never_read(tmp_path):
    import os

    folder, run = views(tmp_path / "in" / "a" / S), tmp_path / "run"
    run.mkdir()
    os.mkfifo(tmp_path / "in" / f"{T}.obj")
    (folder / "rgb_001.png").unlink()
    for made in (os.mkfifo, lambda path: path.symlink_to("/dev/zero")):
        made(folder / "rgb_001.png")
        found = look(tmp_path / "in")
        assert [r.why for r in found.refused] == [f"{T}.obj is no plain file"]
        with pytest.raises(UserError, match=r"rgb_001\.png is no plain file"):  # before its checksum is taken
            take(found.units[0], run, "world")
        (folder / "rgb_001.png").unlink()


def still(file, frames: int, width: int, height: int, edge: int = 1):
    """A GIF whose frames hold one pixel each, of as many as `edge` says, on a screen as large as it says."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"\x21\xf9\x04\0\0\0\0\0\x2c" + struct.pack("<HHHHB", 0, 0, edge, edge, 0) + b"\x02\x02\x44\x01\0"
    file.write_bytes(head + frame * frames + b"\x3b")


def test_a_gif_bomb_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(intake.video, "_gif", None)
    still(file := tmp_path / f"{S}.gif", 5000, 4000, 4000)
    assert refused(tmp_path) == f"{S}.gif has 5000 frames of 4000 x 4000, or more: no turn"
    still(file, 3, 60_000, 60_000)
    assert refused(tmp_path) == f"{S}.gif says that it has far more pixels than 16,777,216, the most of a view"
    still(file, intake.video.MOST + 1, 8, 8)
    assert "frames of 8 x 8, or more: no turn" in refused(tmp_path)


def test_a_mesh_whose_nodes_are_no_tree(tmp_path):
    file = tmp_path / f"{S}.glb"
    whole = corners([0, 1, 2])
    end = 20 + struct.unpack("<I", whole[12:16])[0]
    held = json.loads(whole[20:end])
    twice = [*({"children": [k + 1, k + 1]} for k in range(40)), {"mesh": 0}]
    circle = [{"mesh": 0, "children": [1]}, {"children": [0]}]
    for nodes in (twice, circle):
        text = json.dumps(held | {"nodes": nodes}).encode()
        text += b" " * (-len(text) % 4)
        size = 20 + len(text) + len(whole) - end
        file.write_bytes(struct.pack("<4sIII4s", b"glTF", 2, size, len(text), b"JSON") + text + whole[end:])
        assert "its nodes are no tree" in refused(tmp_path)


def test_a_bomb_of_many_small_members_ends_where_pictures_would(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "SMALL", 1 << 16)
    zeros = {f"{k}.bin": bytes(1 << 16) for k in range(40)}
    file = zipped(tmp_path / "a.zip", zeros)
    monkeypatch.setattr(archive, "RATIO", 4)
    (into := tmp_path / "into").mkdir()
    left_out = archive.unpacked(file, into)
    assert left_out
    assert sum(f.stat().st_size for f in into.iterdir()) <= max(1 << 16, 4 * file.stat().st_size)
    with tarfile.open(tmp_path / "b.tar.gz", "w:gz") as held:
        for name in ("big.bin", "after.bin"):
            member = tarfile.TarInfo(name)
            member.size = 1 << 20
            held.addfile(member, io.BytesIO(bytes(1 << 20)))
    (only,) = archive.unpacked(tmp_path / "b.tar.gz", into)
    assert (only.where, "nor is what comes after" in only.why) == ("b.tar.gz: big.bin", True)


def test_what_no_layout_reads_is_named(tmp_path):
    views(tmp_path / "m" / S)
    (tmp_path / "m" / T).mkdir()
    for name in ("b.zip", f"{T}.stl", "a_0.bmp", "a_1.bmp", "notes.txt", "table.csv", "logo.tiff"):
        (tmp_path / name).write_bytes(b"x")
    found = look(tmp_path)
    assert [u.place.prompt.id for u in found.units] == [S]
    said = {r.where.partition("/")[2]: r for r in found.refused}
    assert said.keys() == {"b.zip", f"{T}.stl", "a_0.bmp", f"m/{T}"}
    assert said[f"m/{T}"].place.prompt.id == T  # and so it counts as failed


def test_names_that_cannot_be_printed(tmp_path):
    import os

    views(tmp_path / "br [v2]" / S)
    for name in (b"m\xff", b"a\nb"):
        folder = os.path.join(os.fsencode(tmp_path), name, S.encode())
        os.makedirs(folder)
        for k in range(2):
            Image.fromarray(view(k)).save(os.path.join(folder, b"rgb_%d.png" % k))
    found = look(tmp_path)
    assert [u.place.method for u in found.units] == ["br [v2]"]
    assert all("cannot be printed" in r.why and r.where.encode() for r in found.refused)
    assert len(found.refused) == 2
