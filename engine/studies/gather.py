"""Results of all rules, gathered piece by piece: the finished jobs of runs are added to one small archive of scores.

    run_benchmark.py --methods sdi sds vsd --prompts 1 2 3 --out RUN      stopped and started as hours allow
    python -m engine.studies.gather RUN --into results/reference/world.tar.xz

The archive holds each job's settings, record and scores of every view, without pictures, some kB a job, so that it can
be committed. Beside it stand the tables that are made of it: world.md and world.csv over the prompts and seeds that all
its methods have; world-43.md and world-43.csv of the methods that have most prompts, here 43, where others have fewer;
and world-prompts.csv, the means of each method and prompt. Without RUN the tables are made again.

A job without scores, or that failed, is left out; a diverged one counts. Jobs of another prior, suite, track, judge or
settings are refused, and so is another result of a job that is there: `merge` has the same rules. Equal jobs make an
archive that is equal in its bytes, in whatever order they came.
"""

from __future__ import annotations

import argparse
import io
import lzma
import sys
import tarfile
import tempfile
from pathlib import Path

from errors import UserError
from files import replaced, write_text
from names import RECIPES
from reports import Frames, load, write
from reports.submissions import merge, pack
from reports.submissions.merge import Merged
from say import Console, say

SUFFIX = ".tar.xz"


def gather(runs: list[Path], into: Path) -> tuple[int, int]:
    """Add the runs' finished jobs, and write the tables; returns how many jobs are in the archive, and how many of the
    runs' were left out. Raises UserError for what is not of one protocol, and for an archive that cannot be read."""
    if not into.name.endswith(SUFFIX):
        raise UserError(f"{into} is no name for the archive: it must end with {SUFFIX}.")
    if missing := [run for run in runs if not run.is_dir()]:
        raise UserError(f"There is no run {missing[0]}: name folders of runs.")
    stem = into.name.removesuffix(SUFFIX)
    with tempfile.TemporaryDirectory(prefix="gather-") as aside:
        sources = {}
        if into.exists():
            sources[stem] = unpacked(into, Path(aside, "before"))
        sources |= {str(run): run for run in runs}
        if not sources:
            raise UserError(f"There is no archive {into} yet: name a RUN to begin it with.")
        found = merge.merged(sources)
        told = {place: job for place, job in found.jobs.items() if not job.failed and _is_told(job)}
        if not told:
            raise UserError(
                f"No job of {', '.join(sources)} came to a result and is scored: run_benchmark.py score RUN."
            )
        all_of_it = Path(aside, stem)
        merge.linked(Merged(told, found.twice, found.said), all_of_it)
        _packed(all_of_it, sorted(told), into)
        frames = load(all_of_it)
        _tables(all_of_it, frames, into.with_name(stem))
        means = frames.wide.drop(columns=["view", "azimuth"]).groupby(["prompt_id", "method"])
        write_text(into.with_name(f"{stem}-prompts.csv"), means.mean(numeric_only=True).to_csv(float_format="%.6g"))
        prompts = frames.jobs.groupby("method")["prompt_id"].nunique()
        most = prompts.index[prompts == prompts.max()]
        if 1 < len(most) < len(prompts):  # several have most, others fewer
            part = Frames(*(f[f["method"].isin(most)] for f in frames))
            _tables(all_of_it, part, into.with_name(f"{stem}-{prompts.max()}"))
    return len(told), len(found.jobs) - len(told)


def _tables(run: Path, frames: Frames, stem: Path) -> None:
    """STEM.md and STEM.csv of a run's frames, by way of its folder."""
    write.tables(run, frames, list(RECIPES))
    for suffix in (".md", ".csv"):
        write_text(stem.with_name(stem.name + suffix), (run / f"table{suffix}").read_text("utf-8"))


def _is_told(job: merge.Job) -> bool:
    """A job that has scores, or one that diverged, which has none."""
    return bool(job.scores.columns) or job.facts["status"] != "ok"


def unpacked(archive: Path, folder: Path) -> Path:
    try:
        with tarfile.open(archive, "r:xz") as tar:
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, lzma.LZMAError, EOFError, OSError) as error:
        raise UserError(f"The archive {archive} cannot be read: restore it from version control.") from error
    return folder


def _packed(run: Path, places: list[Path], target: Path) -> None:
    def made(aside: Path) -> None:
        with tarfile.open(aside, "w:xz", preset=9) as tar:
            for place in places:
                for name, content in pack.texts(run / place):
                    member = tarfile.TarInfo((place / name).as_posix())  # no clock, no owner
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))

    if not target.parent.is_dir():
        raise UserError(f"The archive {target} cannot be written: make the folder {target.parent} first.")
    replaced(target, made)


def main() -> int:
    parser = argparse.ArgumentParser("python -m engine.studies.gather", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("runs", type=Path, nargs="*", metavar="RUN", help="folders of runs; none: the tables again")
    parser.add_argument("--into", type=Path, required=True, metavar="FILE.tar.xz")
    options, console = parser.parse_args(), Console()
    try:
        jobs, left = gather(options.runs, options.into)
    except UserError as error:
        say(Console(stderr=True), f"error: {error}", "red", wrap=True)
        return 2
    say(console, f"{options.into}: {jobs} jobs" + (f"; {left} without a result were left out" if left else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
