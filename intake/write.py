"""An object becomes a job folder: its views as PNG in this benchmark's numbering, and what it was made of.

    RUN/<method>/<prompt-id>/<seed>/{config.json, record.json, views/rgb_000.png, opacity_000.png, orbit.json}

The folder is renamed into place whole. One that is there of equal files, read in the same way, is left as it is.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped
from numpy import ndarray
from PIL import Image

from errors import UserError, first_line
from eval.views import ORBIT, PER_UNIT, has_pictures
from files import digest, read_json, write_json
from intake.base import Frame, Place, Refused, Source, Unit, size_of
from records import VERSION
from sources import digest_of_module

OPEN = "renders made elsewhere"
PIXELS = 64_000_000  # of all views of an object together, which judges read at once: 0.8 GB; more are averaged down
DEEPEST = 65535  # of 16 bits
MISSING = "missing"  # the status of what was handed in and cannot be read


def take(unit: Unit, run: Path, suite: str) -> bool:
    """Put an object into a run; returns whether it was not there yet. Raises UserError where its pictures are damaged,
    or its place is taken by a result of another kind."""
    folder = run / unit.place.path
    key = _key(unit)
    if _own(folder).get("key") == key and has_pictures(folder):
        return False
    aside = Path(tempfile.mkdtemp(prefix=".taking-", dir=run))
    try:
        views = write_views(unit.source, aside / "views")
        write_json(aside / "config.json", _config(unit.place, suite) | {"key": key, "source": _source(unit) | views})
        write_json(aside / "record.json", {"version": VERSION, "status": "finished"})
        _placed(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return True


def refuse_other(folder: Path) -> None:
    """Raise UserError where a place holds a result that was not handed in."""
    _own(folder)


def leave_out(refused: Refused, run: Path, suite: str) -> None:
    """Put a record in place of an object that cannot be read, so that tables count it as failed."""
    if not refused.place:
        return
    folder = run / refused.place.path
    _own(folder)
    aside = Path(tempfile.mkdtemp(prefix=".taking-", dir=run))
    try:
        source = {"layout": refused.layout, "from": refused.where}
        write_json(aside / "config.json", _config(refused.place, suite) | {"source": source})
        write_json(aside / "record.json", {"version": VERSION, "status": MISSING, "cause": refused.why})
        _placed(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def swept(run: Path) -> None:
    """Remove what a command that was killed left."""
    for left in run.glob(".taking-*"):
        shutil.rmtree(left, ignore_errors=True)


def _key(unit: Unit) -> str:
    """Twelve hex digits of all that decides the views: the files, how they are read, and the code that does."""
    for file in unit.source.files:
        size_of(file)
    try:
        files = [digest([file]) for file in unit.source.files]
    except OSError as error:
        raise UserError(f"it cannot be read ({first_line(error)})") from error
    code = [digest_of_module(name, ("intake", "scene")) for name in (__name__, type(unit.source).__module__)]
    text = json.dumps([unit.place.prompt.text, files, unit.source.how, code])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _own(folder: Path) -> dict[str, Any]:
    """The settings of what was put there before; {} where nothing was. Raises UserError for results of another kind."""
    if not folder.exists():
        return {}
    config = read_json(folder / "config.json", f"delete {folder} and run the same command again")
    if "source" not in config:
        raise UserError(f"{folder} holds a result that was not handed in: give another --out.")
    return config


def _config(place: Place, suite: str) -> dict[str, Any]:
    said = {"prompt": place.prompt.text, "prompt_id": place.prompt.id, "seed": place.seed}
    return {**said, "recipe": {"suite": suite}, "open": OPEN}


def _source(unit: Unit) -> dict[str, Any]:
    return {"layout": unit.layout, "from": unit.where, "how": unit.source.how}


def write_views(source: Source, into: Path) -> dict[str, Any]:
    """Write the views; returns how many and of what size. Raises UserError where one is damaged."""
    into.mkdir()
    size, shapes, n = None, 0, len(source)
    for k, frame in enumerate(_sized(source.frames(), n)):
        if frame.rgb.shape[:2] != (size := size or frame.rgb.shape[:2]):
            raise UserError(f"view {k} is of another size than the first")
        Image.fromarray(frame.rgb).save(into / f"rgb_{k:03d}.png")
        if frame.opacity is not None:
            Image.fromarray(frame.opacity).save(into / f"opacity_{k:03d}.png")
            shapes += 1
        if frame.depth is not None:
            deep = frame.depth * PER_UNIT
            deep[deep > DEEPEST] = 0  # too far to be told
            Image.fromarray(deep.round().astype(np.uint16)).save(into / f"depth_{k:03d}.png")
    if shapes not in (0, n):
        for file in into.glob("opacity_*"):
            file.unlink()
    if source.orbit:
        write_json(into / ORBIT, source.orbit)
    height, width = size or (0, 0)
    return {"views": n, "width": width, "height": height, "opacity": shapes == n}


def _sized(frames: Iterator[Frame], n: int) -> Iterator[Frame]:
    """The frames, averaged down where all of them together have more than PIXELS."""
    for frame in frames:
        h, w = frame.rgb.shape[:2]
        if (shrink := math.sqrt(PIXELS / (n * h * w))) >= 1:
            yield frame
            continue
        size = (max(int(w * shrink), 1), max(int(h * shrink), 1))
        depth = None if frame.depth is None else _smaller(frame.depth, size, Image.Resampling.NEAREST)
        yield Frame(_smaller(frame.rgb, size), None if frame.opacity is None else _smaller(frame.opacity, size), depth)


def _smaller(
    picture: Shaped[ndarray, "H W *C"], size: tuple[int, int], by: Image.Resampling = Image.Resampling.BOX
) -> Shaped[ndarray, "h w *C"]:
    return np.array(Image.fromarray(picture).resize(size, by))


def _placed(aside: Path, folder: Path) -> None:
    """Rename the new folder into place; an old one goes away with what is aside."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".taking-", dir=aside.parent) as old:
        if folder.exists():
            folder.rename(Path(old) / "old")
        aside.rename(folder)
