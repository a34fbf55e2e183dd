"""What the options of several commands are, and how they become a Request."""

from __future__ import annotations

import argparse
import math
from argparse import Namespace
from pathlib import Path
from typing import NoReturn

import names
from engine.executors import EXECUTORS, Where
from engine.remote.mirror import place_of
from engine.request import RUNS, SIZES, VIEWS, Policy, Request, folder_name
from errors import UserError
from prompts import Prompt
from suites import SUITES, suite_named
from suites.base import Suite

CLIP = "a CLIP folder to score with; default: the suite's, shipped or brought by fetch"
CLIP_2 = "another CLIP for further columns: a folder, or open_clip:ARCHITECTURE=FILE.safetensors"
DEVICE = "auto (default), cpu, cuda (all of them), or some as in cuda:0,cuda:3"
SCENE = f"{' or '.join(names.SCENES)}; default: the recipe's own (docs/scenes.md)"
PRIOR = "a Stable Diffusion folder or .safetensors file, random:sd21 or exact; default: the suite's"
LORA = "an adapter in diffusers' or peft's format, a .safetensors file, merged into the prior"
PHI = "whose U-Net vsd and esd train; default: the prior's, or fetch's sd21 beside its sd21-base"
JOBS = "processes; default: one a core, one on a GPU"
EXECUTOR = "where jobs run: local (default), or ray, on all nodes of a cluster (docs/cluster.md)"
SPREAD = "where that is done: local (default), all of this machine, or ray, all nodes of a cluster (docs/cluster.md)"
ADDRESS = "of the Ray cluster's head; default: auto, the one that this machine is in"
OUT = "a folder, or the URL of a store, as s3://BUCKET/NAME (docs/stores.md)"
RUN = "a run's folder, or its URL (docs/stores.md)"
OVERWRITE = "replace results of other settings in --out"
FAIL = "stop once X jobs have failed, or, below 1, that share of them; without X, at the first; default: go on"
FIRST = ("sdi", "sds")  # methods, where none is named
LARGEST_SEED = 2**63 - 1  # that torch's generators take


class Help(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=24, width=110)


class Parser(argparse.ArgumentParser):
    """Of one command: `run_benchmark.py COMMAND`."""

    def __init__(self, command: str, description: str, epilog: str | None = None):
        super().__init__(f"run_benchmark.py {command}", description=description, epilog=epilog, formatter_class=Help)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message[:1].upper()}{message[1:].rstrip('.')}: see --help.")


def positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def folder(text: str) -> Path:
    if "://" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is a URL, and a place on this machine is needed")
    return Path(text)


def whole(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def failures(text: str) -> float:
    if (value := number(text)) <= 0 or (value > 1 and value != int(value)):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of jobs nor a share of them between 0 and 1")
    return value


def seed(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) > LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"{text!r} is not a seed, a whole number from 0 to {LARGEST_SEED}")
    return int(text)


def nfe(text: str) -> int:
    name, _, number = text.partition("=")
    if name != "nfe" or not (number.isascii() and number.isdecimal()) or int(number) < 1:
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


def add_settings(parser: Parser) -> None:
    """The options of every command that makes jobs."""
    add = parser.add_argument
    add("--suite", default="world", metavar="NAME", help=f"{' or '.join(SUITES)}: prompts and sizes; default: world")
    add(
        "--track",
        metavar="NAME",
        help="controlled: only the rule differs; paper: published settings; "
        "tuned: what sweeps found; default: the suite's first",
    )
    add("--limit", type=positive, metavar="N", help="only the first N prompts")
    add("--seeds", type=seed, nargs="+", default=[0], metavar="N", help="default: 0")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=positive, metavar="N", help="instead of the recipe's")
    length.add_argument("--budget", type=nfe, metavar="nfe=N", help="steps such that each job has N calls of the U-Net")
    add("--resolution", type=positive, metavar="N", help="of renders, instead of the recipe's")
    add("--views", type=positive, metavar="N", help=f"to score from; default: {VIEWS}")
    sizes = "{steps} steps, {resolution} x {resolution}, {views} views".format(**SIZES)
    add("--rehearse", action="store_true", help=f"in small: {sizes}, of the paper's prompts three")
    add("--scene", metavar="NAME", help=SCENE)
    add("--prior", metavar="PATH", help=PRIOR)
    add("--lora", metavar="FILE", help=LORA)
    add("--phi", metavar="PATH", help=PHI)
    add_judges(parser)
    add("--out", type=place_of, metavar="DIR", help=f"{OUT}; default: results/runs/SUITE-TRACK")
    add("--jobs", default="auto", metavar="N", help=JOBS)
    add_executor(parser, EXECUTOR)
    add("--together", type=positive, default=1, metavar="N", help="scenes a process; default: 1")
    add("--overwrite", action="store_true", help=OVERWRITE)
    add("--retry-on-error", type=whole, default=0, metavar="N", help="tries more for a job that failed; default: 0")
    add("--timeout", type=above_zero, metavar="SECONDS", help="a job that takes longer has failed; its steps are kept")
    add("--fail-on-error", type=failures, nargs="?", const=1.0, metavar="X", help=FAIL)


def add_executor(parser: Parser, what: str = SPREAD) -> None:
    """Where a command's work is done."""
    parser.add_argument("--executor", default="local", metavar="NAME", help=what)
    parser.add_argument("--address", metavar="HOST:PORT", help=ADDRESS)


def where_of(options: Namespace, device: str = "cpu") -> Where:
    """Raises UserError for an executor that nobody knows, or that does not take the address or the device."""
    device = getattr(options, "device", device)
    known_executor(options.executor, options.address, device)
    return Where(options.executor, options.address, device)


def add_run(parser: Parser) -> None:
    """The run that a command reads."""
    parser.add_argument("run", metavar="RUN", type=place_of, help=RUN)


def add_judges(parser: Parser) -> None:
    """The options of every command that scores."""
    parser.add_argument("--clip", metavar="PATH", help=CLIP)
    parser.add_argument("--clip2", metavar="PATH", help=CLIP_2)
    parser.add_argument("--device", default="auto", metavar="NAME", help=DEVICE)


def request_of(options: Namespace, prefix: str = "") -> Request:
    """The request that the options are, all that can be checked before torch is imported checked. The default folder's
    name begins with `prefix`.

    Raises UserError for names nobody knows."""
    suite = suite_named(options.suite)
    track = track_of(suite, options.track)
    external = tuple(getattr(options, "external", ()))  # of `run` alone
    sizes = {name: getattr(options, name) for name in SIZES}
    if options.rehearse:
        budgeted = {"steps"} if options.budget else set()
        sizes = {name: value or (None if name in budgeted else SIZES[name]) for name, value in sizes.items()}
    limit = options.limit or (suite.rehearsed if options.rehearse and not options.prompts else None)
    named = {key: getattr(options, key) for key in ("budget", "scene", "prior", "lora", "phi")}
    if options.scene is not None:
        names.known("scene", options.scene, names.SCENES)
        if track == names.TUNED:
            raise UserError(
                "Tuned settings are of the recipes' own scenes: leave out --scene, or give another --track."
            )
    made = folder_name(suite, track, **sizes, **named, tuned=bool(options.tuned), rehearse=options.rehearse)
    out = options.out or RUNS / f"{prefix}{made}"
    known_executor(options.executor, options.address, options.device)
    return Request(
        suite,
        track,
        prompts_of(suite, options.prompts, apart=bool(options.tuned) or track == names.TUNED)[:limit],
        out,
        methods=tuple(options.methods if options.methods is not None else FIRST if not external else ()),
        tuned=tuple(options.tuned),
        seeds=tuple(dict.fromkeys(options.seeds)),
        **sizes,
        **named,
        **{key: getattr(options, key) for key in ("clip", "clip2", "device", "jobs")},
        together=options.together,
        overwrite=options.overwrite,
        external=external,
        policy=Policy(options.retry_on_error, options.timeout, options.fail_on_error),
        executor=options.executor,
        address=options.address,
    )


def known_executor(name: str, address: str | None, device: str) -> None:
    """Raises UserError where there is no such executor, or it does not take the other two."""
    names.known("executor", name, EXECUTORS)
    if address is not None and name == "local":
        raise UserError("--address is that of a Ray cluster: give --executor ray with it.")
    if name != "local" and device not in ("auto", "cpu", "cuda"):
        raise UserError(
            f"On a cluster, each job has the GPU that it is given: --device takes auto, cpu or cuda, not {device!r}."
        )


def prompts_of(suite: Suite, requests: list[str] | None, apart: bool) -> tuple[Prompt, ...]:
    """The prompts asked for, or the suite's first look; without those on which settings are tuned where they are to be
    kept `apart`. Raises UserError where none is left."""
    chosen = suite.select(requests or suite.first_look or ["all"])
    left = tuple(prompt for prompt in chosen if not (apart and prompt in suite.tuned_on))
    if not left:
        raise UserError("All these prompts are those that settings are tuned on: give tuned ones others.")
    return left


def track_of(suite: Suite, name: str | None) -> str:
    """The track of that name, the suite's first where there is none."""
    if name is None:
        return suite.track
    suite.family(names.known("track", name, names.TRACKS))
    return name
