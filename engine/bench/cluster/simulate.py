"""A thousand places and a hundred thousand jobs, on a clock that jumps from one end of a job to the next.

The queue and the store are the real ones: every job is claimed, its checkpoint written where its node is lost, and its
folder put in place. Only the hours of the jobs pass in no time. The clock also runs while the queue works: a place that
is free waits for the one process that gives jobs away, as it would.
"""

from __future__ import annotations

import heapq
import itertools
import os
import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import psutil
import torch
from rich.console import Console

from engine.bench.cluster.standin import jobs_of
from engine.executors.base import Away, Ended, Event, Lost, Room, Started, Step, Work
from engine.job import Job, Setup
from engine.plan import is_done
from engine.queue import launch
from engine.request import Policy
from engine.store import Store

NODE = 8  # places that are lost together
STEPS = 1000  # of a job
RETRIES = 9  # of a job whose process is killed


@dataclass(frozen=True)
class World:
    """Seconds: a job's length lies between `lengths`; a checkpoint comes every `kept`, news of steps every `pace`; a
    process is killed after `process` of its own time in the mean, a node is lost after `node` of its own, and is back
    after `away`."""

    lengths: tuple[float, float] = (1200.0, 2400.0)
    kept: float = 20.0
    pace: float = 60.0
    process: float = 1000 * 3600.0
    node: float = 24 * 3600.0
    away: float = 600.0


@dataclass
class Tally:
    """Of all places: seconds of steps that were done again, seconds that free places waited for the queue, seconds that
    they were there; nodes lost, processes killed, ends of jobs, what went on from a checkpoint; seconds of a core that
    the store took."""

    again: float = 0.0
    waited: float = 0.0
    there: float = 0.0
    nodes: int = 0
    processes: int = 0
    ends: dict[Path, int] = field(default_factory=dict)
    resumed: int = 0
    store: float = 0.0


@dataclass
class Sitting:
    """A job at a place: since when, and the seconds of it that were done before."""

    place: int
    work: Work
    since: float
    before: float


class Imagined:
    """An executor whose jobs take as long as is said, on a clock of its own, and whose nodes and processes are lost at
    random."""

    def __init__(self, world: World, places: int):
        self.world, self.places, self.tally, self.rng = world, places, Tally(), random.Random(0)
        self.now, self.order, self.due = 0.0, itertools.count(), list[tuple[float, int, str, Any]]()
        self.free = [node for node in range(-(-places // NODE)) for _ in range(NODE)][:places]  # seats, by their node
        self.size = {node: self.free.count(node) for node in set(self.free)}
        self.at: dict[int, int] = {}  # a place's node
        self.sitting: dict[int, Sitting] = {}  # by place
        self.kept: dict[Path, float] = {}  # seconds of a job that are in its checkpoint
        self.mark = 0.0  # when the queue was told the last news, by this process's time

    def device(self, name: str) -> str:
        return "cpu"

    def room(self, jobs: str, device: str, missing: int, folders: Iterable[str | None]) -> int:
        return self.places

    def start(self, run: Path, setup: Setup, places: int) -> None:
        self.run, self.mark = run, time.thread_time()
        for node in self.size:
            self._plan(self._chance(self.world.node), "node", node)

    def submit(self, place: int, jobs: list[Work]) -> None:
        if not jobs:
            if place in self.at and place not in self.sitting:
                self.free.append(self.at.pop(place))
            return
        ((job, config),) = jobs
        if place not in self.at:
            self.at[place] = self.free.pop()
        begun = self._clock()
        self.tally.waited += begun - self.now
        it = self.sitting[place] = Sitting(place, (job, config), begun, self.kept.get(job.path, 0.0))
        left, dies = length(job, self.world) - it.before, self._chance(self.world.process)
        self._plan(begun + min(left, dies), "end" if left <= dies else "killed", it)

    def events(self) -> Iterator[Event]:
        at, _, what, it = heapq.heappop(self.due)
        if isinstance(it, Sitting) and self.sitting.get(it.place) is not it:
            return  # its node was lost meanwhile
        self._pass(max(at, self._clock()))
        match what:
            case "end":
                yield from self._end(it)
            case "killed":
                yield self._kill(it)
            case "node":
                yield from self._lose(it)
            case "back":
                self.free += [it] * self.size[it]
                self._plan(self.now + self._chance(self.world.node), "node", it)
                yield Room(len(self.at) + len(self.free))

    def end(self, place: int) -> None:
        raise AssertionError("no job has a time after which it is ended")

    def stop(self) -> bool:
        return True

    def _chance(self, mean: float) -> float:
        return self.rng.expovariate(1 / mean)

    def _plan(self, at: float, what: str, it: Any) -> None:
        heapq.heappush(self.due, (at, next(self.order), what, it))

    def _clock(self) -> float:
        """Now, and what the queue has taken since it was told the last news."""
        return self.now + time.thread_time() - self.mark

    def _pass(self, now: float) -> None:
        self.tally.there += (now - self.now) * (len(self.at) + len(self.free))
        self.now, self.mark = now, time.thread_time()

    def _end(self, it: Sitting) -> Iterator[Event]:
        job, config = it.work
        yield Started(job.path)
        for step in range(1, int((length(job, self.world) - it.before) / self.world.pace)):
            yield Step(job.path, step)
        del self.sitting[it.place]
        yield Ended(job.path, self._stored(job, config))

    def _kill(self, it: Sitting) -> Event:
        self.tally.processes += 1
        self._keep(it)
        self.free.append(self.at.pop(it.place))
        return Lost(it.place, "its process was killed")

    def _lose(self, node: int) -> Iterator[Event]:
        """A node goes with its places, and comes again."""
        self.tally.nodes += 1
        gone = [place for place, where in self.at.items() if where == node]
        self.free = [seat for seat in self.free if seat != node]
        for place in gone:
            del self.at[place]
            if place in self.sitting:
                self._keep(self.sitting[place])
        self._plan(self.now + self.world.away, "back", node)
        for place in gone:
            yield Away(place, "its node is gone")

    def _keep(self, it: Sitting) -> None:
        """A job's last checkpoint, of some time before it was lost."""
        del self.sitting[it.place]
        job, config = it.work
        done = max(self.now - it.since, 0.0)
        new = done // self.world.kept * self.world.kept
        self.tally.again += done - new
        if not new:
            return
        self.kept[job.path] = it.before + new
        with self._storing(job) as store, store.opened(config):
            step = self._step(job)
            store.save_checkpoint({"step": torch.tensor(step)}, {"step": step})

    def _step(self, job: Job) -> int:
        return int(STEPS * self.kept.get(job.path, 0.0) / length(job, self.world))

    def _stored(self, job: Job, config: dict[str, Any]) -> dict[str, Any]:
        """What a node does at the job's end; it goes on from its checkpoint, if that is whole."""
        self.tally.ends[job.path] = self.tally.ends.get(job.path, 0) + 1
        with self._storing(job) as store, store.opened(config):
            kept = store.load_checkpoint()
            if (kept[1]["step"] if kept else 0) != self._step(job):
                raise RuntimeError(f"{job.path} has lost its checkpoint")
            self.tally.resumed += kept is not None
            store.log([{"step": step} for step in range(0, STEPS, 100)])
            return store.finish(
                {"status": "finished", "step": STEPS, "steps": STEPS, "seconds": length(job, self.world)}
            )

    def _storing(self, job: Job) -> Storing:
        return Storing(self, Store(self.run, job))


class Storing:
    """A context for what nodes write: its time is theirs, and none of the queue's."""

    def __init__(self, executor: Imagined, store: Store):
        self.executor, self.store = executor, store

    def __enter__(self) -> Store:
        self.begun = time.thread_time()
        return self.store

    def __exit__(self, *_: object) -> None:
        spent = time.thread_time() - self.begun
        self.executor.tally.store += spent
        self.executor.mark += spent


def length(job: Job, world: World) -> float:
    return random.Random(job.seed).uniform(*world.lengths)


@dataclass(frozen=True)
class Found:
    """What a plan costs. Seconds of a core: `queue` gives jobs away, the tally's `store` writes them, `again` finds
    that all are done. `work`: seconds of steps that count, `end` when the last did, by the plan's clock; `tries` by the
    records; `grown`: bytes of memory beside the libraries."""

    places: int
    jobs: int
    tally: Tally
    work: float
    end: float
    tries: int
    queue: float
    again: float
    files: int
    grown: int


def simulated(run: Path, places: int, count: int, world: World = World()) -> Found:
    """Raises RuntimeError where a job was lost, was done twice, or lost its checkpoint."""
    process = psutil.Process()
    begun, held = time.thread_time(), process.memory_info().rss
    jobs, executor = jobs_of(count, STEPS), Imagined(world, places)
    configs = {job.path: {"key": job.key("none")} for job in jobs}
    setup, console = Setup("none", "cpu", 1), Console(file=StringIO())
    records = launch(run, jobs, configs, setup, places, console, Policy(RETRIES), executor)
    spent, grown = time.thread_time() - begun, process.memory_info().rss - held
    begun = time.thread_time()
    done = sum(is_done(run, job, "none", overwrite=False) for job in jobs)
    again, ends = time.thread_time() - begun, list(executor.tally.ends.values())
    if done < count or len(ends) < count or max(ends) > 1 or (run / ".unfinished").exists():
        raise RuntimeError(f"of {count} jobs {len(ends)} ended, {done} are in their folders, {sum(ends)} ends")
    return Found(
        places, count, executor.tally, sum(length(job, world) for job in jobs), executor.now,
        sum(record["tries"] for record in records.values()), spent - executor.tally.store, again,
        sum(len(files) for _, _, files in os.walk(run)), grown,
    )  # fmt: skip


def told(found: Found) -> str:
    tally, hours, each = found.tally, found.work / 3600, 1e6 / found.jobs
    ideal = found.work / found.places
    return (
        f"{found.jobs} jobs at {found.places} places: each ended once, and is in its folder\n"
        f"lost: {tally.nodes} nodes of {NODE} places, {tally.processes} processes, and with them "
        f"{tally.again / 3600:.1f} of {hours:.0f} h of work; {tally.resumed} jobs went on from a checkpoint\n"
        f"the last ended after {found.end / 3600:.2f} h, {ideal / 3600:.2f} h where nothing is lost and all places end "
        f"at once: {100 * ideal / found.end:.1f} %\n"
        f"of the time of the places that were there {100 * found.work / tally.there:.1f} % was work that counts; "
        f"a free place waited {1000 * tally.waited / found.tries:.1f} ms for a job\n"
        f"the queue took {found.queue:.1f} s of a core, {each * found.queue:.0f} µs a job, which is "
        f"{100 * found.queue / found.end:.2f} % of that time\n"
        f"the store took {tally.store:.1f} s, {each * tally.store:.0f} µs a job, on the nodes; the same command again "
        f"sees in {found.again:.1f} s that all is done\n"
        f"{found.files} files; {found.grown / 2**20:.0f} MiB of memory beside the libraries"
    )
