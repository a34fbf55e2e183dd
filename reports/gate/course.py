"""How a run trained, of what its rules logged: a mean over each half of a job's steps.

A fault in a rule may leave its scores within chance, or better: what it does at each step, such as the times it draws
and the norm of its gradient, it does otherwise all the same. Another rounding does not show here, where training
multiplies it in scores.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from errors import UserError
from reports import KEYS
from reports.curves import LOG, rows_of

NAMED = "log of "  # how a name begins that is of a log, and no metric's
HALVES = ("1st half", "2nd half")
NOT_MEANS = ("step", "nfe")  # the loop's count, and the calls of the network up to a step, whose total is a column
MATTERS = 0.025  # of a mean's size: the least change that does


def courses(run: Path, jobs: pd.DataFrame) -> pd.DataFrame:
    """A row a job, by method, prompt_id and seed, and a column for each half of each number that a log has, as
    "log of grad_norm, 1st half"; NaN where a job has none. Of jobs that came to an end well, alone: others logged what
    is no number. Raises UserError for a log that ends before its job did."""
    ended = jobs[jobs["status"] == "ok"]
    index = pd.MultiIndex.from_frame(ended[KEYS])
    means = [_course(run.joinpath(*key) / LOG, steps) for key, steps in zip(index, ended["steps"], strict=True)]
    return pd.DataFrame(means, index=index, dtype=float)


def of(logged: pd.DataFrame, method: str) -> pd.DataFrame:
    """The rows of a method's jobs."""
    return logged[logged.index.get_level_values("method") == method]


def is_course(metric: str) -> bool:
    """Whether a row of the gate is one of these, and no metric."""
    return metric.startswith(NAMED)


def _course(log: Path, steps: float) -> dict[str, float]:
    rows = rows_of(log) if log.is_file() else []
    if rows and rows[-1]["step"] + 1 < steps:
        raise UserError(
            f"The run is not whole. {log} ends at step {rows[-1]['step'] + 1} of {steps:.0f}: restore it, or delete "
            "the job's folder and run the same command again."
        )
    numbers = pd.DataFrame(rows).select_dtypes("number").drop(columns=list(NOT_MEANS), errors="ignore")
    half = np.arange(len(rows)) * len(HALVES) // max(len(rows), 1)
    means = numbers.where(np.isfinite(numbers)).groupby(half).mean()
    return {f"{NAMED}{name}, {HALVES[i]}": float(means.loc[i, name]) for name in means for i in means.index}
