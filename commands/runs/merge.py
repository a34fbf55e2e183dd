"""`run_benchmark.py merge`: several runs of one protocol as one."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from commands.options import Parser, folder
from engine.remote.mirror import needed, place_of
from errors import UserError
from say import Console, say

if TYPE_CHECKING:
    from reports.submissions.merge import Merged

DESCRIPTION = """Make one run of several of one protocol: shards of prompts, seeds or methods of several machines.

Suite, track, prior and judges must be the same, and of each method the settings and the views; what differs is named.
A job that two of them have counts once where both have the same result, by key and checksums; else nothing is written.
"""

EPILOG = """examples
  run_benchmark.py merge node1/world node2/world --out results/runs/world
  run_benchmark.py merge a.zip b.zip results/runs/ours --out all.zip     packs have no views, so it is a pack again

Runs are never written to, but for one that is --out itself: the others are added to it. The same command again copies
what is missing."""


def parser() -> Parser:
    made = Parser("merge", DESCRIPTION, EPILOG)
    made.add_argument("runs", metavar="RUN", type=place_of, nargs="+", help="runs' folders or URLs, and packs of runs")
    made.add_argument("--out", metavar="OUT", type=folder, required=True, help="a run's folder, or a pack, FILE.zip")
    return made


def main(arguments: list[str]) -> int:
    options, console = parser().parse_args(arguments), Console()
    for run in options.runs:
        needed(run)
    refuse(options.runs, options.out)
    from rich.progress import Progress

    from commands.runs.compare import free, opened
    from eval.views import jobs
    from reports.submissions import merge

    as_pack = options.out.suffix == ".zip"
    with ExitStack() as stack:
        runs: dict[str, Path] = {}
        if not as_pack and holds_jobs(options.out):
            runs[options.out.resolve().name] = options.out
        for path in dict.fromkeys(options.runs):
            if not (options.out.exists() and path.resolve() == options.out.resolve()):
                name, run = opened(path, stack)
                runs[free(name, runs)] = run
        with Progress(console=console, transient=True) as bars:
            bar = bars.add_task("Reading", total=sum(len(jobs(run)) for run in runs.values()))
            found = merge.merged(runs, lambda job: bars.advance(bar))
        for line in [*found.said, *under_way(runs)]:
            say(console, line, "yellow", wrap=True)
        if as_pack:
            packed(found, options.out, stack, console)
            return 0
        written(found, options.out, console)
    report(found, options.out, console)
    return 0


def refuse(runs: list[Path], out: Path) -> None:
    """Raise UserError for runs that are not there, and a place that cannot be what is asked for."""
    if missing := [run for run in runs if not run.exists()]:
        raise UserError(f"There is no run or pack {missing[0]}: name folders of runs, or packs.")
    packs = [run for run in runs if run.is_file()]
    if out.suffix != ".zip" and packs:
        raise UserError(f"{packs[0]} is a pack, which has no views: give --out a pack, too, such as {out}.zip.")
    if out.suffix == ".zip" and any(run.resolve() == out.resolve() for run in runs):
        raise UserError(f"{out} is handed in itself: give another --out.")
    for run in runs:
        one, other = out.resolve(), run.resolve()
        if other in one.parents or (one in other.parents and out.suffix != ".zip"):
            raise UserError(f"{out} and {run} lie in each other: give an --out elsewhere.")


def holds_jobs(run: Path) -> bool:
    """Whether a folder is a run already, to which others are added. Raises UserError for a file."""
    from eval.views import jobs

    if run.is_file():
        raise UserError(f"{run} is a file: give --out a folder, or a pack that ends with .zip.")
    try:
        return bool(run.is_dir() and jobs(run))
    except UserError:
        return False


def under_way(runs: dict[str, Path]) -> list[str]:
    """A sentence a run that has jobs without an end."""
    counts = {name: len(list(run.glob(".unfinished/*/*/*/config.json"))) for name, run in runs.items()}
    return [f"{name} has {n} jobs without an end: they are left out." for name, n in counts.items() if n]


def written(found: Merged, out: Path, console: Console) -> None:
    from rich.progress import Progress

    from reports.submissions import merge

    with Progress(console=console, transient=True) as bars:
        bar = bars.add_task("Copying", total=len(found.jobs))
        new = merge.write(found, out, lambda place: bars.advance(bar))
    say(console, f"{len(found.jobs)} jobs, {new} of them new, {found.twice} of them in several runs, in {out}")


def packed(found: Merged, out: Path, stack: ExitStack, console: Console) -> None:
    """Merge aside, with its tables, and pack that."""
    from rich.progress import Progress

    import reports
    from names import RECIPES
    from reports import write
    from reports.submissions import merge, pack

    if not merge.is_scored(found):
        raise UserError("Nothing of these runs is scored, and a pack is of scores: run_benchmark.py score RUN.")
    aside = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="merge-")), out.stem)
    merge.linked(found, aside)
    with Progress(console=console, transient=True) as bars:
        bar = bars.add_task("Packing", total=len(found.jobs))
        write.tables(aside, reports.load(aside), list(RECIPES))
        pack.write(aside, out, lambda job: bars.advance(bar))
    say(console, f"{out}: {len(found.jobs)} jobs, {found.twice} of them in several runs")


def report(found: Merged, out: Path, console: Console) -> None:
    """The tables of a merged run, as far as it is scored."""
    from commands.runs.table import truth
    from commands.shared import tables
    from reports.submissions import merge

    if merge.is_scored(found):
        tables.report(out, console, lambda: truth(out), new=True)
    else:
        say(console, f"Nothing of it is scored yet: run_benchmark.py score {out}", "yellow")
