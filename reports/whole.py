"""Whether what a job left is whole: partial data never counts in silence.

Looked at, of every job: its status is a known one; its scores are of as many views as its orbit and its pictures, and
each a number that its metric can give; its pictures are there for every view; its scene is as long as it says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Shaped
from numpy import ndarray
from safetensors import SafetensorError, safe_open

from errors import UserError, first_line
from eval.divergence import STATUSES
from eval.metric import Metric
from eval.views import KINDS, VIEW
from reports.columns import measured

MOST = 5  # jobs that are named
FEWER = " rows of "  # in what is said of scores that are of fewer or more views than there are
TIMED_OUT = "timed-out"  # of another program
PICTURE = re.compile(rf"{VIEW.pattern}(?i:{'|'.join(map(re.escape, KINDS))})", re.ASCII)


def odd(scores: pd.DataFrame) -> Bool[ndarray, " N"]:
    """Which rows, of any jobs, hold a value that its metric cannot give: a run has a hundred thousand rows."""
    found = np.zeros(len(scores), bool)
    for metric in measured("paper", "more", "hidden"):
        if metric.key in scores:
            found |= _is_wrong(scores[metric.key], metric)
    return found


def _is_wrong(column: pd.Series, metric: Metric) -> Bool[ndarray, " N"]:
    values = pd.to_numeric(column, errors="coerce").to_numpy(float)
    low, high = metric.limits
    slack = 1e-4 * max(abs(x) for x in (low, high) if np.isfinite(x)) if np.isfinite((low, high)).any() else 0.0
    known = np.isfinite(values) & (values >= low - slack) & (values <= high + slack)
    return ~known & column.notna().to_numpy()


class Numbers(NamedTuple):
    """The numbers of a job's pictures by kind."""

    rgb: frozenset[int]
    opacity: frozenset[int]


@lru_cache  # the folders of a run hold the same names
def pictures(names: frozenset[str]) -> Numbers:
    """Of the files in the folder of a job's pictures."""
    found = [match for name in names if (match := PICTURE.fullmatch(name))]
    return Numbers(*(frozenset(int(match[2]) for match in found if match[1] == kind) for kind in Numbers._fields))


def faults(
    status: str, view: Shaped[ndarray, " V"] | None, wanted: int | None, seen: Numbers, wrong: pd.DataFrame | None
) -> list[str]:
    """What is wrong in a job's folder, each in words that name the file: its `status` as its record says it, the
    numbers of the `view`s that were scored, None where it was not, the views `wanted` by its orbit, where one says, its
    pictures, and its scores where any is `odd`."""
    if status not in (*STATUSES, TIMED_OUT):
        return [f"record.json has the status {status!r}, which nobody knows"]
    if view is None:  # nothing of it counts, and that is said elsewhere
        return []
    said = [*_counted(view, len(seen.rgb) or wanted)]
    said += [*_values(wrong)] if wrong is not None else []
    return [*said, *_missing(seen)]


def _counted(view: Shaped[ndarray, " V"], views: int | None) -> Iterable[str]:
    if views is not None and len(view) != views:
        yield f"scores.csv has {len(view)}{FEWER}{views} views"
    elif not np.array_equal(view, np.arange(len(view))):
        yield "scores.csv has views that are not numbered from 0, each once"


def _values(scores: pd.DataFrame) -> Iterable[str]:
    """A sentence a metric, of its first wrong value."""
    for metric in measured("paper", "more", "hidden"):
        if metric.key not in scores or not (wrong := scores[metric.key][_is_wrong(scores[metric.key], metric)]).size:
            continue
        value = pd.to_numeric(wrong, errors="coerce").iloc[0]
        low, high = metric.limits
        if pd.isna(value):
            yield f"scores.csv has {wrong.iloc[0]!r} for {metric.key}"
        else:
            yield f"scores.csv has {value:g} for {metric.key}, which lies in {low:g} ... {high:g}"


def _missing(seen: Numbers) -> Iterable[str]:
    if seen.opacity and (gone := sorted(seen.rgb ^ seen.opacity)):
        yield f"the picture {'opacity' if gone[0] in seen.rgb else 'rgb'}_{gone[0]:03d} is missing"


def scene(path: Path) -> Iterable[str]:
    """What is wrong with a scene's file."""
    try:
        with safe_open(path, "np"):
            pass
    except (SafetensorError, OSError) as error:
        yield f"{path.name} is damaged ({first_line(error)})"


def refuse(found: dict[Path, list[str]]) -> None:
    """Raises UserError where there is anything wrong, with the jobs, what it is, and what to do."""
    found = {folder: said for folder, said in found.items() if said}
    if not found:
        return
    told = [f"{folder}: {' and '.join(said)}" for folder, said in list(found.items())[:MOST]]
    more = f"; and {len(found) - MOST} more jobs" if len(found) > MOST else ""
    ours = all((folder / "config.json").exists() for folder in found)
    mend = (
        "delete what is named (the scores, or the job's folder) and run the same command again"
        if ours
        else "put it right"
    )
    if ours and all(FEWER in text for said in found.values() for text in said):
        run = next(iter(found)).parent.parent.parent
        mend = f"after a render, run_benchmark.py score {run} scores the new views; else {mend}"
    raise UserError(f"The run is not whole. {'; '.join(told)}{more}: {mend}.")
