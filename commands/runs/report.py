"""`run_benchmark.py report`: a page of runs, to look at and to publish."""

from __future__ import annotations

from pathlib import Path

from commands.options import Parser
from errors import UserError
from names import RECIPES, known
from say import Console, say

DESCRIPTION = """Make a page of one or several scored runs: tables, turntables, distributions, paired differences,
costs, failures, and where every number comes from.

The page is a folder that opens from the disk, asks nothing of the network, and can be published as it is. Several runs
become one leaderboard; what may not be compared stands in divisions of its own."""

EPILOG = """examples
  run_benchmark.py report results/runs/world-controlled            RUN/page/index.html
  run_benchmark.py report results/runs/mine theirs/run --out page  a leaderboard of both"""

PICTURES = ("first", "all", "none")


def parser() -> Parser:
    made = Parser("report", DESCRIPTION, EPILOG)
    made.add_argument("runs", metavar="RUN", type=Path, nargs="+")
    made.add_argument("--out", metavar="DIR", type=Path, help="default, of one run: RUN/page")
    made.add_argument("--pictures", metavar="WHICH", default="first",
                      help="turntables of the first seed, of all seeds, or none; default: first")  # fmt: skip
    made.add_argument("--all-jobs", action="store_true",
                      help="average what each method has; default: the prompts and seeds that all have")  # fmt: skip
    return made


def main(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    pictures = known("choice of pictures", options.pictures, PICTURES)
    if options.out is None and len(options.runs) > 1:
        raise UserError("A page of several runs belongs to none of them: give it a folder with --out DIR.")
    from eval.views import jobs

    for run in options.runs:
        jobs(run)
    from engine.judges import truth_of_run
    from reports import page

    console = Console()
    out = options.out or options.runs[0] / "page"
    say(console, page.write(options.runs, out, list(RECIPES), truth_of_run, console, pictures, not options.all_jobs))
    return 0
