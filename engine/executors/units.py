"""One function for each of many jobs' folders, on the nodes of a cluster or in processes of this machine: scores,
exports, pictures of a page.

A unit is a job's folder. What its function writes lies there, what it returns travels back. The units of a lost node,
or of a process that died, are done again elsewhere.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rich.progress import track

from engine.claims import roster
from engine.executors import Where, executor_of
from engine.executors.base import Away, Ended, Executor, Fatal, Lost, Over, Room, Work
from engine.executors.local import Processes
from engine.job import Setup
from engine.machine import device_of
from engine.optimize import Watcher
from engine.remote.mirror import ALL
from engine.remote.sharing import Part, part_in
from engine.together import Scene
from errors import UserError, cause
from say import Console

WORTH = 4  # units for which processes of this machine are worth their start
LOSSES = 3  # processes and nodes that a unit may lose: it may be what they die of
OVER = "{}: {} of {} jobs are done. The same command goes on from where it was."
Function = Callable[[Path, Any, str], Any]  # of a job's folder, what else it is given, and a device; nodes import it


class Unit(NamedTuple):
    """A job's `path` in its run, and what `more` the function is given."""

    path: Path
    more: Any = None


class Lack(NamedTuple):
    """Why a unit came to no result."""

    why: str


@dataclass(frozen=True)
class Carried:
    """What a place does: an engine.worker.Task of units. A UserError ends all; whatever else goes wrong is the unit's
    own lack."""

    function: Function
    level: int = ALL

    def __call__(self, work: Work, run: Path, setup: Setup, line: Watcher, scene: Scene) -> dict[str, Any]:
        return {"result": self.result(Unit(work[0].path, work[1]["more"]), run, setup.device, part_in(run))}

    def result(self, unit: Unit, run: Path, device: str, part: Part) -> Any:
        try:
            with part.at(unit.path, self.level):
                return self.function(run / unit.path, unit.more, device)
        except UserError:
            raise
        except Exception as error:
            return Lack(f"it could not be done: {cause(error)}")


def done(
    run: Path,
    units: Sequence[Unit],
    function: Function,
    where: Where,
    console: Console,
    title: str,
    weights: Sequence[str | None] = (),
    level: int = ALL,
) -> Iterator[tuple[Unit, Any]]:
    """Do all units at once, as many as there is room for, with a bar; gives each with its result, or a Lack, as they
    end. Of few units on this machine, and where it has room for one at a time, in this process. `weights`: folders of
    what a place loads; `level`: what a node needs of a job that lies in a store.

    Raises UserError where there is no cluster, where its head is lost, and what the function raises of that kind."""
    if not units:
        return
    task = Carried(function, level)
    executor = Processes(task) if where.is_here else executor_of(where.executor, where.address, task)
    device = executor.device(where.here if where.is_here else where.device)
    results: Iterable[tuple[Unit, Any]]
    if where.is_here and (len(units) < WORTH or executor.room(where.jobs, device, len(units), weights) == 1):
        first = device_of(where.here)
        results = ((unit, task.result(unit, run, first, Part())) for unit in units)
    else:
        results = Spread(run, units, executor).done(device, weights, where.jobs)
    yield from track(results, title, len(units), console=console, transient=True)


class Spread:
    """Units on their way through the places of an executor, one at a time in each."""

    def __init__(self, run: Path, units: Sequence[Unit], executor: Executor):
        self.run, self.executor, self.count = run, executor, len(units)
        self.waiting, self.losses = deque(units), Counter[Path]()
        self.sitting: dict[int, Unit | None] = {}
        self.results: deque[tuple[Unit, Any]] = deque()

    def done(self, device: str, weights: Sequence[str | None], jobs: str = "auto") -> Iterator[tuple[Unit, Any]]:
        places = self.executor.room(jobs, device, self.count, weights)
        self.sitting, ended = dict.fromkeys(range(places)), 0
        with roster(self.run, {}):
            self.executor.start(self.run, Setup("none", device, threads=1), places)
            try:
                while ended < self.count:
                    self._fill()
                    for event in self.executor.events():
                        self._take(event, ended)
                    while self.results:
                        ended += 1
                        yield self.results.popleft()
            finally:
                self.executor.stop()

    def _fill(self) -> None:
        for place, unit in self.sitting.items():
            if unit is None and self.waiting:
                self._give(place, self.waiting.popleft())

    def _give(self, place: int, unit: Unit | None) -> None:
        """A unit, or, to a place whose seat is free, nothing, with which it ends."""
        self.sitting[place] = unit
        self.executor.submit(place, [(unit, {"more": unit.more})] if unit else [])  # type: ignore[list-item]

    def _take(self, event: Any, ended: int) -> None:
        match event:
            case Fatal(sentence):
                raise UserError(sentence)
            case Over(sentence):
                raise UserError(OVER.format(sentence, ended + len(self.results), self.count))
            case Lost(place, cause):
                self._again(place, cause)
            case Away(place, cause):
                self._again(place, cause)
                del self.sitting[place]
            case Room(places):
                for place in range(places):
                    if len(self.sitting) < places:
                        self.sitting.setdefault(place, None)
            case Ended(path, record):
                place, unit = next((p, u) for p, u in self.sitting.items() if u and u.path == path)
                self.results.append((unit, record["result"]))
                self._give(place, self.waiting.popleft() if self.waiting else None)

    def _again(self, place: int, cause: str) -> None:
        unit, self.sitting[place] = self.sitting[place], None
        if unit is None:
            return
        self.losses[unit.path] += 1
        if self.losses[unit.path] > LOSSES:
            self.results.append((unit, Lack(f"it could not be done: {cause}")))
        else:
            self.waiting.append(unit)
