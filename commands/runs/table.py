"""`run_benchmark.py table`: the tables of a scored run again, and how sure they are."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from commands.options import Parser, above_zero, add_run
from engine.remote.mirror import SCORES, needed
from names import RECIPES, known
from say import Console, say

if TYPE_CHECKING:
    from eval.truth import Truth

BESIDE = ("published",)  # what a run can be held against
EPILOG = """examples
  run_benchmark.py table RUN --against sds                     what differs from sds, with intervals and p-values
  run_benchmark.py table RUN --against sds --see clip_score=1  and how many prompts show a difference of 1
  run_benchmark.py table RUN --judges                          which judge orders jobs as the truth does"""


def difference(text: str) -> tuple[str, float]:
    metric, _, size = text.partition("=")
    if not metric or not size:
        raise argparse.ArgumentTypeError(f"{text!r} is not METRIC=D, such as clip_score=0.5")
    return metric, above_zero(size)


def parser() -> Parser:
    made = Parser("table", "Print and write the tables of a scored run.", EPILOG)
    add_run(made)
    made.add_argument("--compare", metavar="{published}", help="published: beside the paper's tables and MV-SDI's")
    made.add_argument("--against", metavar="METHOD",
                      help="each other method less METHOD, paired: 95 %% intervals, Holm's correction")  # fmt: skip
    made.add_argument("--see", type=difference, metavar="METRIC=D",
                      help="with --against: how many prompts it takes to see a difference D")  # fmt: skip
    made.add_argument("--judges", action="store_true", help="rank agreement of judges with the truth")
    made.add_argument("--all-jobs", action="store_true",
                      help="average what each method has; default: the prompts and seeds that all have")  # fmt: skip
    return made


def main(arguments: list[str]) -> int:
    made = parser()
    options = made.parse_args(arguments)
    if options.see and not options.against:
        made.error("--see needs --against METHOD")
    needed(options.run, SCORES)
    if options.against or options.judges:
        return sure(options)
    if options.compare is not None:
        known("comparison", options.compare, BESIDE)
        from reports.published import compare

        compare.report(options.run, list(RECIPES), Console())
        return 0
    from commands.shared import tables

    tables.report(options.run, Console(), lambda: truth(options.run), new=False, common=not options.all_jobs)
    return 0


def truth(run: Path) -> Truth | None:
    """What the figure shows beside the methods."""
    from engine.scoring.judges import truth_of_run
    from reports.figures import SIDES

    return truth_of_run(run, SIDES)


def sure(options: argparse.Namespace) -> int:
    """Differences against a method, and judges against the truth: printed, and written into the run."""
    from files import write_text
    from reports import load
    from reports.uncertainty import agreement, differences

    frames, console = load(options.run), Console()
    if options.against:
        gaps = differences.differences(frames, options.against, list(RECIPES))
        differences.show(gaps, console)
        say(console, write_text(options.run / "differences.csv", gaps.to_csv(index=False)))
        if options.see:
            differences.show_needed(differences.needed(gaps, *options.see), console)
    if options.judges:
        found = agreement.agreement(frames)
        agreement.show(found, console)
        say(console, write_text(options.run / "agreement.csv", found.to_csv(index=False)))
    return 0
