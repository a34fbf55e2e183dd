"""The textures of a mesh, looked at before a library reads it, which goes on without those that it cannot read."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from errors import UserError
from files import is_short

EDGE, AREA = 8192, 1 << 27  # pixels: along an edge, and of all textures of a mesh, two of the largest


def refuse(file: Path, pictures: Iterable[tuple[str, Path | bytes]]) -> None:
    """Raise UserError where a picture, in a file or in bytes, is too large, damaged, or none."""
    left = AREA
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
                        f"{file.name} has textures of more than {EDGE} pixels an edge, or {AREA:,} in all: {why}"
                    )
                image.load()
                if image.format == "PNG" and is_short(stream):
                    raise ValueError("it ends before its last row")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise UserError(f"{file.name} has textures that cannot be read: {name}") from error
