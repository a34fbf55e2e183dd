"""Several runs of one protocol as one: shards that several machines made, of other prompts, seeds or methods.

A job that two of them have counts once where both are equal: by its key, its status, its scene and its views, by their
checksums. Where one failed and the other came to a result, the result counts; where one is scored, its scores do.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from errors import UserError
from eval.divergence import classify
from eval.score import SCORES, Scores, scores_of
from eval.views import checksum, has_pictures, job_json, jobs
from locks import held
from prompts import is_own
from reports import Frames, judges_of, load

OF_A_JOB = {"pictures", "prompt", "opacity", "truth", "shape", "depth", "front"}  # of a stamp: no matter of who scores
SLACK = 1e-3  # between scores of equal views: of another device, not of other numbers
NAMED, SHORT = 5, 100  # of what differs, and signs of it, at most


class Job(NamedTuple):
    """A job's folder in the run called `of`, and what tells its result from others."""

    folder: Path
    of: str
    facts: dict[str, Any]
    scores: Scores

    @property
    def failed(self) -> bool:
        return self.facts["status"] == "failed"


class Merged(NamedTuple):
    """The jobs by their place in a run; how many are in several, and sentences on those that failed in one."""

    jobs: dict[Path, Job]
    twice: int
    said: list[str]


def merged(runs: Mapping[str, Path], each: Callable[[Path], None] = lambda job: None) -> Merged:
    """What runs, by name, are together; `each` is told of every job that is read. Raises UserError where they are not
    of one protocol, where two have a job with other results, and for one that is not whole."""
    frames = {name: load(run) for name, run in runs.items()}
    _refuse("These runs are not of one protocol", [*_settings(frames), *_measures(runs, frames)])
    found, twice, said, clashes = dict[Path, Job](), 0, list[str](), list[str]()
    for name, run in runs.items():
        for folder in jobs(run):
            place, new = folder.relative_to(run), _job(folder, name)
            each(folder)
            old = found.setdefault(place, new)
            if old is new:
                continue
            twice += 1
            if old.failed != new.failed:
                found[place] = min(old, new, key=lambda job: job.failed)
                said.append(f"{place} failed in {max(old, new, key=lambda job: job.failed).of}, and counts once.")
            elif differing := unlike(old, new):
                clashes.append(f"{place} of {old.of} and of {new.of} differ in their {' and '.join(differing)}")
            elif not old.scores.columns and new.scores.columns:
                found[place] = new
    _refuse("These runs have jobs in common with other results", clashes, "; leave one of the two out")
    return Merged(found, twice, said)


def _refuse(what: str, found: list[str], mend: str = "") -> None:
    if found:
        more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
        raise UserError(f"{what}: {'; '.join(found[:NAMED])}{more}{mend}.")


def _job(folder: Path, name: str) -> Job:
    record, config, scores = job_json(folder / "record.json"), job_json(folder / "config.json"), scores_of(folder)
    seen = {stamp.get("pictures") for stamp in scores.stamps.values()}
    facts = {
        "status": classify(record, None),
        "key": record.get("key") or config.get("key"),
        "scene": record.get("scene"),
        "views": checksum(folder) if has_pictures(folder) else seen.pop() if len(seen) == 1 else None,
    }
    return Job(folder, name, facts, scores)


def unlike(one: Job, other: Job) -> list[str]:
    """In what two results of a job differ, as far as both say it; of two that failed, in nothing."""
    if one.failed and other.failed:
        return []
    both = [name for name, value in one.facts.items() if value is not None and other.facts[name] is not None]
    differing = [name for name in both if one.facts[name] != other.facts[name]]
    same = [m for m, stamp in one.scores.stamps.items() if other.scores.stamps.get(m) == stamp]
    pairs = ((one.scores.columns[m], other.scores.columns[m]) for m in same)
    return differing or ([] if all(_close(a, b) for a, b in pairs) else ["scores"])


def _close(one: list[float], other: list[float]) -> bool:
    return len(one) == len(other) and all(
        math.isclose(a, b, rel_tol=SLACK, abs_tol=SLACK) or (math.isnan(a) and math.isnan(b))
        for a, b in zip(one, other, strict=True)
    )


def _settings(frames: Mapping[str, Frames]) -> Iterator[str]:
    """In what runs differ that must be one: suite, track and prior of all, settings and orbit of a method."""
    tables = {name: f.jobs for name, f in frames.items()}
    own = {name: table[table["track"].notna()] for name, table in tables.items()}  # not of other programs
    yield from _differing(tables, "suite", "the suite")
    yield from _differing(own, "track", "the track")
    yield from _differing(own, "prior", "the prior")
    for method in dict.fromkeys(method for table in tables.values() for method in table["method"]):
        its = {name: table[table["method"] == method] for name, table in tables.items()}
        yield from _differing(its, "settings", f"a checksum of the settings of {method}")
        yield from _differing(its, "orbit", f"the orbit of {method}")


def _differing(tables: Mapping[str, pd.DataFrame], fact: str, what: str) -> Iterator[str]:
    told = {name: sorted(set(table[fact].dropna().astype(str))) for name, table in tables.items()}
    told = {name: values for name, values in told.items() if values}
    if len(set(map(tuple, told.values()))) > 1:
        yield f"{what} is " + ", ".join(f"{'/'.join(v[:SHORT] for v in said)} in {run}" for run, said in told.items())


def _measures(runs: Mapping[str, Path], frames: Mapping[str, Frames]) -> Iterator[str]:
    """Metrics that runs measured in other ways, and judges that are others."""
    facts: dict[str, dict[str, set[str]]] = {}
    for run in runs.values():
        for job in jobs(run):
            passed = OF_A_JOB | ({"candidates"} if is_own(job.parent.name) else set())
            for metric, stamp in scores_of(job).stamps.items():
                told = facts.setdefault(metric, {})
                for name in stamp.keys() - passed:
                    told.setdefault(name, set()).add(str(stamp[name]))
    by_reason: dict[str, list[str]] = {}
    for metric, told in facts.items():
        if differing := sorted(name for name, values in told.items() if len(values) > 1):
            by_reason.setdefault(" and ".join(differing), []).append(metric)
    mend = "score each of the runs again by one program"
    if by_reason:
        yield from (f"{', '.join(metrics)}: {why} differ, {mend}" for why, metrics in by_reason.items())
        return
    for name in {name for f in frames.values() for name in judges_of(f.jobs)} - {"candidates"}:
        sums = {s for f in frames.values() if name in judges_of(f.jobs) for s in judges_of(f.jobs)[name].dropna()}
        if len(sums) > 1:
            yield f"they were scored by several models as {name.replace('_', ' ')}, {mend}"


def linked(found: Merged, out: Path) -> None:
    """The jobs as a run's folder that lies elsewhere in truth, to be read and thrown away."""
    for place, job in found.jobs.items():
        (out / place).parent.mkdir(parents=True, exist_ok=True)
        (out / place).symlink_to(job.folder.resolve(), target_is_directory=True)


def write(found: Merged, out: Path, each: Callable[[Path], None] = lambda place: None) -> int:
    """Copy the jobs into a run's folder, each renamed into place whole; returns how many were not there yet."""
    out.mkdir(parents=True, exist_ok=True)
    for left in out.glob(".merging-*"):
        shutil.rmtree(left, ignore_errors=True)  # of a command that was killed
    new = 0
    for place, job in found.jobs.items():
        target = out / place
        if target.resolve() != job.folder.resolve():
            _copied(job.folder, target)
            new += 1
        each(place)
    return new


def _copied(folder: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".merging-", dir=target.parents[2]) as aside, held(folder):
        shutil.copytree(folder, Path(aside, "new"))
        if target.exists():
            target.rename(Path(aside, "old"))
        Path(aside, "new").rename(target)


def is_scored(found: Merged) -> bool:
    """Whether tables can be made of the jobs."""
    return any((job.folder / SCORES).is_file() for job in found.jobs.values())
