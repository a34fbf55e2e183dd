"""Many jobs at once: one process a slot, each with its own copy of the prior, watched from here.

Jobs and news travel through a pipe for each process, so that a process killed at any moment takes none of the others
with it: its job is recorded as crashed, a new process takes its place.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import deque
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
from engine.job import Job
from engine.store import Store
from errors import UserError

PATIENCE = 60.0  # seconds a process has to write its last checkpoint


@dataclass
class Slot:
    """One process and the job it works on."""

    process: Any
    pipe: Connection
    task: TaskID
    job: Job | None = None
    since: float = field(default_factory=time.monotonic)


def launch(
    run: Path,
    jobs: list[Job],
    configs: dict[Path, dict[str, Any]],
    setup: worker.Setup,
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
    pending = deque(jobs)
    records: dict[Path, dict[str, Any]] = {}
    busy: list[Slot] = []
    if not pending:
        return records
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
                    busy.append(_start(run, setup, bars))
                    _give(busy[-1], pending.popleft(), configs, bars)
                for slot in _news(busy):
                    kind, body = _receive(slot)
                    if kind == "fatal":
                        raise UserError(body)
                    job = slot.job
                    assert job is not None
                    if kind == "step":
                        steps[job.path], note = body
                        bars.update(slot.task, completed=steps[job.path], description=_title(job) + note)
                    else:
                        if kind == "dead":
                            body = _crash(run, job, configs[job.path], slot)
                        records[job.path] = body
                        steps[job.path] = job.recipe.steps
                        console.print(_summary(job, body), highlight=False)
                        if kind == "done" and pending:
                            _give(slot, pending.popleft(), configs, bars)
                        else:
                            _end(busy.pop(busy.index(slot)), bars)
                    bars.update(overall, completed=sum(steps.values()))
        finally:
            _stop(busy)
    return records


def _start(run: Path, setup: worker.Setup, bars: Progress) -> Slot:
    context = get_context("spawn")  # CUDA and threads do not survive a fork
    here, there = context.Pipe()
    process = context.Process(target=worker.main, args=(there, run, setup))
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: Ctrl-C is for this process to answer
    process.start()
    signal.signal(signal.SIGINT, interrupt)
    there.close()  # so that the end of the process is the end of the pipe
    return Slot(process, here, bars.add_task("starting", total=None))


def _give(slot: Slot, job: Job, configs: dict[Path, dict[str, Any]], bars: Progress) -> None:
    slot.job, slot.since = job, time.monotonic()
    bars.reset(slot.task, total=job.recipe.steps, description=_title(job))
    with contextlib.suppress(OSError):  # it died just now: the pipe says so when read
        slot.pipe.send((job, configs[job.path]))


def _news(busy: list[Slot]) -> list[Slot]:
    by_pipe = {slot.pipe: slot for slot in busy}
    return [by_pipe[pipe] for pipe in wait(list(by_pipe))]  # type: ignore[index]


def _receive(slot: Slot) -> tuple[str, Any]:
    try:
        return slot.pipe.recv()
    except (EOFError, OSError):
        return "dead", None


def _crash(run: Path, job: Job, config: dict[str, Any], slot: Slot) -> dict[str, Any]:
    """Record the job of a process that ended without a word. Its checkpoint stays for the next try."""
    slot.process.join(PATIENCE)
    code = slot.process.exitcode
    how = f"killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended with code {code}"
    hint = "; the system may have been out of memory: try fewer --jobs" if code == -signal.SIGKILL else ""
    record = {
        "status": "crashed",
        "cause": f"its process was {how}{hint}",
        "seconds": time.monotonic() - slot.since,
    }
    store = Store(run, job)
    with store.opened(config):
        store.finish(record)
    return record


def _end(slot: Slot, bars: Progress) -> None:
    bars.remove_task(slot.task)
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
