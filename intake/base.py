"""What is handed in, before it is a job: where an object stands in a run, and what its pictures are read from."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from jaxtyping import Float, UInt8
from numpy import ndarray

from errors import UserError, first_line
from intake.names import Names, Place
from scene.cameras import Cameras

MOST_FILES = 2_000_000  # of a path: more is a disk, not a result
ASIDE = {"__pycache__", "__MACOSX", "node_modules"}


class Frame(NamedTuple):
    """A view in 8 bits, over its background; opacity where it is known, and depth: how far along its ray what a pixel
    shows lies, in scene units, 0 where nothing is."""

    rgb: UInt8[ndarray, "H W 3"]
    opacity: UInt8[ndarray, "H W"] | None
    depth: Float[ndarray, "H W"] | None = None


class Source(Protocol):
    """What an object's pictures are read from. `how` says what is done to them; equal files and `how`, equal views."""

    @property
    def files(self) -> tuple[Path, ...]: ...

    @property
    def how(self) -> str: ...

    @property
    def orbit(self) -> dict[str, float] | None:
        """From where they are seen, where that is known."""

    def __len__(self) -> int:
        """Of views. Raises UserError where the files are damaged."""

    def frames(self) -> Iterator[Frame]:
        """The views in order, one turn counter-clockwise seen from above, the first at the front. Raises UserError
        where a file is damaged."""


@dataclass(frozen=True)
class Unit:
    """An object as it was handed in, by the title of the layout that it was in."""

    place: Place
    source: Source
    where: str
    layout: str


class Refused(NamedTuple):
    """What cannot be taken, and why in a sentence; its place where that is known, so that a table counts it."""

    where: str
    why: str
    place: Place | None = None
    layout: str = ""


def reason(error: BaseException) -> str:
    """What an error says, without the path of this machine that the system's and FFmpeg's end with."""
    return getattr(error, "strerror", None) or first_line(error)


def size_of(file: Path) -> int:
    """Bytes of a file. Raises UserError where it has none, is a pipe or a device, whose reading might never end, or
    cannot be asked: a link to nowhere, no permission."""
    try:
        held = file.stat()
    except OSError as error:
        raise UserError(f"{file.name} cannot be read ({reason(error)})") from error
    if not stat.S_ISREG(held.st_mode):
        raise UserError(f"{file.name} is no plain file")
    if not held.st_size:
        raise UserError(f"{file.name} is empty")
    return held.st_size


class Found(NamedTuple):
    """`notes` are sentences for the reader."""

    units: list[Unit]
    refused: list[Refused]
    notes: list[str]


@dataclass(frozen=True)
class Asked:
    """How a path is to be read. `names` knows the prompts; `method` is what the path's one method is called. Meshes are
    seen by `cameras`, at `resolution`, from the `orbit` of the suite; with `fit` they are moved and scaled into its
    frame; `up` is their axis, "y" or "z", or "" for that of their format."""

    names: Names
    cameras: Cameras
    orbit: dict[str, float]
    resolution: int
    method: str | None = None
    fit: bool = True
    up: str = ""

    def place(self, tree: Tree, parts: Sequence[str]) -> Place:
        """Where a thing stands, by the parts of its path below the tree's root. Raises UserError where none of them
        names a prompt."""
        return self.names.place(tree.called, parts, self.method)


@dataclass
class Tree:
    """The files of a path by folder, in order; `taken` are folders and files that a layout knew."""

    root: Path
    called: str
    folders: dict[Path, list[Path]]
    taken: set[Path] = field(default_factory=set)

    @classmethod
    def of(cls, path: Path, name: str | None = None) -> Tree:
        """Links to folders are followed, each folder once; hidden ones are left out. Raises UserError for too many."""
        if path.is_file():
            return cls(path.parent, name or path.absolute().parent.name, {path.parent: [path]})
        folders: dict[Path, list[Path]] = {}
        seen, count = set(), 0
        for at, inside, files in os.walk(path, followlinks=True):
            if (real := os.path.realpath(at)) in seen:
                inside.clear()
                continue
            seen.add(real)
            inside[:] = sorted(name for name in inside if name[0] != "." and name not in ASIDE)
            folders[Path(at)] = [Path(at, name) for name in sorted(files) if name[0] != "."]
            count += len(files)
            if count > MOST_FILES:
                raise UserError(f"The folder {path} has more than {MOST_FILES} files: name a part of it.")
        return cls(path, name or path.resolve().name, folders)

    def free(self) -> Iterator[tuple[Path, list[Path]]]:
        """Folders with the files in them that no layout has taken."""
        for folder, files in self.folders.items():
            if not self.taken.intersection((folder, *folder.parents)):
                yield folder, [file for file in files if file not in self.taken]

    def parts(self, path: Path) -> tuple[str, ...]:
        """Of a path below the root."""
        return path.relative_to(self.root).parts

    def shown(self, path: Path) -> str:
        """A path as it is told to people and kept in a run: from the root's name on, without what lies above it."""
        return "/".join((self.called, *self.parts(path))).encode("utf-8", "replace").decode()
