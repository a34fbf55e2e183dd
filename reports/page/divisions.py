"""Several runs as one leaderboard: jobs that may stand in one table share a division, others stand apart.

A division is jobs of one suite and track, closed or open, with the same prior, seen from the same orbit, and scored by
judges that do not contradict each other. Within a run nothing is parted by what `reports.tables` has a remark for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from reports import KEYS, Frames, judges_of, load

SEP = " · "  # between a method and the run that it is of


class Part(NamedTuple):
    """Jobs of one run that belong together. `jobs` has the column `folder`."""

    run: str
    suite: str
    track: str
    open: bool
    alike: tuple[frozenset[str], ...]  # priors and orbits
    judges: dict[str, frozenset[str]]
    wide: pd.DataFrame
    jobs: pd.DataFrame


@dataclass(frozen=True)
class Division:
    """`frames.jobs` has the columns `run` and `folder` besides. A method that several runs have is one row where its
    jobs are of equal settings and do not overlap; else its name says the run."""

    title: str
    runs: tuple[str, ...]
    frames: Frames


def divide(runs: Sequence[Path]) -> list[Division]:
    """The divisions of all runs, the largest first. Raises UserError where a run has no jobs or damaged scores."""
    groups: list[list[Part]] = []
    for name, run in zip(names_of(runs), runs, strict=True):
        for part in parts(name, run):
            home = next((group for group in groups if all(_alike(part, other) for other in group)), None)
            if home is None:
                groups.append([part])
            else:
                home.append(part)
    groups.sort(key=lambda group: -sum(len(part.jobs) for part in group))
    titles = [title_of(group[0]) for group in groups]
    return [
        _division(title if titles.count(title) == 1 else f"{title}, protocol {titles[: k + 1].count(title)}", group)
        for k, (title, group) in enumerate(zip(titles, groups, strict=True))
    ]


def names_of(runs: Sequence[Path]) -> list[str]:
    """The shortest ends of the folders' paths that tell them apart."""
    full = [run.resolve().parts for run in runs]
    for n in range(1, max(map(len, full)) + 1):
        ends = ["/".join(part[-n:]) for part in full]
        if len(set(ends)) == len(set(full)):
            return ends
    return ["/".join(part) for part in full]


def parts(name: str, run: Path) -> Iterable[Part]:
    frames = load(run)
    jobs = frames.jobs.assign(run=name)
    jobs["folder"] = [run / m / p / s for m, p, s in zip(*(jobs[key] for key in KEYS), strict=True)]
    told = jobs[["suite", "track"]].astype(object)
    told = told.fillna({key: _usual(told[key]) for key in told})  # a damaged job says nothing: it is its run's
    by = [told["suite"], told["track"], jobs["open"] != ""]
    for (suite, track, is_open), group in jobs.groupby(by, sort=False):
        wide = frames.wide
        if len(group) < len(jobs):
            wide = wide[wide.set_index(KEYS).index.isin(group.set_index(KEYS).index)]
        alike = tuple(frozenset(group[key].dropna().astype(str)) for key in ("prior", "orbit"))
        judges = {key: frozenset(sums.dropna()) for key, sums in judges_of(group).items()}
        yield Part(name, suite, track, bool(is_open), alike, judges, wide, group)


def _usual(values: pd.Series) -> str:
    known = values.dropna()
    return str(known.mode().iloc[0]) if len(known) else ""


def _alike(a: Part, b: Part) -> bool:
    """Whether two parts may stand in one table."""
    same = (a.suite, a.track, a.open, a.alike) == (b.suite, b.track, b.open, b.alike)
    return same and all(a.judges[key] == b.judges[key] for key in a.judges.keys() & b.judges.keys())


def title_of(part: Part) -> str:
    said = [f"{part.suite} suite" if part.suite else "", f"{part.track} track" if part.track else ""]
    what = ", ".join(filter(None, said)) or "pictures made elsewhere"
    return what[:1].upper() + what[1:] + (", open division" if part.open else "")


def _division(title: str, group: list[Part]) -> Division:
    jobs = pd.concat([part.jobs for part in group], ignore_index=True)
    wide = pd.concat([part.wide.assign(run=part.run) for part in group], ignore_index=True)
    for method in apart(jobs):
        for frame in (jobs, wide):
            here = frame["method"] == method
            frame.loc[here, "method"] = method + SEP + frame.loc[here, "run"]
    runs = tuple(dict.fromkeys(part.run for part in group))
    return Division(title, runs, Frames(wide, jobs))


def apart(jobs: pd.DataFrame) -> list[str]:
    """The methods whose jobs of several runs are not one row: of other settings, or the same prompt and seed twice."""
    several = jobs.groupby("method")["run"].nunique()
    found = []
    for method in several[several > 1].index:
        own = jobs[jobs["method"] == method]
        if own["settings"].nunique(dropna=False) > 1 or own.duplicated(["prompt_id", "seed"]).any():
            found.append(method)
    return found
