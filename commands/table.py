"""`run_benchmark.py table`: the tables of a scored run again."""

from __future__ import annotations

from pathlib import Path

from commands.options import Parser
from names import RECIPES, known
from say import Console

BESIDE = ("published",)  # what a run can be held against


def parser() -> Parser:
    made = Parser("table", "Print and write the tables of a scored run.")
    made.add_argument("run", metavar="RUN", type=Path)
    made.add_argument("--compare", metavar="{published}", help="published: beside the paper's tables and MV-SDI's")
    made.add_argument("--all-jobs", action="store_true",
                      help="average what each method has; default: the prompts and seeds that all have")  # fmt: skip
    return made


def main(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    if options.compare is not None:
        known("comparison", options.compare, BESIDE)
        from reports import compare

        compare.report(options.run, list(RECIPES), Console())
        return 0
    from commands import results
    from engine import judges

    results.report(options.run, Console(), judges.truth_of_run(options.run), new=False, common=not options.all_jobs)
    return 0
