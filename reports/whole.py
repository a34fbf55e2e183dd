"""Whether what a job left is whole: partial data never counts in silence.

Looked at, of every job: its status is a known one; its scores are of as many views as its orbit and its pictures, and
each a number that its metric can give; its pictures are there for every view; its scene is as long as it says.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open

from errors import UserError, first_line
from eval.divergence import STATUSES
from eval.views import has_pictures, numbers
from reports.columns import measured

MOST = 5  # jobs that are named


def faults(folder: Path, record: dict[str, Any], scores: pd.DataFrame | None, views: int | None) -> list[str]:
    """What is wrong in a job's folder, each in words that name the file. `views` as its orbit says, where one does."""
    status = record.get("status", "finished")
    if status not in STATUSES:
        return [f"record.json has the status {status!r}, which nobody knows"]
    if scores is None:  # nothing of it counts, and that is said elsewhere
        return []
    return [*_scores(folder, scores, views), *_pictures(folder), *_scene(folder / "scene.safetensors")]


def _scores(folder: Path, scores: pd.DataFrame, views: int | None) -> Iterable[str]:
    expected = len(numbers(folder, "rgb")) if has_pictures(folder) else views
    if expected is not None and len(scores) != expected:
        yield f"scores.csv has {len(scores)} rows of {expected} views"
    elif list(scores["view"]) != list(range(len(scores))):
        yield "scores.csv has views that are not numbered from 0, each once"
    for metric in measured("paper", "more", "hidden"):
        if metric.key not in scores:
            continue
        values = pd.to_numeric(scores[metric.key], errors="coerce").to_numpy(float)
        if len(wrong := scores[metric.key][np.isnan(values) & scores[metric.key].notna().to_numpy()]):
            yield f"scores.csv has {wrong.iloc[0]!r} for {metric.key}"
            continue
        low, high = metric.limits
        slack = 1e-4 * max(abs(x) for x in (low, high) if np.isfinite(x)) if np.isfinite((low, high)).any() else 0.0
        bad = values[~np.isnan(values) & ~(np.isfinite(values) & (values >= low - slack) & (values <= high + slack))]
        if len(bad):
            yield f"scores.csv has {bad[0]:g} for {metric.key}, which lies in {low:g} ... {high:g}"


def _pictures(folder: Path) -> Iterable[str]:
    seen, clear = numbers(folder, "rgb"), numbers(folder, "opacity")
    if clear and seen != clear:
        gone = sorted(set(seen) ^ set(clear))
        kind = "opacity" if gone[0] in seen else "rgb"
        yield f"the picture {kind}_{gone[0]:03d} is missing"


def _scene(path: Path) -> Iterable[str]:
    if not path.exists():
        return
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
    raise UserError(f"The run is not whole. {'; '.join(told)}{more}: {mend}.")
