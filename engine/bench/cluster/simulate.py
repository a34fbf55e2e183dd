"""A thousand places and a hundred thousand jobs, on a clock that jumps from one end of a job to the next.

The queue and the store are the real ones: every job is claimed, and its folder written and put in place. Only the hours
of the jobs pass in no time, so that what is left is what the one process that gives jobs away has to do itself.
"""

from __future__ import annotations

import heapq
import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console

from engine.bench.cluster.standin import jobs_of
from engine.executors.base import Away, Ended, Event, Room, Started, Step, Work
from engine.job import Setup
from engine.queue import launch
from engine.store import Store

SECONDS = (1200.0, 2400.0)  # of a job
NODE = 8  # places that are lost together
PACE = 60.0  # seconds between two steps that are told; a real place tells every 5 s where there are a thousand


class Imagined:
    """An executor whose jobs take as long as is said, on a clock of its own. Every so many ends a node is lost, and
    with `stored`, each end is written."""

    def __init__(self, stored: bool, lost_every: int):
        self.stored, self.lost_every = stored, lost_every
        self.rng, self.now, self.order, self.ended, self.lost = random.Random(0), 0.0, 0, 0, 0
        self.due: list[tuple[float, int, int, Work]] = []  # when, a number, place, job
        self.at: dict[Path, tuple[int, int]] = {}  # where a job sits, and since which number
        self.storing = 0.0

    def device(self, name: str) -> str:
        return "cpu"

    def room(self, jobs: str, device: str, missing: int, folders: Iterable[str | None]) -> int:
        return 1

    def start(self, run: Path, setup: Setup, places: int) -> None:
        self.run, self.count = run, places

    def submit(self, place: int, jobs: list[Work]) -> None:
        for work in jobs:
            self.order += 1
            self.at[work[0].path] = place, self.order
            self._plan(self.now + self.rng.uniform(*SECONDS), self.order, place, work)

    def events(self) -> Iterator[Event]:
        at, number, place, work = heapq.heappop(self.due)
        job, config = work
        if self.at.get(job.path) != (place, number):
            return  # its node was lost meanwhile
        self.now, self.ended = at, self.ended + 1
        del self.at[job.path]
        yield Started(job.path)
        for step in range(1, int((SECONDS[0] + SECONDS[1]) / 2 / PACE)):
            yield Step(job.path, step)
        yield Ended(job.path, self._stored(job, config))
        if self.ended % self.lost_every == 0:
            yield from self._lose(place // NODE * NODE)

    def end(self, place: int) -> None:
        pass

    def stop(self) -> bool:
        return True

    def _plan(self, at: float, number: int, place: int, work: Work) -> None:
        heapq.heappush(self.due, (at, number, place, work))

    def _stored(self, job: Any, config: dict[str, Any]) -> dict[str, Any]:
        record = {"status": "finished", "step": job.recipe.steps, "steps": job.recipe.steps, "seconds": 1.0}
        if not self.stored:
            return record
        begun, store = time.monotonic(), Store(self.run, job)
        with store.opened(config):
            record = store.finish(record)
        self.storing += time.monotonic() - begun
        return record

    def _lose(self, first: int) -> Iterator[Event]:
        """A node goes with its places, and another comes."""
        gone = range(first, min(first + NODE, self.count))
        self.lost += 1
        self.at = {path: where for path, where in self.at.items() if where[0] not in gone}
        for place in gone:
            yield Away(place, "its node is gone")
        yield Room(self.count)


@dataclass(frozen=True)
class Found:
    """What a plan costs: seconds of the process that gives jobs away, and of the store, in all; hours that pass by
    the plan's clock; nodes that were lost."""

    places: int
    jobs: int
    queue: float
    store: float | None
    hours: float
    lost: int
    twice: int


def simulated(run: Path, places: int, count: int, stored: bool, lost_every: int = 1000) -> Found:
    """Raises RuntimeError where a job was lost."""
    jobs = jobs_of(count, 100)
    configs = {job.path: {"key": f"{job.seed:012x}"} for job in jobs}
    executor, setup = Imagined(stored, lost_every), Setup("none", "cpu", 1)
    begun = time.process_time() if not stored else time.monotonic()
    records = launch(run, jobs, configs, setup, places, Console(file=StringIO()), executor=executor)
    spent = (time.process_time() if not stored else time.monotonic()) - begun
    if len(records) != count or any(record["status"] != "finished" for record in records.values()):
        raise RuntimeError(f"{count - len(records)} of {count} jobs were lost")
    store = executor.storing if stored else None
    return Found(
        places, count, spent - (store or 0.0), store, executor.now / 3600, executor.lost, executor.ended - count
    )


def told(found: Found) -> str:
    each = 1000 * found.queue / found.jobs
    said = (
        f"{found.jobs} jobs at {found.places} places: all ended once, {found.hours:.1f} hours of the plan's clock, "
        f"{found.lost} nodes of {NODE} places lost\n"
        f"the queue took {found.queue:.1f} s, {each:.2f} ms a job"
    )
    if found.store is not None:
        said += f"; the store {found.store:.1f} s, {1000 * found.store / found.jobs:.1f} ms a job"
    busy = 100 * found.queue / (3600 * found.hours)
    return said + f"; giving jobs away keeps one core busy for {busy:.2f} % of the time"
