"""`run_benchmark.py score`: score the views of a run, or anyone's."""

from __future__ import annotations

from pathlib import Path

from commands.options import Parser, add_judges
from say import Console


def parser() -> Parser:
    made = Parser("score", "Score the views of a run, or anyone's in its layout.")
    made.add_argument("run", metavar="RUN", type=Path)
    made.add_argument("--suite", metavar="NAME", help="default: as the run says")
    add_judges(made)
    return made


def main(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    from commands.shared import results
    from engine import judges

    suite = judges.suite_of(options.run, options.suite)
    chosen = judges.judges_of(suite, options.clip, options.clip2)
    return int(not results.score_and_report(options.run, suite, chosen, options.device, Console()))
