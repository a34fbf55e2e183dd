"""`run_benchmark.py report`: a page of runs, to look at and to publish."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.options import RUN, Parser, above_zero, add_executor, folder, where_of
from engine.executors import Where
from engine.remote import sharing
from engine.remote.mirror import SCORES, VIEWS, needed, place_of
from errors import UserError
from files import replaced
from names import RECIPES, known
from say import Console, say

if TYPE_CHECKING:
    from reports.page import Live

DESCRIPTION = """Make a page of one or several scored runs: tables, turntables, distributions, paired differences,
costs, failures, and where every number comes from.

The page is a folder that opens from the disk, asks nothing of the network, and can be published as it is. Several runs
become one leaderboard; what may not be compared stands in divisions of its own."""

EPILOG = """examples
  run_benchmark.py report results/runs/world-controlled            RUN/page/index.html
  run_benchmark.py report results/runs/world-controlled --live     while its jobs run
  run_benchmark.py report results/runs/mine theirs/run --out page  a leaderboard of both"""

PICTURES = ("first", "all", "none")
PATIENCE = 120.0  # seconds without a new score, after which nobody is scoring


def parser() -> Parser:
    made = Parser("report", DESCRIPTION, EPILOG)
    made.add_argument("runs", metavar="RUN", type=place_of, nargs="+", help=RUN)
    made.add_argument("--out", metavar="DIR", type=folder, help="default, of one run: RUN/page")
    made.add_argument("--pictures", metavar="WHICH", default="first",
                      help="turntables of the first seed, of all seeds, or none; default: first")  # fmt: skip
    made.add_argument("--all-jobs", action="store_true",
                      help="average what each method has; default: the prompts and seeds that all have")  # fmt: skip
    add_executor(made)
    made.add_argument("--live", type=above_zero, nargs="?", const=30.0, metavar="SECONDS",
                      help="write it again every so many seconds, and have the browser load it again, until all is "
                      "done and scored; default: 30")  # fmt: skip
    return made


def main(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    pictures = known("choice of pictures", options.pictures, PICTURES)
    if options.out is None and len(options.runs) > 1:
        raise UserError("A page of several runs belongs to none of them: give it a folder with --out DIR.")
    from eval.views import jobs

    where = where_of(options)
    level = VIEWS if where.is_here else SCORES
    for run in [] if options.live else options.runs:
        needed(run, level)
        jobs(run)
    console, out = Console(), options.out or options.runs[0] / "page"

    def write(live: Live | None) -> Path:
        from engine.scoring.judges import truth_of_run
        from reports import page

        spread = None if where.is_here else partial(on_nodes, options.runs, where)
        return page.write(
            options.runs, out, list(RECIPES), truth_of_run, console, pictures, not options.all_jobs, live, spread
        )

    say(console, watched(options.runs, options.live, level, write, console) if options.live else write(None))
    return 0


def on_nodes(runs: list[Path], where: Where, jobs: Sequence[Path], out: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """reports.page.Spread: the pictures of jobs by the nodes of a cluster, whose files are put into the page here."""
    from engine.executors.units import Lack, Unit, done
    from reports import page
    from reports.page import sheets

    made = partial(page.unit, sheets.sizes(out / "turntables"))
    for run in runs:
        folders = {job.relative_to(run.resolve()): job for job in jobs if job.is_relative_to(run.resolve())}
        units = [Unit(path) for path in folders]
        for unit, result in done(run, units, made, where, Console(quiet=True), "", level=VIEWS):
            if isinstance(result, Lack):
                yield folders[unit.path], {"damaged": f"{folders[unit.path]}: {result.why}."}
                continue
            seen, files = result
            for name, content in files.items():
                replaced(out / name, partial(_put, content))
            yield folders[unit.path], seen


def _put(content: bytes, aside: Path) -> None:
    aside.write_bytes(content)


def watched(
    runs: list[Path], seconds: float, level: int, write: Callable[[Live | None], Path], console: Console
) -> Path:
    """Write the page again and again until nobody works at the runs and all their jobs are scored, or nobody scores
    them; then once more, as it stays."""
    from reports.page import Live

    scored, since, told = -1, time.monotonic(), ""
    while True:
        working, said, unscored, now_scored = looked(runs, level)
        if now_scored != scored or working:
            scored, since = now_scored, time.monotonic()
        if not working and (not unscored or time.monotonic() - since > PATIENCE):
            if unscored:
                say(
                    console, f"{unscored} jobs are not scored: run_benchmark.py score RUN, then report again.", "yellow"
                )
            return write(None)
        try:
            path = write(Live(seconds, time.time(), said))
            if not told:
                say(console, f"{path}, written again every {seconds:g} s. Ctrl-C ends that, and nothing else.")
            told = told or str(path)
        except UserError as error:  # no job has ended yet, or one is just being written
            say(console, f"Not yet: {error}", "dim")
        time.sleep(seconds)


def looked(runs: list[Path], level: int = VIEWS) -> tuple[bool, str, int, int]:
    """Whether anybody works at the runs, how far they are in a sentence, and how many jobs that have views are not
    scored, and are. Raises UserError for a run that nobody has begun."""
    from commands.runs.status import status_of
    from eval.score import SCORES

    for run in runs:
        sharing.looked(run)
        needed(run, level)
    found = [status_of(run) for run in runs]
    ended = [run / job for run, status in zip(runs, found, strict=True) for job in status.records]
    done = sum((job / SCORES).exists() for job in ended)
    waiting = [job for job in ended if not (job / SCORES).exists() and (job / "views").is_dir()]
    running, more = sum(len(s.running) for s in found), sum(len(s.waiting) for s in found)
    said = f"{len(ended)} jobs have ended, {running} run, {more} wait; {done} are scored."
    return any(s.running or s.commands for s in found), said, len(waiting), done
