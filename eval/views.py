"""The pictures of a job: those of this benchmark's folders, or of any method's.

<method>/<prompt-id>/<seed>/views/{rgb,opacity}_000.png ...    with config.json, record.json
<method>/<prompt-id>/<seed>/rgb_000.png ...                    made elsewhere: one turn, the first view at the front

Numbers are read as numbers, with or without zeros in front, from 0 or from 1; PNG or JPEG.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float
from PIL import Image

from errors import UserError
from files import digest, is_short, read_json
from records import RECORD, read_record

if TYPE_CHECKING:
    from torch import Tensor

    from scene.cameras import Cameras

ORBIT = "orbit.json"  # beside the views: from where they are seen, and SUM, their checksum
SUM = "pictures"
KINDS = (".png", ".jpg", ".jpeg")
VIEW = re.compile(r"(rgb|opacity|normal|depth)_(\d+)", re.ASCII)
DEEP, PER_UNIT = "I;16", 5000  # a depth's mode, and what a scene unit is in it: up to 13 units, by .0002; 0 is none


class Depths(NamedTuple):
    """What gives the depth of a job's V views, from where they are seen, and a text that changes when these do. `at`
    takes pixels of an edge to (V,1,edge,edge): how far along its ray what a pixel shows lies, in scene units, infinite
    where it is not solid. It raises UserError where it cannot."""

    fingerprint: str
    cameras: Cameras
    at: Callable[[int], Tensor]


class Pictures(NamedTuple):
    """V views at azimuths 360 v / V. `opacity` is None where it is not known, and so are `depths`."""

    rgb: Float[Tensor, "V 3 H W"]
    opacity: Float[Tensor, "V 1 H W"] | None
    depths: Depths | None = None


def jobs(run: Path) -> list[Path]:
    """The job folders of a run, sorted: those with a record, or with pictures of whatever name. Raises UserError where
    there are none."""
    if not run.is_dir():
        raise UserError(f"There is no run in {run}: the folder does not exist.")
    folders = [f for f in sorted(run.glob("[!.]*/[!.]*/[!.]*")) if f.is_dir()]
    found = [f for f in folders if (f / "record.json").exists() or any(map(_is_picture, _folder(f).iterdir()))]
    if not found:
        raise UserError(
            f"There are no jobs in {run}: expected <method>/<prompt-id>/<seed>/ with record.json or rgb_000.png."
        )
    return found


def orbit_of(job: Path) -> dict[str, Any]:
    """From where a job's views are seen, as engine.recipes.base.Orbit has it: as is said beside them, or, of jobs of
    before that was so, in their settings; {} for pictures made elsewhere, and where there are none."""
    if not has_pictures(job):
        return {}
    return orbit_beside(job) or job_json(job / "config.json").get("recipe", {}).get("orbit", {})


def orbit_beside(job: Path) -> dict[str, Any]:
    """The same as is said beside the views, be these here or in a store; {} where nothing is."""
    beside = job / "views" / ORBIT
    return {k: v for k, v in read_json(beside, mend(job)).items() if k != SUM} if beside.exists() else {}


def job_json(path: Path) -> dict[str, Any]:
    """A JSON file of a job's folder; {} where there is none, as in folders made elsewhere. Raises UserError where it is
    damaged."""
    if not path.exists():
        return {}
    return (read_record if path.name == RECORD else read_json)(path, mend(path.parent))


def strays(run: Path) -> list[Path]:
    """Folders of a run that hold views, but are no <method>/<prompt-id>/<seed>/ (or its views/)."""
    depths = ("[!.]*", "[!.]*/[!.]*", "[!.]*/[!.]*/[!.]*/[!.]*")
    folders = {file.parent for depth in depths for file in run.glob(f"{depth}/rgb_*") if _is_picture(file)}
    return sorted(f for f in folders if not (f.name == "views" and f.parent.parent.parent.parent == run))


def has_pictures(job: Path) -> bool:
    return any(file.stem.startswith("rgb_") and _is_picture(file) and VIEW.fullmatch(file.stem)
               for file in _folder(job).iterdir())  # fmt: skip


def numbers(job: Path, kind: str) -> list[int]:
    """The numbers of a job's pictures of a kind, rgb or opacity, in order."""
    return [number for number, _ in _numbered(_folder(job), kind)]


def checksum(job: Path) -> str:
    """Of a job's pictures, 16 hex digits: other pictures, other scores."""
    return digest(file for kind in ("rgb", "opacity") for _, file in _numbered(_folder(job), kind))[:16]


def are_whole(job: Path) -> bool:
    """Whether a job's pictures are those that were rendered, as far as that was written down."""
    beside = job / "views" / ORBIT
    return not beside.exists() or read_json(beside, mend(job)).get(SUM) in (None, checksum(job))


def knows_opacity(job: Path) -> bool:
    return bool(_numbered(_folder(job), "opacity"))


def read(job: Path) -> Pictures:
    """The views of a job, in order. Raises UserError for none, a gap, a damaged one, sizes that differ, and others than
    were rendered."""
    folder = _folder(job)
    files = _numbered(folder, "rgb")
    if not files:
        raise UserError(f"There are no views in {folder}: expected rgb_000.png and so on.")
    first = min(files[0][0], 1)  # people count from 0 or from 1
    for v, (number, file) in enumerate(files, first):
        if number < v:
            raise UserError(f"The view {file} is there twice: its number is that of another.")
        if number > v:
            name = f"rgb_{v:0{len(file.stem) - len('rgb_')}d}{file.suffix}"
            raise UserError(f"The view {name} is missing in {folder}: its views must be numbered without a gap.")
    rgb, alpha = _stack([file for _, file in files], "RGB", job), _opacity(job, files)
    if not are_whole(job):
        run = job.parent.parent.parent
        raise UserError(
            f"The views of {job} are not those that were rendered of its scene: "
            f"run_benchmark.py render {run} makes them again."
        )
    return Pictures(rgb, alpha)


def _opacity(job: Path, files: list[tuple[int, Path]]) -> Tensor | None:
    """Of the views that are these files; None where none has any."""
    if not (opacity := dict(_numbered(_folder(job), "opacity"))):
        return None
    named = [(n, file.with_name(f"opacity{file.stem[3:]}.png")) for n, file in files]
    return _stack([opacity.get(n, expected) for n, expected in named], "L", job)


def depth_beside(job: Path) -> tuple[Float[Tensor, "V 1 H W"], Float[Tensor, "V 1 H W"]]:
    """How far along its ray what a pixel shows lies, in scene units, 0 where nothing is, of views that have it beside
    them as depth_000.png, and their opacity. Raises UserError where these are damaged, or not as many as the views."""
    folder = _folder(job)
    deep, files = [file for _, file in _numbered(folder, "depth")], _numbered(folder, "rgb")
    opacity = _opacity(job, files)
    if len(deep) != len(files) or opacity is None:
        raise UserError(f"The depths of {job} are not as many as its views: {mend(job)}.")
    return _stack(deep, DEEP, job), opacity


def _folder(job: Path) -> Path:
    return job / "views" if (job / "views").is_dir() else job


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in KINDS


def numbered(job: Path, kind: str) -> list[Path]:
    """A job's pictures of a kind, "rgb", "opacity" or "normal", in the order of their numbers; [] where there are
    none."""
    return [file for _, file in _numbered(_folder(job), kind)]


def _numbered(folder: Path, kind: str) -> list[tuple[int, Path]]:
    """The pictures of a kind with their numbers, in order of these."""
    found = [(VIEW.fullmatch(file.stem), file) for file in folder.iterdir() if _is_picture(file)]
    return sorted((int(name[2]), file) for name, file in found if name and name[1] == kind)


def _stack(files: list[Path], mode: str, job: Path) -> Tensor:
    import torch  # here: tables are made without

    first = _picture(files[0], mode, job)
    stack = torch.empty(len(files), *first.shape)  # once: large views are not held twice
    for k, file in enumerate(files):
        picture = _picture(file, mode, job) if k else first
        if picture.shape != first.shape:
            size, other = (f"{p.shape[2]}x{p.shape[1]}" for p in (picture, first))
            raise UserError(f"The view {file} is {size} where the first is {other}: all views of a job have one size.")
        stack[k] = picture
    return stack


def _picture(file: Path, mode: str, job: Path) -> Tensor:
    """(C,H,W) in [0, 1]. A transparent picture has no background to score, and is refused."""
    import torch

    try:
        with Image.open(file) as image:
            if mode == DEEP:
                if image.mode != DEEP:
                    raise UserError(f"The depth {file} is of mode {image.mode}: expected 16 bits, {PER_UNIT} a unit.")
                return torch.from_numpy(np.array(image).astype(np.float32))[None] / PER_UNIT
            seen = image.convert("RGBA") if image.mode in ("P", "RGBA", "LA", "PA") else image
            opaque = seen.mode == "RGBA" and np.array(seen)[..., 3].min() == 255
            if seen.mode not in ("RGB", "L") and not opaque:
                raise UserError(f"The view {file} is of mode {image.mode}: save it as 8-bit RGB over its background.")
            pixels = np.array(seen.convert(mode))
            if image.format == "PNG" and is_short(file):
                raise ValueError("it ends before its last row")
    except FileNotFoundError as error:
        raise UserError(f"The view {file} is missing: {mend(job)}.") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"The view {file} is damaged: {mend(job)}.") from error
    return torch.from_numpy(pixels).reshape(*pixels.shape[:2], -1).permute(2, 0, 1).float() / 255


def mend(job: Path) -> str:
    """What brings a job's files back; what this program did not make is not to be deleted."""
    ours = (job / "config.json").exists()
    return f"delete {job} and run the same command again" if ours else "put it there again"
