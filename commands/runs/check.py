"""`run_benchmark.py check`: the gate."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path

from commands.options import Parser, add_run
from engine.remote.mirror import needed, place_of
from errors import UserError
from say import Console, say

DESCRIPTION = """Hold a run against a reference: was it reproduced, and did it regress?

The first is answered by the bits of scenes and pictures, and else by whether scores drifted further than rounding
takes them here; a No is a warning. The second by every metric's change over the same prompts, seeds and views, held
against what other seeds do (measured, in the reference). What is better is news, not a failure. So is held what the
rules logged at each step, such as t and the gradient's norm: what moved there fails, whatever the scores say, until the
change is meant (--update)."""
EPILOG = """examples
  run_benchmark.py check RUN --baseline results/reference/ci.json
  run_benchmark.py check RUN --baseline REF.json --junit gate.xml    for CI; GITHUB_STEP_SUMMARY is written where set
  run_benchmark.py check RUN --baseline REF.json --update            make RUN the reference; give it several seeds,
                                                                     which say what chance does
exit codes
  0 passed; 1 worse or moved; 2 it cannot be judged (another protocol, prior or judge, missing jobs, a reference that is
  not whole), with the reason"""
SUMMARY = "GITHUB_STEP_SUMMARY"


def parser() -> Parser:
    made = Parser("check", DESCRIPTION, EPILOG)
    add_run(made)
    made.add_argument("--baseline", metavar="REF", required=True, type=Path,
                      help="a reference, such as results/reference/ci.json")  # fmt: skip
    made.add_argument("--junit", metavar="FILE", type=Path, help="write JUnit XML")
    made.add_argument("--strict", action="store_true", help="what was not reproduced fails, too")
    made.add_argument("--update", action="store_true", help="write RUN as the reference; least changes stay")
    made.add_argument("--drift", metavar="RUN2", type=place_of,
                      help="with --update: the same jobs with other rounding, to say what that does")  # fmt: skip
    return made


def main(arguments: list[str]) -> int:
    made = parser()
    options, console = made.parse_args(arguments), Console()
    if options.drift and not options.update:
        made.error("--drift needs --update")
    if options.junit and not options.junit.absolute().parent.is_dir():
        made.error(f"there is no folder {options.junit.parent} for --junit")
    for run in filter(None, (options.run, options.drift)):
        needed(run)
    from reports import gate

    if options.update:
        found = gate.save(options.run, options.baseline, options.drift)
        say(console, f"{options.baseline}: {len(found.jobs)} jobs, {len(found.seeds)} seeds")
        return 0
    return judged(options, console)


def judged(options: Namespace, console: Console) -> int:
    """The exit code, after what was found was said wherever it is wanted."""
    from reports.gate import check
    from reports.gate.tell import junit, refused, show, summary

    try:
        found = check(options.run, options.baseline)
    except UserError as error:
        told(f"## The gate\n\nCannot judge. {error}\n")
        if options.junit:
            refused(str(error), options.junit)
        raise
    show(found, console)
    told(summary(found))
    if options.junit:
        say(console, junit(found, options.junit))
    return int(not found.passed or (options.strict and not found.reproduced))


def told(text: str) -> None:
    """Added to the page that GitHub shows of a job, where there is one."""
    if path := os.environ.get(SUMMARY):
        with open(path, "a", encoding="utf-8") as stream:
            stream.write(text)
