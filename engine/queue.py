"""Jobs that wait, and jobs that sit: which goes where, what becomes of each, and when all is over.

The executor does them (engine/executors), the bars show them (engine/progress.py); what is decided is decided here.
"""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from rich.console import Console

from engine.claims import roster
from engine.executors import executor_of
from engine.executors.base import Away, Busy, Ended, Event, Executor, Fatal, Lost, Over, Room, Said, Started, Step
from engine.job import Job, Setup
from engine.progress import Bars, title
from engine.recipes.outside import Outside
from engine.remote.sharing import part_in
from engine.request import Policy
from engine.store import Store
from errors import UserError
from records import RECORD

Records = dict[Path, dict[str, Any]]
STOPPING = "Stopping: every job writes a checkpoint first. Ctrl-C again ends them at once."
OVER = "{}: {} of {} jobs are done. The same command goes on from where it was."
TOO_MANY = "Stopped: {} of {} jobs have failed, which --fail-on-error takes for too many. The others keep their steps."
LOOK = 1.0  # seconds between two looks at a job that another command has
LOSSES = 3  # machines that a job may lose without a new checkpoint: it may be what they die of
CUT_SHORT = "Stopped before every job had written a checkpoint: the same command goes on from the last ones."


def launch(
    run: Path,
    jobs: list[Job],
    configs: dict[Path, dict[str, Any]],
    setup: Setup,
    slots: int,
    console: Console,
    policy: Policy = Policy(),  # noqa: B008 - frozen
    executor: Executor | None = None,
) -> Records:
    """Do the jobs in `slots` places of the executor (local processes where none is given); returns their records by
    path. `configs` are written into the job folders.

    Raises UserError for what no job can go on without (the prior, disk space) and KeyboardInterrupt when stopped, with
    a sentence where that cut jobs short; either way they are told to write a checkpoint first.
    """
    if not jobs:
        return {}
    with Bars(jobs, console) as bars:
        return Queue(run, jobs, configs, setup, slots, executor or executor_of("local"), bars, policy).done()


def isolated(job: Job) -> bool:
    """Whether a job is to have a process that nobody else uses, before or after: code from outside the tree may leave
    anything behind."""
    return isinstance(job.recipe.method, Outside)


class Waiting:
    """Jobs that wait, first come first served. Those that need the same of a place, one that is theirs alone or whose
    network has their precision, are a line of their own, so that of 100,000 none is passed over to find another."""

    def __init__(self, jobs: list[Job]):
        self._count, self._lines = itertools.count(), defaultdict[tuple[bool, bool], dict[Path, tuple[int, Job]]](dict)
        for job in jobs:
            self.add(job)

    def __len__(self) -> int:
        return sum(len(line) for line in self._lines.values())

    def add(self, job: Job) -> None:
        """At the end."""
        self._lines[isolated(job), job.recipe.half][job.path] = next(self._count), job

    def remove(self, job: Job) -> None:
        del self._lines[isolated(job), job.recipe.half][job.path]

    def first(self, alone: bool, half: bool | None) -> Job | None:
        """The first for a place: one that must be alone only where it may be, and of the precision given, if any."""
        heads = [
            next(iter(line.values()))
            for kind, line in self._lines.items()
            if line and (alone or not kind[0]) and half in (None, kind[1])
        ]
        return min(heads, key=lambda head: head[0])[1] if heads else None


class Queue:
    """The jobs of a run on their way through the places of an executor."""

    def __init__(
        self,
        run: Path,
        jobs: list[Job],
        configs: Records,
        setup: Setup,
        slots: int,
        executor: Executor,
        bars: Bars,
        policy: Policy,
    ):
        self.run, self.configs, self.setup, self.executor, self.bars = run, configs, setup, executor, bars
        self.policy, self.count, self.failed = policy, len(jobs), 0
        self.over = ""  # why no job can go on
        self.pending = Waiting(jobs)
        self.worn: set[int] = set()  # places that ran out of memory, and are made anew
        self.steps: dict[Path, int] = {}
        self.left = {job.path: policy.retries for job in jobs}
        self.losses: dict[Path, tuple[int, int]] = {}  # machines lost since the checkpoint of that step
        self.sitting: dict[int, list[Job]] = {place: [] for place in range(slots)}
        self.place: dict[Path, int] = {}  # where a job sits
        self.seats = min(setup.together, -(-len(jobs) // slots))  # as many in each place
        self.jobs = jobs
        self.since: dict[Path, float] = {}  # when a job was given away
        self.begun: dict[Path, float] = {}  # when its place began it
        self.records: Records = {}
        self.theirs: dict[Path, tuple[Job, float]] = {}  # what another command has, and when that was seen
        self.before = {job.path: self._stamp(job) for job in jobs}
        self.part = part_in(run)

    def done(self) -> Records:
        """Do all; returns the records."""
        with roster(self.run, {job.path.as_posix(): job.recipe.steps for job in self.jobs}):
            return self._done()

    def _done(self) -> Records:
        self.executor.start(self.run, self.setup, len(self.sitting))
        try:
            self._fill()
            while self._waits or any(self.sitting.values()):
                for event in self.executor.events() if any(self.sitting.values()) or not self.sitting else ():
                    self._take(event)
                if self.over:
                    self.bars.say(OVER.format(self.over, len(self.records) - self.failed, self.count))
                    break
                self._expire()
                if self.policy.is_over(self.failed, self.count):
                    self.bars.say(TOO_MANY.format(self.failed, self.count))
                    break
                self._fill()
                if self.sitting and self._waits and not any(self.sitting.values()):
                    self.bars.theirs(self._waits)
                    time.sleep(LOOK)
        except KeyboardInterrupt as stop:
            self.bars.say(STOPPING)
            if not self._stopped():
                stop.args = (CUT_SHORT + self._lost(),)
            raise
        finally:
            self._stopped()
        return self.records

    @property
    def _waits(self) -> int:
        return len(self.pending) + len(self.theirs)

    def _fill(self) -> None:
        """Give every place that has nothing its first jobs."""
        for place, jobs in self.sitting.items():
            if not jobs:
                if not (new := self._chosen(place, fresh=True)):
                    return  # nor is there anything for another
                self._give(place, new)

    def _give(self, place: int, new: list[Job]) -> None:
        for job in new:
            self.bars.begin(job.path)
            self.since[job.path] = time.monotonic()
            self.begun.pop(job.path, None)
            self.place[job.path] = place
        if not self.sitting[place]:
            self.worn.discard(place)
        self.sitting[place] += new
        self.executor.submit(place, [(job, self.configs[job.path]) for job in new])

    def _chosen(self, place: int, fresh: bool) -> list[Job]:
        """For a place's empty seats, the first jobs that use the same network as those that sit. One that must be alone
        comes only to a place where nothing has been, and nothing comes after it."""
        jobs = list(self.sitting[place])
        if (place in self.worn and not fresh) or any(isolated(job) for job in jobs):
            return []
        self._look_again()
        while len(jobs) < self.seats and not (jobs and isolated(jobs[0])):
            job = self.pending.first(fresh and not jobs, jobs[0].recipe.half if jobs else None)
            if job is None:
                break
            self.pending.remove(job)
            if self._is_free(job):
                jobs.append(job)
        return jobs[len(self.sitting[place]) :]

    def _look_again(self) -> None:
        """Let jobs wait with the others that another command had a while ago."""
        while self.theirs:
            job, looked = next(iter(self.theirs.values()))
            if time.monotonic() < looked + LOOK:
                return
            del self.theirs[job.path]
            self.pending.add(job)

    def _is_free(self, job: Job) -> bool:
        """Whether a job is to be done, and no other command has it. What another has ended since this one began, be it
        by a failure, is taken as it is."""
        store = Store(self.run, job)
        if self._has_ended(job, store):
            return False
        if store.held or not self.part.take(job.path):
            self.theirs[job.path] = job, time.monotonic()
            return False
        return not self._has_ended(job, store)

    def _has_ended(self, job: Job, store: Store) -> bool:
        """Whether another command has ended a job meanwhile, which is taken as it is."""
        if self._stamp(job) == self.before[job.path]:
            return False
        if record := store.found(self.configs[job.path]["key"]):
            self._end(job, record)
        return record is not None

    def _stamp(self, job: Job) -> int | None:
        """What changes where another command ends the job."""
        path = Store(self.run, job).final / RECORD
        return path.stat().st_mtime_ns if path.exists() else None

    def _take(self, event: Event) -> None:
        match event:
            case Fatal(sentence):
                raise UserError(sentence)
            case Over(sentence):
                self.over = sentence
            case Lost(place):
                for job in self._gone(place):
                    self._end(job, self._recorded(job, event.cause))
            case Away(place, cause):
                for job in self._gone(place):
                    self._back(job, cause)
                del self.sitting[place]
            case Room(places):
                for place in range(places):
                    if len(self.sitting) < places:
                        self.sitting.setdefault(place, [])
            case Ended(path, record):
                place, job = self._risen(path)
                if record["status"] == "out-of-memory":
                    self.worn.add(place)
                self._end(job, record)
                self._give(place, [] if isolated(job) else self._chosen(place, fresh=False))
            case Busy(path):
                place, job = self._risen(path)
                self.bars.back(path)
                self.theirs[path] = job, time.monotonic()
                self.part.leave(path)
                self._give(place, [] if isolated(job) else self._chosen(place, fresh=False))
            case Started(path):
                self.since[path] = self.begun[path] = time.monotonic()
            case Step(path, step, note):
                self.steps[path] = step
                self.bars.step(path, step, note)
            case Said(path, text):
                self.bars.note(path, text)

    def _risen(self, path: Path) -> tuple[int, Job]:
        """The job of a path, whose seat is free now, and its place."""
        place = self.place.pop(path)
        job = next(job for job in self.sitting[place] if job.path == path)
        self.sitting[place].remove(job)
        return place, job

    def _gone(self, place: int) -> list[Job]:
        """The jobs that sat in a place that is gone."""
        jobs, self.sitting[place] = self.sitting[place], []
        for job in jobs:
            del self.place[job.path]
        return jobs

    def _back(self, job: Job, cause: str) -> None:
        """A job whose machine is gone, which is not its fault, goes on from its checkpoint elsewhere; but not for ever
        where each takes it no further."""
        kept = self._kept(job)
        step, times = self.losses.get(job.path, (kept, 0))
        self.losses[job.path] = kept, 1 + (times if kept == step else 0)
        if job.path in self.begun and self.losses[job.path][1] > LOSSES:
            self._end(job, self._recorded(job, f"{cause}, {LOSSES + 1} times at its step {kept}"), again=False)
            return
        self.bars.note(job.path, f"{cause}: it goes on elsewhere from step {kept}")
        self._wait(job)

    def _kept(self, job: Job) -> int:
        """The step of a job's last checkpoint, be it here or in a store."""
        return max(Store(self.run, job).kept_step(), self.part.kept_step(job.path))

    def _wait(self, job: Job) -> None:
        self.bars.back(job.path)
        self.pending.add(job)

    def _end(self, job: Job, record: dict[str, Any], again: bool = True) -> None:
        """What becomes of a job that has ended: one that failed may be tried `again`."""
        if record["status"] == "crashed" and again and self.left[job.path] > 0:
            self.left[job.path] -= 1
            self.bars.note(job.path, f"failed ({record['cause']}), and is tried again")
            self.before[job.path] = self._stamp(job)
            self._wait(job)
            return
        self.failed += record["status"] == "crashed"
        self.records[job.path] = record
        self.part.put(job.path)
        self.bars.end(job.path, record)

    def _expire(self) -> None:
        """End the places of jobs that have taken too long; what else sat there goes on from its checkpoints."""
        now, longest = time.monotonic(), self.policy.timeout
        for place, jobs in self.sitting.items() if longest else ():
            late = [job for job in jobs if now - self.begun.get(job.path, now) > (longest or 0)]
            if not late:
                continue
            self.executor.end(place)
            for job in self._gone(place):
                if job in late:
                    self._end(job, self._recorded(job, f"it took longer than {longest:g} s"), again=False)
                else:
                    self._wait(job)

    def _lost(self) -> str:
        """What jobs that were ended at once had done since their checkpoints."""
        said = []
        for job in (job for jobs in self.sitting.values() for job in jobs):
            steps = self.steps.get(job.path, 0) - self._kept(job)
            said += [f"{steps} steps of {title(job)}"] if steps > 0 else []
        return f" Lost: {', '.join(said)}." if said else ""

    def _recorded(self, job: Job, cause: str) -> dict[str, Any]:
        """The record of a job whose place is gone. What crashed keeps its checkpoint for the next try."""
        seconds = time.monotonic() - self.since[job.path]
        record = {"status": "crashed", "cause": cause, "seconds": seconds}
        return Store(self.run, job).give_up(self.configs[job.path], record)

    def _stopped(self) -> bool:
        """Whether every job came to write its checkpoint."""
        try:
            return self.executor.stop()
        except KeyboardInterrupt:
            return False
