"""What the command line takes: the options of each command, and what their help says."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import NoReturn

import names
from errors import UserError

CLIP = "a CLIP folder to score with; default: the world's, or the one that fetch brought"
CLIP_2 = "another CLIP for further columns: a folder, or open_clip:ARCHITECTURE=FILE.safetensors"
DEVICE = "auto (default), cpu or cuda"
PRIOR = "a Stable Diffusion folder, random:sd21 or exact; default: the world's, or fetch's"
PHI = "whose U-Net vsd and esd train; default: the prior's, or fetch's sd21 beside its sd21-base"
DESCRIPTION = """Take text-to-3D score distillation from prompt to table.

Without arguments: a first look, two methods on four prompts of the world's suite."""

EPILOG = """examples
  run_benchmark.py                                             the first look
  run_benchmark.py --methods sdi sds sds-anneal --prompts all  a table of the world's suite
  run_benchmark.py --prompts "A ripe strawberry" --seeds 0 1 2
  run_benchmark.py doctor                                      what the paper's suite lacks on this machine
  run_benchmark.py fetch                                       fetch the weights that it needs
  run_benchmark.py --suite paper --rehearse                    the paper's suite in small, on whatever there is
  run_benchmark.py --suite paper                               the paper's suite, on a GPU
  run_benchmark.py --methods sds my_rule.py:MyRule             a rule of your own (docs/your-own-rule.md)
  run_benchmark.py --budget nfe=2000                           equal calls of the U-Net for all methods
  run_benchmark.py sweep sds --cfg 5 7.5 20 --lr 0.005 0.01    tune a method, on prompts kept apart
  run_benchmark.py list                                        all methods, prompts, suites, tracks, priors
  run_benchmark.py score RUN                                   score a run's views, or anyone's, again
  run_benchmark.py table RUN                                   print and write the tables of a scored run
  run_benchmark.py table RUN --compare published               beside the paper's Tables 1 and 2
  run_benchmark.py bench --quick                               what the kernels are worth here, and where time goes
  run_benchmark.py check RUN --baseline REF                    exit 1 where scores left the reference's margin
  run_benchmark.py ablate kappa                                one of the paper's ablations: see ablate --help

results
  results/runs/SUITE-TRACK/table.md, table.csv, table.tex, comparison.png, scores.csv
  results/runs/SUITE-TRACK/<method>/<prompt>/<seed>/           scene, views, log, record of a job

The same command again finishes only what is missing. Exit codes: 0 done, 1 a job crashed or a check failed,
2 the command cannot be carried out, 130 stopped."""

SWEEP = """Find a method's guidance scale and learning rate, on four prompts kept apart from tables of tuned settings.

Every combination is a row: mean of a metric, its error clustered by prompt, and the gap to the best. In the controlled
track the guidance weight of each scale is measured first."""

SWEEP_EPILOG = """example
  run_benchmark.py sweep sds --cfg 5 7.5 20 101 --lr 0.005 0.01 --select iou
  run_benchmark.py --methods sds --tuned results/runs/sweep-sds-world-controlled/best.json --prompts all

results
  results/runs/sweep-METHOD-SUITE-TRACK/sweep.md, sweep.csv, best.json (the best setting and its evidence)

The same command again finishes only what is missing; with more values it adds them."""


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message[:1].upper()}{message[1:].rstrip('.')}: see --help.")


def run_parser() -> Parser:
    parser = Parser("run_benchmark.py [run]", description=DESCRIPTION, epilog=EPILOG, formatter_class=Help)
    parser.add_argument(
        "--methods",
        nargs="+",
        default=["sdi", "sds"],
        metavar="NAME",
        help="names, or FILE.py:CLASS for a rule of your own; default: sdi sds",
    )
    parser.add_argument("--tuned", nargs="+", default=[], metavar="JSON", help="a row for each best.json of a sweep")
    parser.add_argument(
        "--prompts", nargs="+", metavar="TEXT", help="all, texts or ids; default: the first look's four"
    )
    return with_settings(parser)


def with_settings(parser: Parser) -> Parser:
    """The options of every command that makes jobs."""
    parser.add_argument("--suite", default="world", metavar="NAME", help="world (default) or paper: prompts and sizes")
    parser.add_argument("--track", metavar="NAME", help="controlled: only the rule differs; paper: published settings")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N prompts")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="N", help="default: 0")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=positive, metavar="N", help="instead of the recipe's")
    length.add_argument("--budget", type=nfe, metavar="nfe=N", help="steps such that each job has N calls of the U-Net")
    parser.add_argument("--resolution", type=positive, metavar="N", help="of renders, instead of the recipe's")
    parser.add_argument("--views", type=positive, metavar="N", help="to score from; default: 50")
    parser.add_argument(
        "--rehearse", action="store_true", help="in small: 20 steps, 64 x 64, 6 views, of the paper's prompts three"
    )
    parser.add_argument("--prior", metavar="PATH", help=PRIOR)
    parser.add_argument("--phi", metavar="PATH", help=PHI)
    parser.add_argument("--clip", metavar="PATH", help=CLIP)
    parser.add_argument("--clip2", metavar="PATH", help=CLIP_2)
    parser.add_argument("--device", default="auto", metavar="NAME", help=DEVICE)
    parser.add_argument("--out", metavar="DIR", help="default: results/runs/SUITE-TRACK")
    parser.add_argument("--jobs", default="auto", metavar="N", help="processes; default: one a core, one on a GPU")
    parser.add_argument("--together", type=positive, default=1, metavar="N", help="scenes a process; default: 1")
    parser.add_argument("--overwrite", action="store_true", help="replace results of other settings in --out")
    return parser


class Help(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=24, width=110)


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def nfe(text: str) -> int:
    name, _, number = text.partition("=")
    if name != "nfe" or not number.isdecimal() or int(number) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not nfe=N with a whole number N above 0, such as nfe=2000")
    return int(number)


def number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value


def above_zero(text: str) -> float:
    if (value := number(text)) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def sweep_parser() -> Parser:
    parser = Parser("run_benchmark.py sweep", description=SWEEP, epilog=SWEEP_EPILOG, formatter_class=Help)
    parser.add_argument("method", metavar="METHOD", help="a name of `list`, or FILE.py:CLASS")
    parser.add_argument("--cfg", type=number, nargs="+", metavar="S", help="guidance scales; default: the recipe's")
    parser.add_argument("--lr", type=above_zero, nargs="+", metavar="R", help="learning rates of the scene, likewise")
    parser.add_argument("--select", default="clip_score", metavar="METRIC", help="clip_score (default), iou, ...")
    return with_settings(parser)


def score_parser() -> Parser:
    parser = Parser("run_benchmark.py score", description="Score the views of a run, or anyone's in its layout.")
    parser.add_argument("run", metavar="RUN", type=Path)
    parser.add_argument("--suite", metavar="NAME", help="default: as the run says")
    parser.add_argument("--clip", metavar="PATH", help=CLIP)
    parser.add_argument("--clip2", metavar="PATH", help=CLIP_2)
    parser.add_argument("--device", default="auto", metavar="NAME", help=DEVICE)
    return parser


def table_parser() -> Parser:
    parser = Parser("run_benchmark.py table", description="Print and write the tables of a scored run.")
    parser.add_argument("run", metavar="RUN", type=Path)
    parser.add_argument("--compare", metavar="{published}", help="published: beside the paper's tables")
    return parser


def check_parser() -> Parser:
    parser = Parser(
        "run_benchmark.py check", description="Compare a run's means with a reference; exit 1 beyond margin."
    )
    parser.add_argument("run", metavar="RUN", type=Path)
    parser.add_argument(
        "--baseline", metavar="REF", required=True, help="a reference, such as results/reference/*.json"
    )
    parser.add_argument("--update", action="store_true", help="write the run's means as the reference; margins stay")
    return parser


def ablate_parser() -> Parser:
    table = "\n".join(f"  {name:16}{line}" for name, line in names.ABLATIONS.items())
    parser = Parser(
        "run_benchmark.py ablate",
        description=f"The paper's ablations in the known world, each a CSV and a figure:\n\n{table}",
        epilog="The same command again finishes only what is missing.",
        formatter_class=Help,
    )
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--prompts", nargs="+", metavar="TEXT", help="all, texts or ids; default: one to three")
    parser.add_argument("--seeds", type=int, nargs="+", metavar="N", help="default: 0; of diversity, 0 to 7")
    parser.add_argument("--steps", type=positive, metavar="N", help="instead of 300, or 100 of a picture")
    parser.add_argument("--views", type=positive, metavar="N", help="to score a volume from; default: 50")
    parser.add_argument("--prior", metavar="PATH", help="a Stable Diffusion folder or exact; default: the world's")
    parser.add_argument("--device", default="auto", metavar="NAME", help=DEVICE)
    parser.add_argument("--jobs", default="auto", metavar="N", help="processes; default: one a core, one on a GPU")
    parser.add_argument("--out", metavar="DIR", help="default: results/runs/ablate-NAME")
    parser.add_argument("--overwrite", action="store_true", help="replace results of other settings in --out")
    return parser
