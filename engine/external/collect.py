"""From what an engine left behind to the views of a job: read as `intake` reads everybody's, in our numbering."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from engine.external.spec import Renders
from engine.recipes.base import Orbit
from errors import UserError
from eval.views import ORBIT
from files import write_json
from intake import mesh, pictures, threestudio, video
from intake.base import Asked, Frame, Source, Tree
from intake.names import Names
from intake.write import write_views
from prompts import Prompt


@dataclass(frozen=True)
class Turn:
    """A part of a video's frames that is one turn: a source as intake has them."""

    file: Path
    span: tuple[float, float]
    views: int

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.file,)

    @property
    def how(self) -> str:
        return f"{self.views} frames of {self.span[0]:g} to {self.span[1]:g} of the video"

    @property
    def orbit(self) -> None:
        return None

    def __len__(self) -> int:
        return self.views

    def frames(self) -> Iterator[Frame]:
        n = video.source(self.file, 1).n
        first, last = (round(share * n) for share in self.span)
        chosen = tuple(first + round(k * (last - first) / self.views) for k in range(self.views))
        if len(set(chosen)) < self.views:
            raise UserError(f"{self.file.name} has {last - first} frames of a turn, fewer than {self.views} views")
        yield from video.Turntable(self.file, n, chosen).frames()


def views(renders: Renders, files: str, out: Path, prompt: Prompt, orbit: Orbit, into: Path) -> None:
    """Write the views of what lies in `out` into a folder; `files` is the spec's pattern, filled in. Meshes are seen
    from `orbit`. Raises UserError where there are none, too few, or damaged ones."""
    source = source_of(renders, files, out, prompt, orbit)
    if len(source) < orbit.views:
        raise UserError(f"it left {len(source)} views of {orbit.views}")
    write_views(source, into)
    if renders.orbit and source.orbit is None:
        seen = {**asdict(orbit), **renders.orbit, "views": len(source), "resolution": _height(into)}
        write_json(into / ORBIT, seen)


def source_of(renders: Renders, files: str, out: Path, prompt: Prompt, orbit: Orbit) -> Source:
    asked = Asked(Names((prompt,), given=True), orbit.cameras(), asdict(orbit), orbit.resolution, prompt.id)
    if renders.layout == "threestudio":
        return _threestudio(out, asked)
    found = sorted(file for file in out.glob(files) if file.is_file())
    if not found:
        raise UserError(f"it left no renders: nothing in its output is {files}")
    if renders.layout == "views":
        return _numbered(found, files)
    if len(found) > 1:
        raise UserError(f"it left {len(found)} files {files}, where one is expected: {found[0].name}, {found[1].name}")
    if renders.layout == "video":
        return Turn(found[0], renders.turn, orbit.views)
    return mesh.source(found[0], asked)


def _threestudio(out: Path, asked: Asked) -> Source:
    runs = threestudio.runs_of(Tree.of(out))
    if len(runs) != 1:
        raise UserError(f"it left {len(runs) or 'no'} runs of threestudio's, where one is expected")
    ((folder, files),) = runs.items()
    return threestudio.source_of(threestudio.run_of(folder, files), asked)


def _numbered(found: list[Path], files: str) -> Source:
    if len({file.parent for file in found}) > 1:
        raise UserError(f"its renders {files} lie in several folders: {found[0].parent.name}, {found[-1].parent.name}")
    kinds = pictures.by_kind(found)
    shown = [kind for kind in kinds if kind not in pictures.OTHERS]
    if len(shown) != 1:
        raise UserError(f"its pictures {files} are numbered in {len(shown)} ways, where one is expected")
    taken = pictures.in_turn(kinds[shown[0]])
    return pictures.Numbered(taken, pictures.paired(kinds, taken))


def _height(into: Path) -> int:
    return pictures.read(next(into.glob("rgb_*"))).rgb.shape[0]
