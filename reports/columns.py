"""The columns of the tables: those of the paper's Table 1 in its order, then what it lacks. Those of a view are metrics
(`eval.metrics`); those of a job stand here: how it ended, and what it cost (it measured that itself: time and calls
survive a restart).
"""

from __future__ import annotations

import math
from typing import Any

from eval import metrics
from eval.metric import Column, Metric

DIVERGED = Column("diverged_pct", "Div.", "%", "down", 1, 5.0,
                  about="Jobs that left nothing, met a number that is none, or ran out of memory.")  # fmt: skip
TIME = Column("time_min", "Time", "min", "down", 1, bounds=(0.0, math.inf),
              about="A job's, on the machine that it ran on.")  # fmt: skip
MEMORY = Column("memory_gb", "Memory", "GB", "down", 1, bounds=(0.0, math.inf),
                about="The peak of a job that had a device to itself.")  # fmt: skip
NFE = Column("nfe", "NFE", "", "down", 0, bounds=(0.0, math.inf), about="Guided calls of the network in a job.")
COST = (TIME, MEMORY, NFE)
UNITS = {  # column: (field of record.json, its units in one of the column's)
    "time_min": ("seconds", 60.0),
    "nfe": ("nfe", 1.0),  # guided calls of the network; a call's branches are one
    "network_rows": ("network_rows", 1.0),  # images in those calls
    "memory_gb": ("peak_bytes", 1e9),  # CUDA's peak
}
PROCESS = "process peak"  # on a CPU: of the process, which does other jobs before and beside


def measured(*groups: str) -> list[Metric]:
    """The metrics of some groups, of all that a table shows unless said."""
    return [m for m in metrics.METRICS if m.group in (groups or ("paper", "more"))]


def paper() -> list[Column]:
    """Table 1's."""
    return [*measured("paper"), DIVERGED, TIME, MEMORY]


def shown() -> list[Column]:
    """All that a table can show."""
    return [*paper(), NFE, *measured("more")]


def column(key: str) -> Column:
    """The column of a key. Raises KeyError where there is none."""
    return {c.key: c for c in (*shown(), *measured("hidden"))}[key]


def selectable(needs: set[str]) -> list[str]:
    """Metrics that can tell which setting is the best, where `needs` are there."""
    return [m.key for m in measured() if needs >= set(m.needs)]


def cost(record: dict[str, Any]) -> dict[str, float]:
    """The columns of UNITS; NaN where the record lacks one, as for pictures made elsewhere, and for memory that is not
    the job's alone."""
    found = {column: record.get(field, float("nan")) / unit for column, (field, unit) in UNITS.items()}
    return found if own_memory(record) else found | {"memory_gb": float("nan")}


def own_memory(record: dict[str, Any]) -> bool:
    """Whether the peak is one job's: not a process's, nor that of jobs side by side."""
    return record.get("memory") != PROCESS and record.get("together", 1) == 1
