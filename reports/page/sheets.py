"""A job's views as one picture, its frames side by side: what a page turns without a request a view.

A sheet is named by a checksum of what it shows: the same pictures are written once, and not again by the next report.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import NamedTuple

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from errors import UserError
from eval import views
from files import digest_of, replaced

FORM = "2"  # of a sheet: raise it where the same views give another
SIDE = 128  # pixels of a frame's longer edge, at most
FRAMES = 60  # of a turn, at most
WIDEST = 16383  # pixels of a WebP picture
QUALITY, EFFORT = 82, 2  # of WebP: 3 takes twice as long for a file smaller by a twentieth
KINDS = ("rgb", "opacity", "normal")
WRITTEN: dict[Path, Lock] = {}  # by threads of this process
Sizes = Mapping[str, tuple[int, int]]
NONE: Sizes = MappingProxyType({})


class Sheet(NamedTuple):
    """`file` lies in the page's folder; `frames` of `width` x `height` pixels stand side by side, the k-th seen from
    azimuth 360 k / frames."""

    file: str
    frames: int
    width: int
    height: int


def of_job(job: Path, kind: str, into: Path, there: Sizes = NONE) -> Sheet | None:
    """The sheet of a job's pictures of one of KINDS, in INTO, unless another page has it `there`; None where there are
    no pictures. Raises UserError for damaged ones."""
    files = views.numbered(job, kind)
    if not files:
        return None
    read = {file: file.read_bytes() for file in (files[k] for k in picked(len(files)))}  # once: to tell, and to show
    name = f"{kind} {digest_of({file.name: content for file, content in read.items()})}"
    return _sheet(name, into, len(read), lambda: [_opened(*one, kind) for one in read.items()], there)


def of_truth(
    fingerprint: str, kind: str, into: Path, count: int, made: Callable[[], Float[Tensor, "V C H W"]]
) -> Sheet:
    """The sheet of `count` true views, which are `made` only where it is not there yet."""

    def frames() -> list[Image.Image]:
        pixels = (made() * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        return [Image.fromarray(pixels[k, ..., 0] if pixels.shape[-1] == 1 else pixels[k]) for k in picked(count)]

    return _sheet(f"truth {kind} {fingerprint}", into, len(picked(count)), frames)


def picked(views: int) -> list[int]:
    """The numbers of the views that are frames: all, or FRAMES of them at even distances."""
    n = min(views, FRAMES)
    return [round(k * views / n) for k in range(n)]


def _opened(file: Path, content: bytes, kind: str) -> Image.Image:
    try:
        with Image.open(BytesIO(content)) as image:
            return image.convert("L" if kind == "opacity" else "RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"The view {file} is damaged: {views.mend(file.parent.parent)}.") from error


def sizes(into: Path) -> Sizes:
    """Of the sheets that are in INTO, by name: the pixels of each."""
    found = {}
    for path in into.glob("*.webp"):
        with Image.open(path) as strip:
            found[path.name] = strip.size
    return found


def _sheet(
    name: str,
    into: Path,
    count: int,
    made: Callable[[], Sequence[Image.Image]],
    there: Sizes = NONE,
) -> Sheet:
    path = into / f"{sha256(f'{FORM} {name}'.encode()).hexdigest()[:20]}.webp"
    if size := there.get(path.name):
        return Sheet(f"{into.name}/{path.name}", count, size[0] // count, size[1])
    with WRITTEN.setdefault(path, Lock()):  # jobs with the same pictures have the same sheet
        if not path.exists():
            frames = _small(made())
            strip = Image.new("RGB", (count * frames[0].width, frames[0].height))
            for k, frame in enumerate(frames):
                strip.paste(frame, (k * frame.width, 0))
            replaced(path, lambda aside: strip.save(aside, "WEBP", quality=QUALITY, method=EFFORT))
    with Image.open(path) as strip:
        return Sheet(f"{into.name}/{path.name}", count, strip.width // count, strip.height)


def _small(frames: Sequence[Image.Image]) -> list[Image.Image]:
    """The frames at the size of the first, at most SIDE: large ones are averaged down."""
    first = frames[0]
    scale = min(SIDE / max(first.size), WIDEST / len(frames) / first.width, 1.0)
    size = (max(round(first.width * scale), 1), max(round(first.height * scale), 1))
    return [frame if frame.size == size else frame.resize(size, Image.Resampling.BOX) for frame in frames]
