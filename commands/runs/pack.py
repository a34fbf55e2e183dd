"""`run_benchmark.py pack`: a run as one archive."""

from __future__ import annotations

from pathlib import Path

from commands.options import Parser, add_run, folder
from engine.remote.mirror import VIEWS, mirror_of, needed
from errors import UserError, first_line
from say import Console, say

DESCRIPTION = """Make one archive of a scored run, to hand around or to publish: all scores and settings, a few views of
each job, a checksum of every file, and no path of this machine. `compare` reads it."""

EPILOG = """example
  run_benchmark.py pack results/runs/world-controlled
  run_benchmark.py compare results/runs/world-controlled theirs.zip table-1"""


def parser() -> Parser:
    made = Parser("pack", DESCRIPTION, EPILOG)
    add_run(made)
    made.add_argument("--out", metavar="FILE", type=folder, help="default: RUN.zip, beside the run; of a URL, here")
    return made


def main(arguments: list[str]) -> int:
    options, console = parser().parse_args(arguments), Console()
    from rich.progress import Progress

    from eval.views import jobs
    from reports.submissions import pack

    run = options.run
    target = options.out or (Path(f"{run.name}.zip") if mirror_of(run) else Path(f"{run.resolve()}.zip"))
    if target.suffix != ".zip":
        raise UserError(f"{target} is no name of a pack: give --out one that ends with .zip.")
    needed(run, VIEWS)
    try:
        with Progress(console=console, transient=True) as bars:
            bar = bars.add_task("Packing", total=len(jobs(options.run)))
            n = pack.write(options.run, target, lambda job: bars.advance(bar))
    except OSError as error:
        raise UserError(f"The pack {target} cannot be written ({first_line(error)}): give another --out.") from error
    say(console, f"{target}: {n} jobs, {target.stat().st_size / 1e6:.1f} MB")
    return 0
