#!/usr/bin/env python
"""The command line: plan, generate, score, report."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from engine import names
from errors import UserError
from prompts import load

DESCRIPTION = """Take text-to-3D score distillation from prompt to table.

Without arguments: a first look, two methods on four prompts of the world's suite."""

EPILOG = """examples
  run_benchmark.py                                             the first look
  run_benchmark.py --methods sdi sds sds-anneal --prompts all  a table of the world's suite
  run_benchmark.py --prompts "A ripe strawberry" --seeds 0 1 2
  run_benchmark.py --suite paper --prior PATH                  the paper's suite, on a GPU
  run_benchmark.py list                                        all methods, prompts, suites, tracks, priors
  run_benchmark.py score RUN                                   score a run's views, or anyone's, again
  run_benchmark.py table RUN                                   print and write the tables of a scored run
  run_benchmark.py check RUN --baseline REF                    exit 1 where scores left the reference's margin

results
  results/runs/SUITE-TRACK/table.md, table.csv, table.tex, comparison.png, scores.csv
  results/runs/SUITE-TRACK/<method>/<prompt>/<seed>/           scene, views, log, record of a job

The same command again finishes only what is missing. Exit codes: 0 done, 1 a job crashed or a check failed,
2 the command cannot be carried out, 130 stopped."""


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message[:1].upper()}{message[1:].rstrip('.')}: see --help.")


def run_parser() -> Parser:
    parser = Parser("run_benchmark.py [run]", description=DESCRIPTION, epilog=EPILOG, formatter_class=Help)
    parser.add_argument(
        "--suite", default="world", metavar="NAME", help="world (default) or paper: prompts and sizes"
    )
    parser.add_argument(
        "--track", metavar="NAME", help="controlled: only the rule differs; paper: published settings"
    )
    parser.add_argument(
        "--methods", nargs="+", default=["sdi", "sds"], metavar="NAME", help="default: sdi sds"
    )
    parser.add_argument(
        "--prompts", nargs="+", metavar="TEXT", help="all, texts or ids; default: the first look's four"
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N prompts")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="N", help="default: 0")
    parser.add_argument("--steps", type=positive, metavar="N", help="instead of the recipe's")
    parser.add_argument(
        "--resolution", type=positive, metavar="N", help="of renders, instead of the recipe's"
    )
    parser.add_argument("--views", type=positive, default=50, metavar="N", help="to score from; default: 50")
    parser.add_argument("--prior", metavar="PATH", help="a Stable Diffusion folder, random:sd21 or exact")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto (default), cpu or cuda")
    parser.add_argument("--out", metavar="DIR", help="default: results/runs/SUITE-TRACK")
    parser.add_argument(
        "--jobs", default="auto", metavar="N", help="processes; default: one a core, one on a GPU"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace results of other settings in --out")
    return parser


class Help(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=24, width=110)


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def run(arguments: list[str]) -> int:
    options = run_parser().parse_args(arguments)
    options.prompts = options.prompts or (list(names.FIRST_LOOK) if options.suite == "world" else ["all"])
    from engine import plan

    plan.check_names(options)
    from rich.console import Console

    console = Console()
    todo = plan.plan(options)
    done = len(todo.jobs) - len(todo.missing)
    console.print(f"{len(todo.jobs)} jobs, {done} done already, in {todo.run}", highlight=False)
    from engine.launch import launch

    records = launch(todo.run, todo.missing, todo.configs, todo.setup, todo.slots, console)
    report(todo.run, todo.setup.prior, todo.setup.device)
    return int(any(record["status"] == "crashed" for record in records.values()))


def list_names(arguments: list[str]) -> int:
    Parser("run_benchmark.py list", description="All names that the command line knows.").parse_args(
        arguments
    )
    tables = {
        "suites": names.SUITES,
        "tracks": names.TRACKS,
        "methods": names.RECIPES,
        "priors": names.PRIORS,
    }
    for title, table in tables.items():
        print(title, *(f"  {name:14}{line}" for name, line in table.items()), "", sep="\n")
    for suite in names.SUITES:
        print(
            f"prompts of {suite}", *(f"  {prompt.id:45}{prompt.text}" for prompt in load(suite)), "", sep="\n"
        )
    return 0


COMMANDS = {"run": run, "list": list_names}


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    command, rest = "run", arguments
    try:
        if arguments and not arguments[0].startswith("-"):
            command, rest = names.known("command", arguments[0], COMMANDS), arguments[1:]
        return COMMANDS[command](rest)
    except UserError as error:
        print(f"run_benchmark.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. Nothing is lost: the same command goes on from here.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
