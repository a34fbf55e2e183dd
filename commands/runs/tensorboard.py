"""`run_benchmark.py tensorboard`: the curves of a run's jobs, as TensorBoard reads them."""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from commands.options import Parser, above_zero, add_run, folder
from engine.remote.mirror import VIEWS, needed
from engine.remote.sharing import looked
from errors import UserError
from say import Console, say

if TYPE_CHECKING:
    from commands.runs.status import Status

DESCRIPTION = """Write what a run's jobs have logged at each step (norms, opacity, regularisers, calls of the network,
whatever a rule logs) as event files, a folder a job, for TensorBoard to show.

The jobs' log.jsonl stay as they are, and what was written before is written again."""

EPILOG = """examples
  run_benchmark.py tensorboard results/runs/world-controlled
  tensorboard --logdir results/runs/world-controlled/tensorboard
  run_benchmark.py tensorboard results/runs/world-controlled --live     while its jobs run"""

MISSING = "Files for TensorBoard need a library that is not here: uv sync --extra tensorboard."


def parser() -> Parser:
    made = Parser("tensorboard", DESCRIPTION, EPILOG)
    add_run(made)
    made.add_argument("--out", metavar="DIR", type=folder, help="default: RUN/tensorboard")
    made.add_argument("--live", type=above_zero, nargs="?", const=10.0, metavar="SECONDS",
                      help="add what is logged meanwhile, every so many seconds, until nobody works at the run; "
                      "default: 10")  # fmt: skip
    return made


def main(arguments: list[str]) -> int:
    options, console = parser().parse_args(arguments), Console()
    needed(options.run, VIEWS)
    if not options.run.is_dir():
        raise UserError(f"There is no run in {options.run}: the folder does not exist.")
    if not find_spec("tensorboard"):
        raise UserError(MISSING)
    from reports.curves import Curves

    out, steps, told = options.out or options.run / "tensorboard", 0, False
    curves = Curves(options.run, out)
    try:
        while True:
            status = seen(options.run) if options.live else None
            steps += curves.follow()
            if status is None or not (status.running or status.commands):
                break
            if not told:
                say(console, f"{out}, added to every {options.live:g} s. Ctrl-C ends that, and nothing else.")
                told = True
            time.sleep(options.live)
    finally:
        curves.close()
    if not curves.jobs:
        raise UserError(f"No job of {options.run} has logged a step: there are no curves.")
    jobs = "1 job" if len(curves.jobs) == 1 else f"{len(curves.jobs)} jobs"
    say(console, f"{jobs}, {steps} steps: tensorboard --logdir {out}")
    return 0


def seen(run: Path) -> Status:
    """How far a run is now, of which all logs were brought."""
    from commands.runs.status import status_of

    looked(run)
    needed(run, VIEWS)
    return status_of(run)
