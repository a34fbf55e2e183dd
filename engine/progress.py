"""What is seen of jobs while they are done: a bar for each, one for all steps, a line for each that ends.

Where no terminal can draw bars, as in a log: a line for each job that begins or ends, and one a minute of all steps.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from engine.job import Job
from say import say

SHOWN = 20  # bars at a time: of a thousand jobs nobody reads more, and each costs time ten times a second
QUIET = 60.0  # seconds between two lines of how far all is, in a log


class Pace(ProgressColumn):
    """Steps a second, as users of trainers know it."""

    def render(self, task: Task) -> Text:
        return Text(_pace(task))


class Bars:
    """A context in which bars are shown."""

    def __init__(self, jobs: Iterable[Job], console: Console):
        self._jobs, self._console = {job.path: job for job in jobs}, console
        self._steps = dict.fromkeys(self._jobs, 0)
        self._done = 0
        self._tasks: dict[Path, TaskID] = {}
        self._hidden: dict[Path, None] = {}
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            Pace(),
            console=console,
            speed_estimate_period=300,
            disable=not console.is_terminal,
        )
        self._told = time.monotonic()
        self._all = self._bars.add_task("all steps", total=sum(job.recipe.steps for job in self._jobs.values()))

    def __enter__(self) -> Bars:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def begin(self, path: Path) -> None:
        job, shown = self._jobs[path], len(self._tasks) - len(self._hidden) < SHOWN
        self._tasks[path] = self._bars.add_task(escape(title(job)), total=job.recipe.steps, visible=shown)
        if not shown:
            self._hidden[path] = None
        if self._bars.disable:
            self.say(f"{title(job)}  [begins]")

    def step(self, path: Path, step: int, note: str = "") -> None:
        described = escape(title(self._jobs[path]) + note)
        self._bars.update(self._tasks[path], completed=step, description=described)
        self._count(path, step)

    def back(self, path: Path) -> None:
        """The job waits again: another command has it, or it failed, be it there."""
        if path in self._tasks:
            self._remove(path)
        self._count(path, 0)

    def theirs(self, jobs: int) -> None:
        """All that is left is with other commands."""
        waiting = f"{jobs} {'job is' if jobs == 1 else 'jobs are'} with other commands: waiting for them"
        self._bars.update(self._all, description=waiting)
        if self._is_due():
            self.say(waiting)

    def end(self, path: Path, record: dict[str, Any]) -> None:
        if path in self._tasks:  # else another command did it
            self._remove(path)
        self._count(path, self._jobs[path].recipe.steps)
        cause = f": {record['cause']}" if record.get("cause") else ""
        self.say(f"{title(self._jobs[path])}  [{record['status']}{cause}]  {record.get('seconds', 0):.0f} s")

    def note(self, path: Path, text: str) -> None:
        self.say(f"{title(self._jobs[path])}: {text}")

    def say(self, text: str) -> None:
        say(self._console, text)

    def _count(self, path: Path, step: int) -> None:
        self._done += step - self._steps[path]
        self._steps[path] = step
        self._bars.update(self._all, completed=self._done)

        if self._is_due():
            task = next(task for task in self._bars.tasks if task.id == self._all)
            left = "" if task.time_remaining is None else f", {timedelta(seconds=int(task.time_remaining))} left"
            self.say(f"{self._done} of {task.total:.0f} steps, {_pace(task)}{left}, {len(self._tasks)} running")

    def _is_due(self) -> bool:
        """Whether a log is to be told how far all is."""
        if not self._bars.disable or time.monotonic() - self._told < QUIET:
            return False
        self._told = time.monotonic()
        return True

    def _remove(self, path: Path) -> None:
        """A job's bar, in whose stead one that was hidden is shown."""
        self._bars.remove_task(self._tasks.pop(path))
        if path in self._hidden:
            del self._hidden[path]
        elif self._hidden:
            first = next(iter(self._hidden))
            del self._hidden[first]
            self._bars.update(self._tasks[first], visible=True)


def title(job: Job) -> str:
    return f"{job.recipe.name} · {job.prompt.id} · seed {job.seed}"


def _pace(task: Task) -> str:
    speed = task.finished_speed or task.speed
    return f"{speed:.1f} it/s" if speed else "- it/s"
