"""The process that does jobs, one after another or several together, sends news of each step, and stops at a step's end
when told to.

Every message carries the path of its job, but for the end of all. After each job that ends, the parent says what takes
its place: a list, empty where nothing does.
"""

from __future__ import annotations

import errno
import signal
import traceback
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errors import RuleError, UserError, cause

if TYPE_CHECKING:
    from engine.job import Job, Setup
    from engine.together import Scene


class Line:
    """The pipe to the parent. It is cut when the parent stops or dies: `cut` then becomes true."""

    def __init__(self, pipe: Connection):
        self.pipe, self.cut = pipe, False

    def send(self, kind: str, path: Path | None, body: Any) -> None:
        try:
            self.pipe.send((kind, path, body))
        except OSError:
            self.cut = True

    def receive(self) -> list[tuple[Job, dict[str, Any]]]:
        """The jobs to begin now; none where the parent has gone."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self.cut = True
            return []


@dataclass
class JobLine:
    """The line as one job sees it."""

    line: Line
    path: Path

    @property
    def cut(self) -> bool:
        return self.line.cut

    def send(self, kind: str, body: Any) -> None:
        self.line.send(kind, self.path, body)


def main(pipe: Connection, run: Path, setup: Setup) -> None:
    """Do jobs until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what it means
    line = Line(pipe)
    signal.signal(signal.SIGTERM, lambda *_: setattr(line, "cut", True))
    try:
        _work(line, run, setup)
    except UserError as error:
        line.send("fatal", None, str(error))
    except Exception as error:
        sentence = full(run) if is_full(error) else f"The worker failed to start: {cause(error)}."
        line.send("fatal", None, sentence)


def _work(line: Line, run: Path, setup: Setup) -> None:
    import torch

    from engine.together import Together

    torch.set_num_threads(setup.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    scenes, fatal = Together(setup.threads), None

    def begin() -> None:
        for job, config in line.receive():
            scenes.add(job.path, partial(_do, job, config, run, setup, JobLine(line, job.path)))

    begin()
    while scenes.live:
        for scene in scenes.round():
            if scene.error is not None:
                fatal, line.cut = scene.error, True  # the others write their checkpoints first
            elif scene.result is not None:
                line.send("done", scene.name, scene.result)
                if not line.cut:
                    begin()
    if fatal is not None:
        raise fatal


def _do(job: Job, config: dict[str, Any], run: Path, setup: Setup, line: JobLine, scene: Scene) -> dict | None:
    """The record of a job done as one of the scenes; None where it was stopped. Raises what ends all jobs."""
    from engine import optimize
    from engine.prior import open_prior
    from engine.store import Store
    from engine.together import Seat

    store = Store(run, job)
    with store.opened(config):
        try:
            prior = Seat(open_prior(setup.prior, setup.device, job.recipe.half), scene)  # opened the first time
            return optimize.run(job, prior, store, setup, line, scene.clock)
        except optimize.Stopped:
            return None
        except UserError:
            raise
        except Exception as error:
            if is_full(error):
                raise
            record = {
                "status": "crashed",
                "cause": str(error) if isinstance(error, RuleError) else cause(error),
                "traceback": traceback.format_exc(),
            }
            store.finish(record)
            return record


def is_full(error: BaseException) -> bool:
    """Whether the disk is full. safetensors has its own exception, which names the system's error."""
    number = getattr(error, "errno", None)
    return number in (errno.ENOSPC, errno.EDQUOT) or f"os error {errno.ENOSPC}" in str(error)


def full(run: Path) -> str:
    return f"The disk of {run} is full: free some space and run the same command again; nothing finished is lost."
