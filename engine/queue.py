"""Jobs that wait, and jobs that sit: which goes where, what becomes of each, and when all is over.

The executor does them (engine/executors), the bars show them (engine/progress.py); what is decided is decided here.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rich.console import Console

from engine.claims import roster
from engine.executors import executor_of
from engine.executors.base import Busy, Ended, Event, Executor, Fatal, Lost, Said, Started, Step
from engine.job import Job, Setup
from engine.progress import Bars, title
from engine.recipes.outside import Outside
from engine.request import Policy
from engine.store import Store
from errors import UserError
from records import RECORD

Records = dict[Path, dict[str, Any]]
STOPPING = "Stopping: every job writes a checkpoint first. Ctrl-C again ends them at once."
TOO_MANY = "Stopped: {} of {} jobs have failed, which --fail-on-error takes for too many. The others keep their steps."
LOOK = 1.0  # seconds between two looks at a job that another command has
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
        self.pending = list(jobs)
        self.worn: set[int] = set()  # places that ran out of memory, and are made anew
        self.steps: dict[Path, int] = {}
        self.left = {job.path: policy.retries for job in jobs}
        self.sitting: dict[int, list[Job]] = {place: [] for place in range(slots)}
        self.seats = min(setup.together, -(-len(jobs) // slots))  # as many in each place
        self.since: dict[Path, float] = {}  # when a job was given away
        self.begun: dict[Path, float] = {}  # when its place began it
        self.records: Records = {}
        self.looked: dict[Path, float] = {}  # when a job was last found with another command
        self.before = {job.path: self._stamp(job) for job in jobs}

    def done(self) -> Records:
        """Do all; returns the records."""
        with roster(self.run, {job.path.as_posix(): job.recipe.steps for job in self.pending}):
            return self._done()

    def _done(self) -> Records:
        self.executor.start(self.run, self.setup, len(self.sitting))
        try:
            self._fill()
            while self.pending or any(self.sitting.values()):
                for event in self.executor.events() if any(self.sitting.values()) else ():
                    self._take(event)
                self._expire()
                if self.policy.is_over(self.failed, self.count):
                    self.bars.say(TOO_MANY.format(self.failed, self.count))
                    break
                self._fill()
                if self.pending and not any(self.sitting.values()):
                    self.bars.theirs(len(self.pending))
                    time.sleep(LOOK)
        except KeyboardInterrupt as stop:
            self.bars.say(STOPPING)
            if not self._stopped():
                stop.args = (CUT_SHORT + self._lost(),)
            raise
        finally:
            self._stopped()
        return self.records

    def _fill(self) -> None:
        """Give every place that has nothing its first jobs."""
        for place, jobs in self.sitting.items():
            if not jobs and (new := self._chosen(place, fresh=True)):
                self._give(place, new)

    def _give(self, place: int, new: list[Job]) -> None:
        for job in new:
            self.pending.remove(job)
            self.bars.begin(job.path)
            self.since[job.path] = time.monotonic()
            self.begun.pop(job.path, None)
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
        for job in list(self.pending):
            if len(jobs) >= self.seats:
                break
            if isolated(job):
                if fresh and not jobs and self._is_free(job):
                    return [job]
            elif (not jobs or job.recipe.half == jobs[0].recipe.half) and self._is_free(job):
                jobs.append(job)
        return jobs[len(self.sitting[place]) :]

    def _is_free(self, job: Job) -> bool:
        """Whether a job is to be done, and no other command has it. What another has ended since this one began, be it
        by a failure, is taken as it is."""
        if time.monotonic() < self.looked.get(job.path, -LOOK) + LOOK:
            return False
        store = Store(self.run, job)
        if self._stamp(job) != self.before[job.path] and (record := store.found(self.configs[job.path]["key"])):
            self.pending.remove(job)
            self._end(job, record)
            return False
        if store.held:
            self.looked[job.path] = time.monotonic()
            return False
        return True

    def _stamp(self, job: Job) -> int | None:
        """What changes where another command ends the job."""
        path = Store(self.run, job).final / RECORD
        return path.stat().st_mtime_ns if path.exists() else None

    def _take(self, event: Event) -> None:
        match event:
            case Fatal(sentence):
                raise UserError(sentence)
            case Lost(place):
                jobs, self.sitting[place] = self.sitting[place], []
                for job in jobs:
                    self._end(job, self._recorded(job, event.cause))
            case Ended(path, record):
                place, job = self._risen(path)
                if record["status"] == "out-of-memory":
                    self.worn.add(place)
                self._end(job, record)
                self._give(place, [] if isolated(job) else self._chosen(place, fresh=False))
            case Busy(path):
                place, job = self._risen(path)
                self.bars.back(path)
                self.pending.append(job)
                self.looked[path] = time.monotonic()
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
        place, job = next((p, job) for p, jobs in self.sitting.items() for job in jobs if job.path == path)
        self.sitting[place].remove(job)
        return place, job

    def _end(self, job: Job, record: dict[str, Any], again: bool = True) -> None:
        """What becomes of a job that has ended: one that failed may be tried `again`."""
        if record["status"] == "crashed" and again and self.left[job.path] > 0:
            self.left[job.path] -= 1
            self.bars.note(job.path, f"failed ({record['cause']}), and is tried again")
            self.bars.back(job.path)
            self.before[job.path] = self._stamp(job)
            self.pending.append(job)
            return
        self.failed += record["status"] == "crashed"
        self.records[job.path] = record
        self.bars.end(job.path, record)

    def _expire(self) -> None:
        """End the places of jobs that have taken too long; what else sat there goes on from its checkpoints."""
        now, longest = time.monotonic(), self.policy.timeout
        for place, jobs in self.sitting.items() if longest else ():
            late = [job for job in jobs if now - self.begun.get(job.path, now) > (longest or 0)]
            if not late:
                continue
            self.executor.end(place)
            self.sitting[place] = []
            for job in jobs:
                if job in late:
                    self._end(job, self._recorded(job, f"it took longer than {longest:g} s"), again=False)
                else:
                    self.bars.back(job.path)
                    self.pending.append(job)

    def _lost(self) -> str:
        """What jobs that were ended at once had done since their checkpoints."""
        said = []
        for job in (job for jobs in self.sitting.values() for job in jobs):
            steps = self.steps.get(job.path, 0) - Store(self.run, job).kept_step()
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
