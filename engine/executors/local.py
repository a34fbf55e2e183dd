"""Jobs in processes of this machine: one a place, each with its own copy of the prior.

Jobs and news travel through a pipe for each process, so that a process killed at any moment takes none of the others
with it.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from engine import worker
from engine.executors.base import Busy, Ended, Event, Lost, Work
from engine.executors.starting import started
from engine.job import Setup
from engine.machine import devices_of, slots_of
from engine.worker import Task

LONGEST = 1.0  # seconds to wait for news
PATIENCE = 60.0  # seconds a process has to write its last checkpoint


@dataclass
class Place:
    """A process, the pipe to it, and how many jobs sit in it."""

    process: Any
    pipe: Connection
    jobs: int = 0

    def end(self, seconds: float = PATIENCE) -> bool:
        """Cut the line, which tells the process to stop, and wait; returns whether it ended by itself."""
        self.pipe.close()
        self.process.join(seconds)
        alive = self.process.is_alive()
        self.process.kill()
        self.process.join()
        return not alive


class Processes:
    """An executor. On GPUs, the processes take turns at the devices: place k has number k, counted round."""

    def __init__(self, task: Task | None = None) -> None:
        """`task` is done in place of jobs."""
        self.task, self.places = task, dict[int, Place]()

    def device(self, name: str) -> str:
        return ",".join(devices_of(name))

    def room(self, jobs: str, device: str, missing: int, folders: Iterable[str | None]) -> int:
        return slots_of(jobs, device, missing, folders)

    def start(self, run: Path, setup: Setup, places: int) -> None:
        self.run, self.setup, self.devices = run, setup, devices_of(setup.device)

    def submit(self, place: int, jobs: list[Work]) -> None:
        if place not in self.places:
            if not jobs:
                return
            self.places[place] = self._begun(place)
        it = self.places[place]
        it.jobs += len(jobs)
        with contextlib.suppress(OSError):  # it died just now: the pipe says so when read
            it.pipe.send(jobs)
        if not it.jobs:
            self.places.pop(place).end()

    def events(self) -> list[Event]:
        by_pipe = {it.pipe: place for place, it in self.places.items()}
        return [self._news(by_pipe[pipe]) for pipe in wait(list(by_pipe), LONGEST)]  # type: ignore[index]

    def end(self, place: int) -> None:
        self.places[place].process.kill()
        self.places.pop(place).end()

    def stop(self) -> bool:
        """All are told before any is waited for; Ctrl-C while they are waited for ends them at once."""
        places, self.places = list(self.places.values()), {}
        for it in places:
            it.pipe.close()
        deadline = time.monotonic() + PATIENCE
        try:
            ended = [it.end(max(deadline - time.monotonic(), 0.1)) for it in places]
            return all(ended)
        finally:
            for it in places:
                it.process.kill()

    def _begun(self, place: int) -> Place:
        here, there = Pipe()
        setup = replace(self.setup, device=self.devices[place % len(self.devices)])
        process = started(worker.main, (there, self.run, setup, self.task), setup.threads)
        there.close()  # so that the end of the process is the end of the pipe
        return Place(process, here)

    def _news(self, place: int) -> Event:
        try:
            event = self.places[place].pipe.recv()
        except (EOFError, OSError):
            return self._lost(place)
        if isinstance(event, (Ended, Busy)):
            self.places[place].jobs -= 1
        return event

    def _lost(self, place: int) -> Lost:
        """A process that ended without a word."""
        it = self.places.pop(place)
        it.end()
        code = it.process.exitcode
        if code == worker.TOO_LITTLE_MEMORY:
            return Lost(place, "its process had too little memory to begin: try fewer --jobs")
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        hint = "; the system may have been out of memory: try fewer --jobs" if code == -signal.SIGKILL else ""
        return Lost(place, f"its process was {how}{hint}")
