"""`run_benchmark.py doctor`: what a suite lacks on this machine, what fits its GPU and how long it will take.

Nothing is loaded and nothing is fetched. Memory and time are estimates: the published ones of Tables 1 and 2 (an A6000,
48 GB, the authors' code), or those of jobs that were done here, where a run has any.
"""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.table import Table

from commands.options import Parser, folder
from engine.request import RUNS
from engine.weights import manifest as weights
from engine.weights.fetch import free_bytes
from errors import UserError
from files import ROOT
from names import RECIPES, known
from say import Console, plain, say
from suites import SUITES, suite_named
from suites.base import Suite

PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "peft", "safetensors", "requests")
CARD = "A6000"  # what the published costs are of
TIGHT = 0.9  # of a GPU's memory: what needs more may not fit beside the display and the allocator's gaps
DESCRIPTION = """Say before a long run what is missing (weights, GPU, disk, libraries), and how long it will take.

Exit code 0 where all that is needed is there, 2 where something is missing."""


@dataclass(frozen=True)
class Finding:
    """`verdict`: ok, missing, wrong, or note, which stops nothing."""

    verdict: str
    what: str
    detail: str


@dataclass(frozen=True)
class Cost:
    """Of one job at full length: minutes, and peak memory in GB; `source` says whose jobs these were."""

    steps: int
    minutes: float
    gigabytes: float
    source: str


def parser() -> Parser:
    made = Parser("doctor", DESCRIPTION)
    made.add_argument("--suite", default="paper", metavar="NAME", help=f"{' or '.join(SUITES)}; default: paper")
    made.add_argument("--methods", nargs="+", metavar="NAME", help="default: those of the paper's tables")
    made.add_argument("--run", type=folder, metavar="DIR", help="jobs to estimate from; default: the suite's own")
    return made


def main(arguments: list[str]) -> int:
    options, console = parser().parse_args(arguments), Console()
    suite, costs = suite_named(options.suite), published()
    methods = [known("method", name, RECIPES) for name in options.methods or costs]
    sections: dict[str, Iterable[Finding]] = {  # shown as they come: torch takes seconds to import
        f"weights, fetched to {weights.place()}": _models(suite, methods),
        "libraries": map(_library, PACKAGES),
        "disk": _disk(suite, methods),
        "device": _device(suite),
    }
    lacking: list[Finding] = []
    for title, findings in sections.items():
        shown = list(findings)
        _show(title, shown, console)
        lacking += [f for f in shown if f.verdict in ("missing", "wrong")]
    if suite.gpu:
        run = options.run or RUNS / f"{suite.name}-{suite.track}"
        _show_costs(methods, costs | measured(run), len(suite.prompts), _memory(), console)
    say(console, f"\nmissing or wrong: {', '.join(f.what for f in lacking)}" if lacking else "\nall is there")
    if absent := [f.what for f in lacking if f.what in weights.manifest() and f.verdict == "missing"]:
        say(console, f"the weights come by: run_benchmark.py fetch {' '.join(absent)}")
    return 2 if lacking else 0


def _models(suite: Suite, methods: list[str]) -> list[Finding]:
    """The suite's prior and judges: shipped folders, and weights that `fetch` brings for these methods."""
    own = suite.judges
    sources = dict.fromkeys(s for s in (suite.prior, suite.phi, own.clip, own.iqa, own.reward, own.second) if s)
    shipped = [source for source in sources if isinstance(source, Path)]
    fetched = [weights.manifest()[source] for source in sources if isinstance(source, str)]
    found = [Finding("ok", f.name, "shipped") if f.is_dir() else Finding("missing", f.name, str(f)) for f in shipped]
    return found + [weight_finding(weight) for weight in fetched if weight.serves(methods)]


def weight_finding(weight: weights.Weight) -> Finding:
    """Whether a weight's folder is whole and as fetched; else what to do."""
    home = weights.place() / weight.name
    states = {file: weights.state(home, file) for file in weight.files}
    changed = [file.path for file, state in states.items() if state == "changed"]
    missing = [file for file, state in states.items() if state == "missing"]
    if changed:
        return Finding("wrong", weight.name, f"{changed[0]} is not what was fetched: delete it and fetch again")
    if missing:
        near = sum(file.bytes for file in missing if weights.cached(file))
        far = sum(file.bytes for file in missing) - near
        aside = f"; {near / 1e9:.1f} GB more are in Hugging Face's cache" if near else ""
        have = f"{len(weight.files) - len(missing)} of {len(weight.files)} files are here"
        return Finding("missing", weight.name, f"{have}, {far / 1e9:.1f} GB to fetch{aside}")
    if weight.name == "sd21-base":
        try:
            weights.refuse_wrong_variant(str(home), None)
        except UserError as error:
            return Finding("wrong", weight.name, str(error))
    return Finding("ok", weight.name, weight.what)


def _device(suite: Suite) -> Iterator[Finding]:
    import psutil
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for index in range(gpus):
        card = torch.cuda.get_device_properties(index)
        yield Finding("ok", f"GPU {index}", f"{card.name}, {card.total_memory / 1e9:.0f} GB, CUDA {torch.version.cuda}")
    if not gpus:
        why = "torch finds none" if torch.version.cuda else "this torch is built for CPUs"
        aside = f"the {suite.name} suite needs one, --rehearse does not" if suite.gpu else "a CPU will do"
        yield Finding("missing" if suite.gpu else "note", "GPU", f"{why}; {aside}")
    memory = psutil.virtual_memory()
    free = f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB of memory free"
    yield Finding("ok", "CPU", f"{psutil.cpu_count()} cores, {free}")


def _memory() -> float | None:
    """GB of the first GPU."""
    import torch

    return torch.cuda.get_device_properties(0).total_memory / 1e9 if torch.cuda.is_available() else None


def _library(name: str) -> Finding:
    try:
        return Finding("ok", name, version(name))
    except PackageNotFoundError:
        return Finding("missing", name, "not installed: uv sync")


def _disk(suite: Suite, methods: list[str]) -> Iterator[Finding]:
    places = {"results": (RUNS, 1e6 * suite.megabytes * len(suite.prompts) * len(methods))}
    if isinstance(suite.prior, str):
        wanted = [w for w in weights.manifest().values() if w.serves(methods)]
        lacking = [f for w in wanted for f in w.files if weights.state(weights.place() / w.name, f) == "missing"]
        places["weights"] = (weights.place(), float(sum(file.bytes for file in lacking)))
    for what, (place, need) in places.items():
        free = free_bytes(place)
        detail = f"{free / 1e9:.1f} GB free, about {need / 1e9:.1f} GB needed in {place}"
        yield Finding("ok" if free > need else "missing", f"room for {what}", detail)


def published() -> dict[str, Cost]:
    """The cost of a job of each rule in Tables 1 and 2, by the first table that has it."""
    found: dict[str, Cost] = {}
    for table in ("table1", "table2"):
        with (ROOT / "results" / "published" / f"{table}.csv").open(encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                cost = Cost(int(row["steps"]), float(row["time_min"]), float(row["vram_gb"]), f"published, {CARD}")
                found.setdefault(row["method"].lower(), cost)
    return found


def measured(run: Path) -> dict[str, Cost]:
    """The cost of a rule's jobs that are done on a GPU in a run, at the length of its published recipe."""
    from eval.views import job_json

    done: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(run.glob("*/*/*/record.json")):
        record, config = job_json(file), job_json(file.with_name("config.json"))
        if record.get("status") == "finished" and record.get("memory") == "CUDA peak" and "recipe" in config:
            done.setdefault(config["recipe"]["name"], []).append({**record, "steps": config["recipe"]["steps"]})
    full = {name: cost.steps for name, cost in published().items()}
    return {
        name: Cost(
            steps := full.get(name, records[0]["steps"]),
            statistics.median(steps * r["seconds"] / r["steps"] / 60 for r in records),
            max(r["peak_bytes"] for r in records) / 1e9,
            f"{len(records)} done here, {records[0].get('device', '')}",
        )
        for name, records in done.items()
    }


def _show(title: str, findings: list[Finding], console: Console) -> None:
    say(console, f"\n{title}")
    width = max(len(f.what) for f in findings)
    for finding in findings:
        say(console, f"  {finding.verdict:8} {finding.what:{width}}  {finding.detail}")


def _show_costs(methods: list[str], costs: dict[str, Cost], jobs: int, memory: float | None, console: Console) -> None:
    """Time and memory a rule, and of all rules on one GPU."""
    table = Table(box=None, pad_edge=False, title_justify="left")
    for header in ("  rule", "steps", "a job", f"{jobs} jobs", "memory", "here", "source"):
        table.add_column(header, justify="left" if header in ("  rule", "here", "source") else "right", no_wrap=True)
    for name in methods:
        if (cost := costs.get(name)) is None:
            table.add_row(f"  {name}", "", "", "", "", "", "no cost is published")
            continue
        hours = cost.minutes * jobs / 60
        row = (f"  {name}", f"{cost.steps:,}", f"{cost.minutes:.0f} min", f"{hours:.0f} h", f"{cost.gigabytes:.1f} GB")
        table.add_row(*row, fit(cost.gigabytes, memory), plain(cost.source))
    total = sum(costs[name].minutes for name in methods if name in costs) * jobs / 60
    say(console, "\ntime and memory, estimated")
    console.print(table, soft_wrap=True, highlight=False)
    say(console, f"  all on one GPU: about {total:.0f} h, or {total / 24:.1f} days; jobs on a faster card take less")


def fit(gigabytes: float, memory: float | None) -> str:
    """Whether a job of so many GB fits a GPU of `memory` GB."""
    if memory is None:
        return "no GPU"
    return "fits" if gigabytes <= TIGHT * memory else "tight" if gigabytes <= memory else "too large"
