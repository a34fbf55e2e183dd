"""Folders of numbered pictures: PNG, JPEG or WebP, whatever stands before the number and however it is padded. A
picture is decoded whole or refused; so are those that are textures of meshes."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image, ImageOps

from errors import UserError
from files import is_short
from intake.base import Frame, size_of
from scene.background import GREY

KINDS = (".png", ".jpg", ".jpeg", ".webp")
NUMBERED = re.compile(r"(.*?)[ _.-]*(\d{1,9})", re.ASCII)
SHAPES = {"opacity", "mask", "masks", "alpha"}  # what a picture of opacity is called
OTHERS = SHAPES | {"normal", "normals", "depth", "disp", "contact"}  # what is no view
EDGE, AREA = 8192, 1 << 24  # pixels of a picture, at most: along an edge, and in all
TEXTURES = 1 << 27  # of all textures of a mesh, two of the largest
ROWS = 256  # of a picture that are computed together
GREY_8 = round(255 * GREY)


Kinds = dict[str, list[tuple[int, Path]]]  # pictures with their numbers, by what stands before these


@dataclass(frozen=True)
class Numbered:
    """Views by number, and opacities where there are as many."""

    views: tuple[Path, ...]
    opacities: tuple[Path, ...] = ()
    panels: int = 1  # side by side in a picture: rgb | opacity, or rgb | normal | opacity

    @property
    def files(self) -> tuple[Path, ...]:
        return (*self.views, *self.opacities)

    @property
    def how(self) -> str:
        return f"views of {self.panels} panels" if self.panels > 1 else "views"

    @property
    def orbit(self) -> None:
        return None

    def __len__(self) -> int:
        return len(self.views)

    def frames(self) -> Iterator[Frame]:
        size = None
        for k, file in enumerate(self.views):
            frame = cropped(read(file), self.panels)
            if self.opacities:
                frame = Frame(frame.rgb, read_grey(self.opacities[k]))
            if frame.rgb.shape[:2] != (size := size or frame.rgb.shape[:2]):
                own, first = (f"{w} x {h}" for h, w in (frame.rgb.shape[:2], size))
                raise UserError(f"{file.name} is {own} where the first view is {first}")
            if frame.opacity is not None and frame.opacity.shape != size:
                raise UserError(f"the opacity of {file.name} is of another size than the view")
            yield frame


def by_kind(files: Sequence[Path]) -> Kinds:
    """Pictures with a number by what stands before it, in order of their numbers."""
    found: Kinds = {}
    for file in files:
        if file.suffix.lower() in KINDS and (name := NUMBERED.fullmatch(file.stem)):
            found.setdefault(name[1].lower(), []).append((int(name[2]), file))
    return {kind: sorted(files) for kind, files in found.items()}


def in_turn(files: Sequence[tuple[int, Path]]) -> tuple[Path, ...]:
    """The files in the order of their numbers, from 0 or from 1. Raises UserError for a gap and a number twice."""
    first = min(files[0][0], 1)
    for n, (number, file) in enumerate(files, first):
        if number < n:
            raise UserError(f"{file.name} has the number of another view")
        if number > n:
            raise UserError(f"view {n} is missing: {file.name} comes after {files[n - first - 1][1].name}" if n > first
                            else f"view {n} is missing: the first is {file.name}")  # fmt: skip
    return tuple(file for _, file in files)


def paired(kinds: Kinds, views: tuple[Path, ...]) -> tuple[Path, ...]:
    """The pictures of opacity beside views; () where there are none. Raises UserError where some are missing."""
    for kind in sorted(SHAPES & kinds.keys()):
        shapes = in_turn(kinds[kind])
        if len(shapes) != len(views):
            raise UserError(f"there are {len(views)} views and {len(shapes)} pictures of {kind}")
        return shapes
    return ()


def read(file: Path) -> Frame:
    """A picture's colours, over the grey of evaluation where it is transparent, which then is its opacity. Raises
    UserError where it is damaged or too large."""
    return seen(_opened(file))


def seen(image: Image.Image) -> Frame:
    """A picture's colours and opacity, as `read` gives them."""
    if "A" not in image.getbands() and "transparency" not in image.info:
        return Frame(np.asarray(image.convert("RGB")), None)
    layers = np.asarray(image.convert("RGBA"))
    if layers[..., 3].min() == 255:
        return Frame(np.ascontiguousarray(layers[..., :3]), None)
    return Frame(over_grey(layers), np.ascontiguousarray(layers[..., 3]))


def over_grey(layers: UInt8[ndarray, "H W 4"]) -> UInt8[ndarray, "H W 3"]:
    """Straight colours and opacity, over the grey of evaluation."""
    over = np.empty((*layers.shape[:2], 3), np.uint8)
    for k in range(0, len(layers), ROWS):
        alpha = layers[k : k + ROWS, :, 3:].astype(np.float32) / 255
        over[k : k + ROWS] = (layers[k : k + ROWS, :, :3] * alpha + GREY_8 * (1 - alpha)).round()
    return over


def read_grey(file: Path) -> UInt8[ndarray, "H W"]:
    image = _opened(file)
    return np.asarray(image.getchannel("A") if "A" in image.getbands() else image.convert("L"))


def refuse_large(file: Path, width: int, height: int) -> None:
    if max(width, height) > EDGE or width * height > AREA:
        raise UserError(
            f"{file.name} is {width} x {height}: a view has at most {EDGE} pixels an edge, and {AREA:,} in all"
        )


def too_large(file: Path) -> UserError:
    """Of a picture whose size the library refuses to say."""
    return UserError(f"{file.name} says that it has far more pixels than {AREA:,}, the most of a view")


def _opened(file: Path) -> Image.Image:
    """The picture, decoded. Its size is read first: a small file can say that it is of a million pixels an edge."""
    try:
        size_of(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # EDGE is the stricter
            with Image.open(file) as image:
                refuse_large(file, *image.size)
                if image.mode.startswith(("I", "F")):
                    raise UserError(f"{file.name} is of mode {image.mode}: save it with 8 bits a channel")
                image.load()
                if image.format == "PNG" and is_short(file):
                    raise UserError(f"{file.name} is damaged: it ends before its last row")
                return ImageOps.exif_transpose(image)  # upright, as viewers show it
    except Image.DecompressionBombError as error:
        raise too_large(file) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{file.name} is damaged") from error


def cropped(frame: Frame, panels: int) -> Frame:
    """The first of panels side by side; the last is the opacity where it is grey."""
    if panels == 1:
        return frame
    width = frame.rgb.shape[1] // panels
    last = frame.rgb[:, -width:]
    grey = not np.ptp(last, axis=2).any()
    return Frame(np.ascontiguousarray(frame.rgb[:, :width]), np.ascontiguousarray(last[..., 0]) if grey else None)


def refuse_textures(file: Path, pictures: Iterable[tuple[str, Path | bytes]]) -> None:
    """Raise UserError where a texture of a mesh, in a file or in bytes, is too large, damaged, or none: the library
    that reads meshes goes on without."""
    left = TEXTURES
    for name, picture in pictures:
        stream = io.BytesIO(picture.read_bytes() if isinstance(picture, Path) else picture)
        try:
            with warnings.catch_warnings(), Image.open(stream) as image:
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # EDGE is the stricter
                width, height = image.size
                left -= width * height
                if max(image.size) > EDGE or left < 0:
                    why = f"{name} is {width} x {height}" if max(image.size) > EDGE else "they are too large together"
                    raise UserError(
                        f"{file.name} has textures of more than {EDGE} pixels an edge, or {TEXTURES:,} in all: {why}"
                    )
                image.load()
                if image.format == "PNG" and is_short(stream):
                    raise ValueError("it ends before its last row")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise UserError(f"{file.name} has textures that cannot be read: {name}") from error
