"""The process that does one job after another, sends news of each step, and stops at a step's end when told to."""

from __future__ import annotations

import errno
import signal
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from errors import RuleError, UserError


@dataclass(frozen=True)
class Setup:
    """What all processes of a run share."""

    prior: str  # as engine.prior opens it
    device: str
    threads: int
    checkpoint_seconds: float = 20.0


class Line:
    """The pipe to the parent. It is cut when the parent stops or dies: `cut` then becomes true."""

    def __init__(self, pipe: Connection):
        self.pipe, self.cut = pipe, False

    def send(self, kind: str, body: Any) -> None:
        try:
            self.pipe.send((kind, body))
        except OSError:
            self.cut = True


def main(pipe: Connection, run: Path, setup: Setup) -> None:
    """Do jobs until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what it means
    line = Line(pipe)
    signal.signal(signal.SIGTERM, lambda *_: setattr(line, "cut", True))
    try:
        _work(line, run, setup)
    except UserError as error:
        line.send("fatal", str(error))
    except Exception as error:
        line.send("fatal", full(run) if is_full(error) else f"The worker failed to start: {_cause(error)}.")


def _work(line: Line, run: Path, setup: Setup) -> None:
    import torch

    from engine import optimize
    from engine.prior import open_prior
    from engine.store import Store

    torch.set_num_threads(setup.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    while not line.cut:
        try:
            job, config = line.pipe.recv()
        except EOFError:
            return
        store = Store(run, job)
        with store.opened(config):
            try:
                prior = open_prior(setup.prior, setup.device, job.recipe.half)  # the first time
                record = optimize.run(job, prior, store, setup, line)
            except optimize.Stopped:
                return
            except UserError:
                raise
            except Exception as error:
                if is_full(error):
                    raise
                record = {"status": "crashed", "cause": _cause(error), "traceback": traceback.format_exc()}
                store.finish(record)
        line.send("done", record)


def is_full(error: BaseException) -> bool:
    """Whether the disk is full. safetensors has its own exception, which names the system's error."""
    number = getattr(error, "errno", None)
    return number in (errno.ENOSPC, errno.EDQUOT) or f"os error {errno.ENOSPC}" in str(error)


def full(run: Path) -> str:
    return f"The disk of {run} is full: free some space and run the same command again; nothing finished is lost."


def _cause(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    if isinstance(error, RuleError):
        return text[0]
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
