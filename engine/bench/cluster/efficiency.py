"""Three nodes of a cluster, one of which is killed while all work, and another that joins: how much of their time was
work."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from engine.bench.cluster.loopback import Loopback
from engine.bench.cluster.standin import StandIn, ends, jobs_of
from engine.executors.base import Away, Ended, Event, Executor, Started, Step
from engine.executors.ray import Cluster, imported
from engine.job import Job, Setup
from engine.queue import Records, launch

STEP = 0.25  # seconds
NOTHING = 40  # jobs of no length, for what one costs


@dataclass(frozen=True)
class Found:
    """`work` and `lost`: seconds of steps that count, and that were done again. `nodes`: seconds of all places, from
    the first job in a place to the end of the run or of its node. `ready`: seconds until a place had a job. `cost`:
    seconds of a job of no length. `twice`, `undone`: jobs that ended more than once, or never."""

    jobs: int
    work: float
    lost: float
    nodes: float
    ready: float
    cost: float
    twice: int
    undone: int

    @property
    def efficiency(self) -> float:
        return self.work / (self.nodes - self.lost)


class Watched(Cluster):
    """The executor; of each place when it was asked for, when its first job began, and when it was gone; of each job
    its last step; and all ends."""

    def __init__(self, address: str, task: Any):
        super().__init__(address, task)
        self.spans: list[list[float]] = []
        self.now: dict[int, list[float]] = {}
        self.steps: dict[Path, int] = {}
        self.lost: dict[Path, int] = {}  # steps that a job had where its node was killed
        self.ends: list[float] = []
        self.killed = 0.0

    def submit(self, place: int, jobs: list[Any]) -> None:
        if place not in self.places and jobs:
            self.now[place] = [time.monotonic()]
            self.spans.append(self.now[place])
        super().submit(place, jobs)

    def events(self) -> Iterator[Event]:
        sat = {place: set(it.jobs) for place, it in self.places.items()}
        for event in super().events():
            match event:
                case Started(path):
                    place = next(p for p, it in self.places.items() if path in it.jobs)
                    if len(self.now[place]) == 1:
                        self.now[place].append(time.monotonic())
                case Step(path, step):
                    self.steps[path] = step
                case Ended():
                    self.ends.append(time.monotonic())
                case Away(place):
                    if len(self.now[place]) == 2:  # else no job had begun there
                        self.now[place].append(self.killed)
                    self.lost |= {path: self.steps.get(path, 0) for path in sat[place]}
            yield event


def measured(folder: Path, jobs: int, seconds: float, cpus: int, console: Console) -> Found:
    """Raises UserError where Ray is not installed."""
    imported()
    steps = max(round(seconds / STEP), 1)
    with Loopback(cpus) as nodes:
        executor = Watched(nodes.address, StandIn(seconds / steps))
        nodes.add()
        nodes.add()
        await_nodes(executor, 3 * cpus)
        run = folder / "run"
        striking = threading.Thread(target=strike, args=(nodes, executor, jobs), daemon=True)
        striking.start()
        records = done(run, executor, jobs_of(jobs, steps), executor.room("auto", "cpu", jobs, ()), console)
        end = time.monotonic()
        striking.join()
        idle = Watched(nodes.address, StandIn(0.0))
        done(folder / "nothing", idle, jobs_of(NOTHING, 1), idle.room("1", "cpu", NOTHING, ()), console)
        idle.ray.shutdown()
    spans = [[*span, end][:3] for span in executor.spans if len(span) > 1]
    again = {path: steps - records[path]["first"] for path, steps in executor.lost.items()}
    counted = ends(run)
    return Found(
        jobs,
        seconds * jobs,
        seconds / steps * sum(max(n, 0) for n in again.values()),
        sum(last - first for _, first, last in spans),
        sum(first - asked for asked, first, _ in spans) / len(spans),
        (idle.ends[-1] - idle.ends[0]) / (NOTHING - 1),
        sum(n > 1 for n in counted.values()),
        jobs - len(counted),
    )


def done(run: Path, executor: Executor, jobs: list[Job], slots: int, console: Console) -> Records:
    configs = {job.path: {"key": f"{job.seed:012x}"} for job in jobs}
    return launch(run, jobs, configs, Setup("none", "cpu", 1), slots, console, executor=executor)


def strike(nodes: Loopback, executor: Watched, jobs: int) -> None:
    """When a third is done, a node goes with all that it has; when half is, another comes."""
    while len(executor.ends) < jobs / 3:
        time.sleep(0.2)
    executor.killed = time.monotonic()
    nodes.kill(1)
    while len(executor.ends) < jobs / 2:
        time.sleep(0.2)
    nodes.add()


def await_nodes(executor: Cluster, places: int) -> None:
    """Until the cluster has room for so many jobs."""
    while executor.room("auto", "cpu", places, ()) < places:
        time.sleep(0.2)


def told(found: Found) -> str:
    return (
        f"{found.jobs} jobs at three nodes, one killed and one added: {found.undone} undone, {found.twice} done twice\n"
        f"{found.work:.0f} s of work in {found.nodes:.0f} s of places, {found.lost:.0f} s of which were done again: "
        f"{100 * found.efficiency:.1f} %\n"
        f"a place began its first job after {found.ready:.1f} s; a job of no length took {1000 * found.cost:.0f} ms"
    )
