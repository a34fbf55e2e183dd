"""What does jobs, as the queue sees it: it is given jobs, tells their news, and stops when told to.

An executor has places: a process, an actor, a machine. A place takes one or several jobs at a time, keeps its prior
between them, and ends when it has none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from engine.job import Job, Setup

Work = tuple[Job, dict[str, Any]]  # a job, and the config.json of its folder


@dataclass(frozen=True)
class Started:
    """A job has begun. `path` is the job's, here and below."""

    path: Path


@dataclass(frozen=True)
class Step:
    """So many steps of a job are done; `note` stands beside its bar."""

    path: Path
    step: int
    note: str = ""


@dataclass(frozen=True)
class Said:
    """What whoever runs the benchmark should read about a job, in one line."""

    path: Path
    text: str


@dataclass(frozen=True)
class Ended:
    """A job has ended, with its record, which lies in its folder."""

    path: Path
    record: dict[str, Any]


@dataclass(frozen=True)
class Busy:
    """A job was not begun, or not ended: another command has it. Its seat is free, as after one that has ended."""

    path: Path


@dataclass(frozen=True)
class Lost:
    """A place is gone, with all jobs that sat there: nobody has written their records."""

    place: int
    cause: str


@dataclass(frozen=True)
class Away:
    """A place is gone with its machine, through no fault of the jobs that sat there: they are to be done elsewhere, and
    nothing comes to that place until there is `Room`."""

    place: int
    cause: str


@dataclass(frozen=True)
class Room:
    """There is room now for so many places in all."""

    places: int


@dataclass(frozen=True)
class Over:
    """No job can go on here, through no fault of anybody's: in a sentence, why. What is done is done."""

    sentence: str


@dataclass(frozen=True)
class Fatal:
    """No job can go on: the sentence of a UserError."""

    sentence: str


Event = Started | Step | Said | Ended | Busy | Lost | Away | Room | Over | Fatal


class Executor(Protocol):
    """Calls come from one thread: `device` and `room` for a plan; `start`, then `submit` and `events` by turns, and
    `stop`, whatever has happened."""

    def device(self, name: str) -> str:
        """What jobs run on, as `Setup` has it, where `--device` says `name`. Raises UserError for what is not there."""

    def room(self, jobs: str, device: str, missing: int, folders: Iterable[str | None]) -> int:
        """How many places there are to be at the start where `--jobs` says `jobs`, for so many that are `missing`.
        `folders` hold the weights that each reads."""

    def start(self, run: Path, setup: Setup, places: int) -> None:
        """Make ready: jobs of the folder `run` will come, for places 0 ... places - 1."""

    def submit(self, place: int, jobs: list[Work]) -> None:
        """A place's first jobs, which make it anew; then, after each that has ended or is busy, what takes its seat: an
        empty list where nothing does. A place that is given nothing and has nothing left ends."""

    def events(self) -> Iterable[Event]:
        """Wait until there is news, a second at most, and tell it."""

    def end(self, place: int) -> None:
        """End a place at once, with all jobs that sit there: none of them is told of any more."""

    def stop(self) -> bool:
        """End all places, each job with a checkpoint; returns whether all came to write theirs. May be called again."""
