"""The columns of the tables: those of the paper's Table 1 in its order, then what it lacks. Those of a view are metrics
(`eval.metrics`); those of a job stand here: how it ended, and what it cost (it measured that itself: time and calls
survive a restart).
"""

from __future__ import annotations

import ast
import math
import sys
from contextlib import suppress
from functools import cache
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from eval.metric import Column, Metric
from files import read_text
from sources import file_of

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
    return [m for m in _metrics() if m.group in (groups or ("paper", "more"))]


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


def _metrics() -> tuple[Metric, ...]:
    """All metrics. Where nothing has imported them yet, they are read from the source of their files, without their
    functions: to import those is to import torch, which takes longer than most tables."""
    if "eval.metrics" not in sys.modules:
        with suppress(NameError, AttributeError):  # declared by what only an import gives
            return _read("eval.metrics").METRICS
    return import_module("eval.metrics").METRICS


@cache
def _read(module: str) -> Any:
    """What the assignments of a module of eval/ make, its functions and classes being no more than names; the module
    itself where it needs no torch, as the packages there do not."""
    if module == "eval.metric" or not file_of(module).is_file():
        return import_module(module)
    space: dict[str, Any] = {}
    for node in ast.parse(read_text(file_of(module))).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            space[node.name] = None
        elif isinstance(node, ast.Import):
            space |= {name.name: import_module(name.name) for name in node.names if name.name == "math"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "eval":
            space |= {name.asname or name.name: _named(str(node.module), name.name) for name in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            with suppress(NameError, AttributeError, TypeError):  # made of torch: no metric's words are
                exec(compile(ast.Module([node], []), module, "exec"), space)
    return SimpleNamespace(**space)


def _named(module: str, name: str) -> Any:
    """What `from module import name` gives: a module, or what one has by that name."""
    inner = f"{module}.{name}"
    place = file_of(inner)
    is_module = place.is_file() or place.with_suffix("").is_dir()
    return _read(inner) if is_module else getattr(_read(module), name, None)
