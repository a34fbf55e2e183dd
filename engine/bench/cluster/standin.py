"""A job that does nothing but wait, in steps, with checkpoints, a log and a result in its folder, as a real one has."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

import torch

from engine.executors.base import Step, Work
from engine.job import Job, Setup
from engine.optimize import Stopped, Watcher
from engine.recipes.tables import recipe
from engine.store import Store
from engine.together import Scene
from engine.worker import within
from prompts import Prompt

ENDS = ".ends"  # RUN/.ends: a file each time that a job came to its end


def jobs_of(count: int, steps: int) -> list[Job]:
    made = recipe("world", "controlled", "sds").changed(steps, None, None, None)
    return [Job(made, Prompt("01-a-stand-in", "a stand-in"), seed) for seed in range(count)]


class StandIn:
    """The task of stand-in jobs, whose steps take so many `seconds`, with a checkpoint every `kept`."""

    def __init__(self, seconds: float, kept: float = 2.0):
        self.seconds, self.kept = seconds, kept

    def __call__(self, work: Work, run: Path, setup: Setup, line: Watcher, scene: Scene) -> dict[str, Any] | None:
        store = Store(run, work[0])
        return within(work, store, line, lambda: self._run(work[0], run, store, line))

    def wait(self, run: Path, step: int) -> None:
        """A step."""
        time.sleep(self.seconds)

    def _run(self, job: Job, run: Path, store: Store, line: Watcher) -> dict[str, Any]:
        kept = store.load_checkpoint()
        first = step = kept[1]["step"] if kept else 0
        store.keep_log(first)
        begun = saved = time.monotonic()
        while step < job.recipe.steps:
            self.wait(run, step)
            step += 1
            store.at(step)
            store.log([{"step": step - 1}])
            line.send(Step(job.path, step))
            if line.cut or time.monotonic() > saved + self.kept:
                store.save_checkpoint({"step": torch.tensor(step)}, {"step": step})
                saved = time.monotonic()
            if line.cut:
                raise Stopped
        (run / ENDS).mkdir(exist_ok=True)
        (run / ENDS / f"{job.seed}.{uuid.uuid4().hex}").touch()
        return store.finish({
            "status": "finished", "step": step, "steps": step, "first": first, "seconds": time.monotonic() - begun,
        })  # fmt: skip


def ends(run: Path) -> dict[int, int]:
    """How often each job came to its end, by its seed."""
    found: dict[int, int] = {}
    for path in (run / ENDS).glob("*.*"):
        found[int(path.stem)] = found.get(int(path.stem), 0) + 1
    return found
