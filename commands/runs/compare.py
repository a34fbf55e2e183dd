"""`run_benchmark.py compare`: runs, packs and published tables side by side."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

from commands.options import Parser, folder
from engine.remote.mirror import SCORES, needed, place_of
from errors import UserError
from names import RECIPES, known
from say import Console, say

DESCRIPTION = """Set runs, packs of runs and published tables side by side.

Means are over the prompts and seeds that all runs have; differences are paired, with intervals and p-values, where
jobs are of the same prompt and seed, or of the same prompt. What two runs measured in different ways is left out, and
said."""

EPILOG = """examples
  run_benchmark.py compare results/runs/world-controlled results/runs/evaluate-world-mine
  run_benchmark.py compare mine.zip theirs.zip table-1 mv-sdi --baseline theirs/sdi --out results/runs/compared"""


def parser() -> Parser:
    made = Parser("compare", DESCRIPTION, EPILOG)
    made.add_argument("inputs", metavar="RUN", nargs="+",
                      help="a run's folder or URL, a pack, or a published table: table-1, table-2, mv-sdi")  # fmt: skip
    made.add_argument("--baseline", metavar="RUN/METHOD", help="what differences are taken to; default: the first row")
    made.add_argument("--out", metavar="DIR", type=folder, help="write compare.csv, compare.md, differences.csv there")
    return made


def main(arguments: list[str]) -> int:
    options, console = parser().parse_args(arguments), Console()
    from reports.published import TABLES
    from reports.submissions import side_by_side

    by_name = {table.name: table for table in TABLES}
    published = [by_name[name] for name in options.inputs if name in by_name]
    folders = [place_of(name) for name in options.inputs if name not in by_name]
    for path in folders:
        needed(path, SCORES)
        if not path.exists():
            known("run, pack or published table", str(path), by_name)
    if not folders:
        raise UserError("There is nothing of your own to compare: name a run or a pack beside the published tables.")
    with ExitStack() as stack:
        runs: dict[str, Path] = {}
        for path in folders:
            name, run = opened(path, stack)
            runs[free(name, runs)] = run
        found = side_by_side.compared(runs, published, list(RECIPES), options.baseline)
    side_by_side.show(found, console)
    if options.out:
        for file in side_by_side.write(found, options.out):
            say(console, file)
    return 0


def opened(path: Path, stack: ExitStack) -> tuple[str, Path]:
    """A run's name and folder; a pack is unpacked for as long as the stack lasts. Raises UserError for what is
    neither."""
    from intake import archive
    from reports.submissions import pack

    if path.is_dir():
        return path.resolve().name, path
    if not archive.is_archive(path):
        raise UserError(f"{path} is neither a run's folder nor a pack: make a pack by run_benchmark.py pack RUN.")
    into = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pack-")))
    if refused := archive.unpacked(path, into):
        raise UserError(f"The pack {path} holds what no pack does, {refused[0].where}: {refused[0].why}.")
    return pack.verified(into, path), into


def free(name: str, taken: dict[str, Path]) -> str:
    """The name, with a number behind it where another run has it."""
    names = [name, *(f"{name}-{k}" for k in range(2, len(taken) + 3))]
    return next(n for n in names if n not in taken)
