"""A PNG that holds less than all its rows, of which libraries make black ones, is damaged wherever it is read."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from errors import UserError
from eval import views as seen
from files import is_short
from intake import pictures
from tests.intake.made import views
from tests.intake.test_layouts import S, look


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, rows: bytes, depth=8, colour=2, interlaced=0) -> bytes:
    """With these rows, each behind the byte of its filter."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (9, 17), (1500, 700)])  # the last has more than a block of rows
def test_what_is_whole_passes_and_a_byte_less_does_not(mode, size):
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 4), np.uint8)
    deep = noise[..., 0].astype(np.uint16) * 257
    image = Image.fromarray(deep) if mode == "I;16" else Image.fromarray(noise).convert(mode)
    image.save(file := io.BytesIO(), "PNG")
    assert not is_short(file)
    whole = file.getvalue()
    kinds = {"1": (1, 0), "L": (8, 0), "P": (8, 3), "RGB": (8, 2), "RGBA": (8, 6), "LA": (8, 4), "I;16": (16, 0)}
    depth, colour = kinds[mode]
    assert whole[24:26] == bytes([depth, colour])
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = 1 + -(-size[0] * depth * channels // 8)
    assert is_short(io.BytesIO(png(*size, bytes(row * size[1] - 1), depth, colour)))
    assert not is_short(io.BytesIO(png(*size, bytes(row * size[1]), depth, colour)))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 3), (5, 5), (8, 8), (13, 3)])
def test_interlaced_ones(width, height):
    own = np.zeros((height, width), int)
    for pass_, (x, dx, y, dy) in enumerate(
        [(0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2)], 1
    ):
        own[y::dy, x::dx] = pass_
    assert (own > 0).all()
    rows = sum(np.unique(np.nonzero(own == p)[0]).size for p in range(1, 8))
    size = own.size + rows
    for said, short in ((size, False), (size - 1, True)):
        file = io.BytesIO(png(width, height, bytes(said), 8, 0, 1))
        assert is_short(file) is short
    Image.open(io.BytesIO(png(width, height, bytes(size), 8, 0, 1))).load()


def test_a_view_that_ends_early_is_named_and_never_black(tmp_path):
    folder = views(tmp_path / "a" / S / "0")
    (folder / "rgb_002.png").write_bytes(png(16, 16, bytes(49 * 5)))
    assert not np.asarray(Image.open(folder / "rgb_002.png")).any()  # what the library says of it
    (unit,) = look(tmp_path).units
    with pytest.raises(UserError, match=r"rgb_002\.png is damaged: it ends before its last row"):
        list(unit.source.frames())
    with pytest.raises(UserError, match=r"rgb_002\.png is damaged"):
        seen.read(folder)


def test_opacities_of_more_than_8_bits_are_refused_and_not_cut(tmp_path):
    folder = views(tmp_path / "a" / S / "0")
    for k in range(4):
        Image.fromarray(np.full((16, 16), 0x8080, np.uint16)).save(folder / f"opacity_{k:03d}.png")
    (unit,) = look(tmp_path).units
    with pytest.raises(UserError, match=r"opacity_000\.png is of mode I;16: save it with 8 bits a channel"):
        list(unit.source.frames())


def test_what_is_transparent_lies_over_grey_in_all_rows(monkeypatch):
    monkeypatch.setattr(pictures, "ROWS", 3)
    layers = np.random.default_rng(0).integers(0, 255, (8, 5, 4), np.uint8)
    alpha = layers[..., 3:] / 255
    expected = layers[..., :3] * alpha + pictures.GREY_8 * (1 - alpha)
    assert abs(pictures.over_grey(layers) - expected).max() < 0.51


def test_a_photograph_is_seen_upright(tmp_path):
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[0] = 255
    turned = Image.Exif()
    turned[0x0112] = 6  # its first row is the right-hand side
    Image.fromarray(pixels).save(tmp_path / "0.png", exif=turned)
    assert (pictures.read(tmp_path / "0.png").rgb == np.rot90(pixels, -1)).all()
