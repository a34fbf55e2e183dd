"""Turntable videos as sources of views: one turn, the first frame at the front. GIF by Pillow, all else by PyAV.

Of a turn with more frames than the suite has views, as many are taken, evenly; the frames lie in memory one at a time.
Opacity is not read: compression blurs it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageSequence

from errors import UserError
from intake.base import Frame, reason, size_of
from intake.pictures import cropped, refuse_large, seen, too_large

STILL = (".gif",)
KINDS = (*STILL, ".mp4", ".webm", ".mov", ".mkv", ".avi", ".m4v")
MOST, PIXELS = 20_000, 2_000_000_000  # frames, and pixels of all of them, 240 of 4K: more is no turn
LOST = 0.02  # of the frames that a file says it has, and one more, may be missing: containers count differently
PANELS = 4  # squares side by side that a frame may be a row of
MISSING = "it is a video, which needs a library that is not here: uv sync --extra renders"


@dataclass(frozen=True)
class Turntable:
    """A file of `n` frames, of which those at `chosen` are views."""

    file: Path
    n: int
    chosen: tuple[int, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.file,)

    @property
    def how(self) -> str:
        return f"{len(self.chosen)} of {self.n} frames, square panels cut to the first"

    @property
    def orbit(self) -> None:
        return None

    def __len__(self) -> int:
        return len(self.chosen)

    def frames(self) -> Iterator[Frame]:
        wanted = set(self.chosen)
        for k, (w, h, pixels) in enumerate(_decoded(self.file)):
            if k in wanted:
                with _named(self.file):
                    rgb = pixels()
                panels = w // h if w % h == 0 and w // h <= PANELS else 1
                yield Frame(cropped(Frame(rgb, None), panels).rgb, None)


def source(file: Path, views: int) -> Turntable:
    """Raises UserError where the library is missing, and for a file that is empty, damaged, or no turn."""
    size_of(file)
    if file.suffix.lower() not in STILL and not find_spec("av"):
        raise UserError(MISSING)
    n = _gif_frames(file) if file.suffix.lower() in STILL else sum(1 for _ in _decoded(file))
    if n < 2:
        raise UserError(f"{file.name} has {n} frames: a turn has more")
    views = min(views, n)
    return Turntable(file, n, tuple(round(k * n / views) for k in range(views)))


class Decoded(NamedTuple):
    """`pixels` gives the picture (H,W,3), for as long as the next one is not asked for."""

    width: int
    height: int
    pixels: Callable[[], UInt8[np.ndarray, "H W 3"]]


def _decoded(file: Path) -> Iterator[Decoded]:
    """The frames in turn. Raises UserError where the file is damaged, or has too many or too large ones."""
    read, pixels = _gif if file.suffix.lower() in STILL else _video, 0
    with _named(file):
        for k, frame in enumerate(read(file)):
            pixels += frame.width * frame.height
            if k >= MOST or pixels > PIXELS:
                raise _too_long(file, k, frame.width, frame.height)
            yield frame


@contextlib.contextmanager
def _named(file: Path) -> Iterator[None]:
    """Whatever goes wrong while a file is read becomes a UserError that names it."""
    try:
        yield
    except UserError:
        raise
    except MemoryError as error:
        raise UserError(f"{file.name} does not fit into memory") from error
    except Image.DecompressionBombError as error:
        raise too_large(file) from error
    except Exception as error:  # of many kinds: what libraries say of damaged files
        raise UserError(f"{file.name} is damaged ({reason(error).replace(str(file), file.name)})") from error


def _gif_frames(file: Path) -> int:
    """How many there are, none of them decoded: a small file can hold thousands of large ones. Raises UserError."""
    with _named(file), Image.open(file) as image:
        refuse_large(file, *image.size)
        n: int = getattr(image, "n_frames", 1)
        if n > MOST or n * math.prod(image.size) > PIXELS:
            raise _too_long(file, n, *image.size)
    return n


def _too_long(file: Path, n: int, width: int, height: int) -> UserError:
    return UserError(f"{file.name} has {n} frames of {width} x {height}, or more: no turn")


def _gif(file: Path) -> Iterator[Decoded]:
    with Image.open(file) as image:
        refuse_large(file, *image.size)
        for frame in ImageSequence.Iterator(image):
            yield Decoded(*frame.size, partial(_rgb, frame))


def _rgb(frame: Image.Image) -> UInt8[np.ndarray, "H W 3"]:
    return seen(frame).rgb


def _video(file: Path) -> Iterator[Decoded]:
    import av

    with av.open(str(file), options={"protocol_whitelist": "file"}) as container:
        if not container.streams.video:
            raise UserError(f"{file.name} has no pictures")
        stream = container.streams.video[0]
        refuse_large(file, stream.codec_context.width, stream.codec_context.height)
        n = 0
        for n, frame in enumerate(container.decode(stream), 1):
            if frame.is_corrupt:
                raise UserError(f"{file.name} is damaged (frame {n - 1} lacks a part)")
            yield Decoded(frame.width, frame.height, partial(frame.to_ndarray, format="rgb24"))
        seconds = (container.duration or 0) / av.time_base
        said = stream.frames or round(seconds * (stream.average_rate or 0))
        if n + 1 < (1 - LOST) * said:
            raise UserError(f"{file.name} is cut short: {n} of {said} frames")
