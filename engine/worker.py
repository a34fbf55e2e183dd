"""The process that does jobs, one after another or several together, sends news of each step, and stops at a step's end
when told to.

What travels is engine.executors.base's. After each job that ends, the parent says what takes its seat: a list, empty
where nothing does.
"""

from __future__ import annotations

import errno
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import torch

import say
from engine import optimize
from engine import prior as priors
from engine.claims import Gone, Held
from engine.executors.base import Busy, Ended, Event, Fatal, Started, Work
from engine.job import Setup
from engine.machine import be_deterministic
from engine.store import Store
from engine.together import Scene, Seat, Together
from errors import RuleError, UserError, cause, first_line, is_out_of_memory
from scene.kernels.compiled import prove_all

Task = Callable[[Work, Path, Setup, optimize.Watcher, Scene], dict[str, Any] | None]  # as `do`
TOO_LITTLE_MEMORY = errno.ENOMEM  # the code with which a process ends that has not enough of it to do anything


class Boss(Protocol):
    """Who gives the jobs, is told of them, and may end them."""

    cut: bool

    def send(self, event: Event) -> None: ...

    def receive(self) -> list[Work]:
        """The jobs to begin now; none where nothing takes the seat, or nobody is there any more."""


class Line:
    """The pipe to the parent. It is cut when the parent stops or dies: `cut` then becomes true."""

    def __init__(self, pipe: Connection):
        self.pipe, self.cut = pipe, False

    def send(self, event: Event) -> None:
        try:
            self.pipe.send(event)
        except OSError:
            self.cut = True

    def receive(self) -> list[Work]:
        """The jobs to begin now; none where the parent has gone."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self.cut = True
            return []


def main(pipe: Connection, run: Path, setup: Setup, task: Task | None = None) -> None:
    """Do jobs, each by `task`, until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what it means
    line = Line(pipe)
    signal.signal(signal.SIGTERM, lambda *_: setattr(line, "cut", True))
    try:
        serve(line, run, setup, task)
    except Exception as error:
        if not (fatal := fatal_of(error, run)):
            sys.exit(TOO_LITTLE_MEMORY)
        line.send(fatal)
    say.leave(0)


def fatal_of(error: Exception, run: Path) -> Fatal | None:
    """Why no job can go on; None where it is that this process had too little memory to begin."""
    if isinstance(error, UserError):
        return Fatal(str(error))
    if is_out_of_memory(error):
        return None
    return Fatal(full(run) if is_full(error) else f"The worker failed to start: {cause(error)}.")


def serve(line: Boss, run: Path, setup: Setup, task: Task | None = None) -> None:
    """Do jobs, each by `task`, until there are none; raises what ends all."""
    torch.set_num_threads(setup.threads)
    be_deterministic()
    if torch.device(setup.device).type == "cuda":
        torch.cuda.set_device(setup.device)  # CUDA graphs are captured on the current one
        prove_all(setup.device)
    scenes, fatal = Together(setup.threads), None
    works: dict[Path, Work] = {}

    def begin() -> None:
        for each in line.receive():
            path = each[0].path
            works[path] = each
            scenes.add(path, partial(task or do, each, run, setup, line))

    begin()
    while scenes.live:
        for scene in scenes.round():
            (job, config), record, error = works.pop(scene.name), scene.result, scene.error
            if isinstance(error, UserError) or (error is not None and is_full(error)):
                fatal, line.cut = error, True  # the others write their checkpoints first
            elif error is not None:  # it did not even begin
                record = Store(run, job).give_up(config, unbegun(error))
            if record is not None:
                line.send(Ended(scene.name, record))
            if not line.cut:
                begin()
    if fatal is not None:
        raise fatal


def do(work: Work, run: Path, setup: Setup, line: optimize.Watcher, scene: Scene) -> dict[str, Any] | None:
    """The record of a job done as one of the scenes; None where it was stopped, and where another command has it, as is
    told. Raises what ends all jobs."""
    job, config = work
    store = Store(run, job)
    try:  # before the job's folder: a prior that is refused leaves none
        shared = priors.open_prior(setup.prior, setup.device, job.recipe.half)
    except Exception as error:
        if isinstance(error, UserError) or is_full(error):
            raise
        return store.give_up(config, unbegun(error))
    return within(work, store, line, lambda: optimize.run(job, Seat(shared, scene), store, setup, line, scene.clock))


def within(
    work: Work, store: Store, line: optimize.Watcher, run: Callable[[], dict[str, Any]]
) -> dict[str, Any] | None:
    """What `do` returns of a job that `run` does, in its folder, which is held meanwhile."""
    job, config = work
    try:
        with store.opened(config) as found:
            if found is not None:
                return found
            line.send(Started(job.path))
            try:
                return run()
            except (optimize.Stopped, Held, Gone, UserError):
                raise
            except Exception as error:
                if is_full(error):
                    raise
                return store.finish(record_of(error))
    except Gone as error:
        return record_of(error)  # there is no folder to keep it in
    except Held:
        line.send(Busy(job.path))
    except optimize.Stopped:
        pass
    return None


def record_of(error: BaseException) -> dict[str, Any]:
    """Of a job that an error ended."""
    if is_out_of_memory(error):
        return {"status": "out-of-memory", "cause": first_line(error)}
    said = str(error) if isinstance(error, RuleError) else cause(error)
    return {"status": "crashed", "cause": said, "traceback": "".join(traceback.format_exception(error))}


def unbegun(error: BaseException) -> dict[str, Any]:
    """Of a job that did not come to its first step: too little memory for that is not its rule's divergence."""
    record = record_of(error)
    if record["status"] == "out-of-memory":
        record |= {"status": "crashed", "cause": f"too little memory to begin: {record['cause']}"}
    return record


def is_full(error: BaseException) -> bool:
    """Whether the disk is full. safetensors has its own exception, which names the system's error."""
    number = getattr(error, "errno", None)
    return number in (errno.ENOSPC, errno.EDQUOT) or f"os error {errno.ENOSPC}" in str(error)


def full(run: Path) -> str:
    return f"The disk of {run} is full: free some space and run the same command again; nothing finished is lost."
