"""Many jobs at once: one process a slot, each with its own copy of the prior and some of the jobs, watched from here.

Jobs and news travel through a pipe for each process, so that a process killed at any moment takes none of the others
with it: its job is recorded as crashed, a new process takes its place.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from engine import worker
from engine.job import Job, Setup
from engine.store import Store
from errors import UserError

PATIENCE = 60.0  # seconds a process has to write its last checkpoint


@dataclass
class Slot:
    """One process and the jobs it works on, each with its bar and when it began."""

    process: Any
    pipe: Connection
    seats: int
    jobs: dict[Path, tuple[Job, TaskID, float]] = field(default_factory=dict)


def launch(
    run: Path,
    jobs: list[Job],
    configs: dict[Path, dict[str, Any]],
    setup: Setup,
    slots: int,
    console: Console,
) -> dict[Path, dict[str, Any]]:
    """Do the jobs; returns their records by path. `configs` are written into the job folders.

    Raises UserError for what no job can go on without (the prior, disk space) and KeyboardInterrupt when stopped;
    either way every process has written a checkpoint first.
    """
    environment = {
        "OMP_NUM_THREADS": str(setup.threads),
        "OMP_WAIT_POLICY": "passive",  # processes share cores: waiting threads must not spin
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # cuBLAS is deterministic only so
        "TOKENIZERS_PARALLELISM": "false",
    }
    os.environ.update(environment)
    pending = list(jobs)
    records: dict[Path, dict[str, Any]] = {}
    busy: list[Slot] = []
    if not pending:
        return records
    seats = min(setup.together, -(-len(jobs) // slots))  # as many in each process
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        speed_estimate_period=300,
    ) as bars:
        overall = bars.add_task("all steps", total=sum(job.recipe.steps for job in jobs))
        steps = {job.path: 0 for job in jobs}
        try:
            while pending or busy:
                while pending and len(busy) < slots:
                    busy.append(_start(run, setup, seats))
                    _give(busy[-1], pending, configs, bars)
                for slot in _news(busy):
                    kind, path, body = _receive(slot)
                    if kind == "fatal":
                        raise UserError(body)
                    if kind == "step":
                        job, task, _ = slot.jobs[path]
                        steps[path], note = body
                        bars.update(task, completed=steps[path], description=_title(job) + note)
                    else:
                        dead = kind == "dead"
                        over = _crashes(run, configs, slot) if dead else {path: body}
                        for path, record in over.items():
                            job, task, _ = slot.jobs.pop(path)
                            bars.remove_task(task)
                            records[path], steps[path] = record, job.recipe.steps
                            console.print(_summary(job, record), highlight=False)
                        if not dead:
                            _give(slot, pending, configs, bars)
                        if not slot.jobs:
                            _end(busy.pop(busy.index(slot)))
                    bars.update(overall, completed=sum(steps.values()))
        finally:
            _stop(busy)
    return records


def _start(run: Path, setup: Setup, seats: int) -> Slot:
    context = get_context("spawn")  # CUDA and threads do not survive a fork
    here, there = context.Pipe()
    process = context.Process(target=worker.main, args=(there, run, setup))
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: Ctrl-C is for this process to answer
    process.start()
    signal.signal(signal.SIGINT, interrupt)
    there.close()  # so that the end of the process is the end of the pipe
    return Slot(process, here, seats)


def _give(slot: Slot, pending: list[Job], configs: dict[Path, dict[str, Any]], bars: Progress) -> None:
    """Fill the process's empty seats with the first jobs that use the same network as those that sit."""
    new: list[Job] = []
    while len(slot.jobs) < slot.seats:
        half = {job.recipe.half for job, _, _ in slot.jobs.values()}
        fits = next((job for job in pending if not half or job.recipe.half in half), None)
        if fits is None:
            break
        pending.remove(fits)
        new.append(fits)
        task = bars.add_task(_title(fits), total=fits.recipe.steps)
        slot.jobs[fits.path] = (fits, task, time.monotonic())
    with contextlib.suppress(OSError):  # it died just now: the pipe says so when read
        slot.pipe.send([(job, configs[job.path]) for job in new])


def _news(busy: list[Slot]) -> list[Slot]:
    by_pipe = {slot.pipe: slot for slot in busy}
    return [by_pipe[pipe] for pipe in wait(list(by_pipe))]  # type: ignore[index]


def _receive(slot: Slot) -> tuple[str, Any, Any]:
    try:
        return slot.pipe.recv()
    except (EOFError, OSError):
        return "dead", None, None


def _crashes(run: Path, configs: dict[Path, dict[str, Any]], slot: Slot) -> dict[Path, dict[str, Any]]:
    """Record the jobs of a process that ended without a word. Their checkpoints stay for the next try."""
    slot.process.join(PATIENCE)
    code = slot.process.exitcode
    how = f"killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended with code {code}"
    hint = "; the system may have been out of memory: try fewer --jobs" if code == -signal.SIGKILL else ""
    records = {}
    for path, (job, _, since) in slot.jobs.items():
        records[path] = record = {
            "status": "crashed",
            "cause": f"its process was {how}{hint}",
            "seconds": time.monotonic() - since,
        }
        store = Store(run, job)
        with store.opened(configs[path]):
            store.finish(record)
    return records


def _end(slot: Slot) -> None:
    slot.pipe.close()
    slot.process.join(PATIENCE)


def _stop(busy: list[Slot]) -> None:
    """Have every process write a checkpoint and end; a second Ctrl-C ends them at once."""
    for slot in busy:
        slot.pipe.close()
    try:
        deadline = time.monotonic() + PATIENCE
        for slot in busy:
            slot.process.join(max(deadline - time.monotonic(), 0.1))
    finally:
        for slot in busy:
            slot.process.kill()


def _title(job: Job) -> str:
    return f"{job.recipe.name} · {job.prompt.id} · seed {job.seed}"


def _summary(job: Job, record: dict[str, Any]) -> str:
    cause = f": {record['cause']}" if record.get("cause") else ""
    return f"{_title(job)}  [{record['status']}{cause}]  {record.get('seconds', 0):.0f} s".replace("[", "\\[")
