"""`run_benchmark.py score`: score the views of a run, or anyone's."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from commands.options import Parser, add_executor, add_judges, add_run, where_of
from engine.executors import Where
from say import Console, say

EPILOG = """What other programs made, in whatever layout it lies, is scored by run_benchmark.py evaluate PATH.

exit codes
  0 all is scored; 1 some jobs cannot be, as is said, and the tables are of the others; 2 nothing can be"""


def parser() -> Parser:
    made = Parser("score", "Score the views of a run, or anyone's in its layout.", EPILOG)
    add_run(made)
    made.add_argument("--suite", metavar="NAME", help="default: as the run says")
    add_judges(made)
    made.add_argument("--judge", nargs="+", default=[], metavar="NAME",
                      help="judges of other packages, each in an environment of its own that uv makes: pyiqa:musiq, "
                      "image-reward, ... (docs/other-judges.md); NAME=FOLDER for other weights")  # fmt: skip
    add_executor(made)
    made.add_argument("--accept-licence", action="store_true", help="of the judges, without being asked")
    return made


def main(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    from engine.remote.mirror import SCORES, needed
    from engine.remote.sharing import shared
    from engine.scoring.runs import ENVIRONMENTS
    from errors import UserError

    console, where = Console(), where_of(options)
    if options.judge and not where.is_here:
        raise UserError(ENVIRONMENTS)
    needed(options.run, SCORES)
    return shared(options.run, console, lambda: scored(options, where, console))


def scored(options: Namespace, where: Where, console: Console) -> int:
    """The exit code of scores and tables."""
    from commands.shared import results
    from engine.scoring import judges
    from engine.weights.manifest import place
    from eval.outside import asked

    refuse(options.run)
    suite = judges.suite_of(options.run, options.suite)
    chosen = replace(judges.judges_of(suite, options.clip, options.clip2), outside=tuple(options.judge))
    wanted = asked.asked(chosen.outside, {"clip": chosen.clip, "reward": chosen.reward}, "cpu").values()
    asked.accept(wanted, place(), options.accept_licence, lambda line: say(console, line))
    return int(not results.score_and_report(options.run, suite, chosen, where, console))


def refuse(run: Path) -> None:
    """Raise UserError for a folder that is no run, and say what reads it if it holds views all the same."""
    from errors import UserError
    from eval.views import jobs

    try:
        jobs(run)
    except UserError as error:
        mend = f"; other layouts are read by run_benchmark.py evaluate {run}" if run.is_dir() else ""
        raise UserError(f"{str(error).rstrip('.')}{mend}.") from error
