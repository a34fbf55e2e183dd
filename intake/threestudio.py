"""A threestudio outputs tree: <name>/<tag>@<time>/ with configs/parsed.yaml, save/it<steps>-test, it<steps>-export.

Of several runs of a prompt and seed the newest that is finished counts: one with test renders, or else an exported
mesh, at the last step that its settings say. A test picture is a row rgb | normal | opacity. threestudio's test turn
ends where it begins; a last view that is the first again is left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from errors import UserError, first_line
from files import read_text
from intake import mesh, pictures
from intake.base import Asked, Found, Refused, Source, Tree, Unit
from intake.names import STAMP, Place
from prompts import known_or_own

TITLE = "a threestudio outputs tree, <name>/<tag>@<time>/save/it<steps>-test"
MADE = re.compile(r"it(\d{1,9})-(test|export)", re.ASCII)
LARGEST = 1 << 20  # bytes of a parsed.yaml
SAME = 2  # of 255, at most, in any pixel of a last view that is the first again


@dataclass(frozen=True)
class Run:
    """A run's folder, what its parsed.yaml says, and what was made by step: folders of test pictures, of meshes."""

    folder: Path
    settings: dict[str, Any]
    test: dict[int, list[Path]]
    export: dict[int, list[Path]]

    @property
    def age(self) -> tuple[str, float]:
        """By the time in its name, else by the disk's."""
        stamp = STAMP.search(self.folder.name)
        return (stamp[0] if stamp else "", self.folder.stat().st_mtime)

    def said(self, *path: str) -> Any:
        """A setting, None where it is not said."""
        value: Any = self.settings
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value


def find(tree: Tree, asked: Asked) -> Found:
    found = Found([], [], [])
    by_place: dict[Place, list[Run]] = {}
    runs = runs_of(tree)
    methods = methods_of(tree, runs)
    for folder, files in runs.items():
        tree.taken.add(folder)
        try:
            run = run_of(folder, files)
            by_place.setdefault(place_of(tree, asked, run, methods[folder.parent]), []).append(run)
        except UserError as error:
            found.refused.append(Refused(tree.shown(folder), str(error), None, TITLE))
    for place, several in by_place.items():
        take(found, tree, asked, place, several, TITLE)
    return found


def take(found: Found, tree: Tree, asked: Asked, place: Place, runs: list[Run], title: str) -> None:
    """The newest finished of several runs becomes a unit; where none is, the newest is refused."""
    runs = sorted(runs, key=lambda run: run.age, reverse=True)
    reasons = []
    for run in runs:
        try:
            source = source_of(run, asked)
        except UserError as error:
            reasons.append(str(error))
            continue
        found.units.append(Unit(place, source, tree.shown(run.folder), title))
        if len(runs) > 1:
            found.notes.append(
                f"Of {len(runs)} runs of {place.path} {tree.shown(run.folder)} is taken, the newest that is finished."
            )
        return
    found.refused.append(Refused(tree.shown(runs[0].folder), reasons[0], place, title))


def runs_of(tree: Tree) -> dict[Path, dict[Path, list[Path]]]:
    """Folders of runs, with the folders below them and their files."""
    runs: set[Path] = set()
    for folder, files in tree.free():
        if MADE.fullmatch(folder.name) and folder.parent.name == "save":
            runs.add(folder.parent.parent)
        elif folder.name == "configs" and any(file.name == "parsed.yaml" for file in files):
            runs.add(folder.parent)
    runs = {run for run in runs if run == tree.root or tree.root in run.parents}
    below: dict[Path, dict[Path, list[Path]]] = {run: {} for run in sorted(runs)}
    for folder, files in tree.folders.items():
        for run in runs.intersection((folder, *folder.parents)):
            below[run][folder] = files
    return below


def run_of(folder: Path, files: dict[Path, list[Path]]) -> Run:
    made: dict[str, dict[int, list[Path]]] = {"test": {}, "export": {}}
    for inside, held in files.items():
        if inside.parent == folder / "save" and (name := MADE.fullmatch(inside.name)):
            made[name[2]][int(name[1])] = held
    return Run(folder, settings_of(folder / "configs" / "parsed.yaml"), **made)


def settings_of(file: Path) -> dict[str, Any]:
    """What a parsed.yaml says; {} where there is none. Raises UserError where it cannot be read."""
    import yaml

    if not file.is_file():
        return {}
    try:
        if file.stat().st_size > LARGEST:
            raise ValueError("it is too large")
        settings = yaml.safe_load(read_text(file))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UserError(f"its configs/parsed.yaml cannot be read ({first_line(error)})") from error
    if not isinstance(settings, dict):
        raise UserError("its configs/parsed.yaml holds no settings")
    return settings


def methods_of(tree: Tree, runs: Iterable[Path]) -> dict[Path, str]:
    """What the method of the runs in a folder is called: as the folder, or, where another is called so too, as all
    that stands above it. A folder called as another is another method: runs of one configuration in two places."""
    above = sorted({run.parent for run in runs})
    names = Counter(folder.resolve().name for folder in above)

    def called(folder: Path) -> str:
        inside = folder == tree.root or tree.root in folder.parents
        if names[name := folder.resolve().name] == 1 or not inside:
            return tree.called if folder == tree.root else name
        return "-".join(tree.parts(folder)) or tree.called

    return {folder: called(folder) for folder in above}


def place_of(tree: Tree, asked: Asked, run: Run, method: str) -> Place:
    """By the prompt and the seed of its settings; without them by its name. Raises UserError where neither says."""
    text, seed = run.said("system", "prompt_processor", "prompt"), run.said("seed")
    if not isinstance(text, str) or not text.strip():
        return asked.place(tree, tree.parts(run.folder))._replace(method=asked.method or method)
    prompt = known_or_own(asked.names.prompts, text)
    return Place(asked.method or method, prompt, seed if type(seed) is int and seed >= 0 else 0)


def source_of(run: Run, asked: Asked) -> Source:
    """The test pictures at the run's last step, else the mesh. Raises UserError where neither is finished."""
    last = run.said("trainer", "max_steps")
    for made, read in ((run.test, _test), (run.export, _export)):
        if not made:
            continue
        step = max(made)
        if type(last) is int and 0 < step < last:
            raise UserError(f"it is not finished: its newest renders are of step {step} of {last}")
        return read(run, made[step], asked)
    raise UserError("it is not finished: there is no save/it<steps>-test nor save/it<steps>-export in it")


def _test(run: Run, files: list[Path], asked: Asked) -> Source:
    kinds = pictures.by_kind(files)
    if "" not in kinds:
        raise UserError("its folder of test renders has no pictures 0.png and so on")
    views = pictures.in_turn(kinds[""])
    first = pictures.read(views[0]).rgb
    again = len(views) > 2 and _equal(first, views[-1]) and not _equal(first, views[1])
    return pictures.Numbered(views[:-1] if again else views, panels=_panels(run, *first.shape[:2]))


def _equal(first: UInt8[ndarray, "H W 3"], other: Path) -> bool:
    """Whether a view is the first again; a damaged one is found where it is read."""
    try:
        view = pictures.read(other).rgb
    except UserError:
        return False
    return first.shape == view.shape and int(np.abs(first.astype(int) - view).max()) <= SAME


def _panels(run: Run, height: int, width: int) -> int:
    """How many pictures stand side by side: by the settings' size of test views, else taken for squares."""
    said = run.said("data", "eval_width"), run.said("data", "eval_height")
    side = said[0] if type(said[0]) is int and said[0] > 0 and said[1] == height else height
    if width % side or width // side > 4:
        raise UserError(f"its test renders are {width} x {height}: no row of up to four square views")
    return width // side


def _export(run: Run, files: list[Path], asked: Asked) -> Source:
    found = [file for file in files if file.suffix.lower() in mesh.KINDS]
    if not found:
        raise UserError(f"its folder of exports has no mesh ({', '.join(mesh.KINDS)})")
    return mesh.source(found[0], asked)
