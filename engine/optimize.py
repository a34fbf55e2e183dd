"""The loop of a job: steps, checkpoints, news; then the views from which it is scored."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import torch

from engine.executors.base import Event, Said, Step
from engine.job import Job, Setup
from engine.machine import Peak
from engine.store import Store
from engine.training import NonFinite, Training
from engine.views import evaluate, write_result
from errors import RuleError, cause, first_line, is_out_of_memory
from priors.base import Prior

NEWS = 0.2  # seconds between two messages


class Watcher(Protocol):
    """Who is told of each step, and whose `cut` ends the job at the next."""

    @property
    def cut(self) -> bool: ...

    def send(self, event: Event) -> None: ...


class Stopped(Exception):
    """The job was told to stop, and wrote a checkpoint."""


def run(
    job: Job,
    prior: Prior,
    store: Store,
    setup: Setup,
    watcher: Watcher,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """Do a job, or go on with it, and put its folder in place; returns its record. `clock` tells the seconds that are
    the job's own, where several share a process.

    A non-finite gradient and too little memory end it with that status, the step and the cause. Raises Stopped.
    """
    training, lost, companions = begun(job, prior, store, setup, watcher)
    record: dict[str, Any] = {"status": "finished", "cause": None}
    with Peak(setup.device, companions) as peak:
        try:
            _optimize(training, store, setup, watcher, peak, clock)
            views = evaluate(training)
        except NonFinite as error:
            record, views = {"status": "non-finite", "cause": str(error)}, None
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            record, views = {"status": "out-of-memory", "cause": first_line(error)}, None
        training.peak = max(training.peak, peak.bytes)
    record |= {
        "step": training.step,
        "steps": job.recipe.steps,
        "nfe": training.nfe,
        "network_rows": training.rows,
        "seconds": training.seconds,
        "peak_bytes": training.peak,
        "memory": peak.kind,
        "device": peak.device,
        "threads": torch.get_num_threads(),
        "together": setup.together,
    }
    if views is not None:
        record["opacity"] = views.opacity.mean().item()
    if lost:
        record["checkpoint"] = lost
    return store.finish(record, lambda folder: write_result(folder, training.scene, views, job.recipe.orbit))


def begun(job: Job, prior: Prior, store: Store, setup: Setup, watcher: Watcher) -> tuple[Training, str | None, int]:
    """A job's training, where its checkpoint left it; why that could not be read, where it begins anew; and how many
    scenes shared the process at most.

    Raises RuleError where a rule's own state cannot be restored."""
    training, lost, companions = Training(job, prior, setup.device), None, 1
    try:
        if checkpoint := store.load_checkpoint():
            tensors, facts = checkpoint
            companions = facts.pop("companions", 1)
            training.restore(tensors, facts)
    except Exception as error:
        if isinstance(error, RuleError) or is_out_of_memory(error):
            raise
        store.drop_checkpoint()
        training, companions = Training(job, prior, setup.device), 1
        lost = f"its checkpoint could not be read ({cause(error)}), so that it began anew"
        watcher.send(Said(job.path, lost))
    store.keep_log(training.step)
    return training, lost, companions


def _optimize(
    training: Training, store: Store, setup: Setup, watcher: Watcher, peak: Peak, clock: Callable[[], float]
) -> None:
    path, steps, rows = training.job.path, training.job.recipe.steps, []
    before, saved = clock(), time.monotonic()
    told = saved
    watcher.send(Step(path, training.step))
    while training.step < steps:
        try:
            rows.append(training.advance())
        except BaseException:
            store.log(rows)
            raise
        now, used = time.monotonic(), clock()
        training.seconds, before = training.seconds + used - before, used
        store.at(training.step)
        if now - told > NEWS or training.step == steps:
            seen = f"  opacity {rows[-1]['opacity']:.2f}  |g| {rows[-1]['g_rms']:.2g}  {peak.bytes / 1e9:.1f} GB"
            watcher.send(Step(path, training.step, seen))
            told = now
        stop = watcher.cut
        if stop or now - saved > setup.checkpoint_seconds or training.step == steps:
            training.peak = max(training.peak, peak.bytes)
            store.log(rows)
            store.save_checkpoint(training.tensors(), training.facts() | {"companions": peak.scenes})
            rows, saved, before = [], time.monotonic(), clock()  # writing it is no part of the job's seconds
        if stop:
            raise Stopped
