"""Where jobs run: local processes, and beside them whatever else takes jobs and tells their news."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from names import known

if TYPE_CHECKING:
    from engine.executors.base import Executor

EXECUTORS = {  # by name, module and class: imported when it is used, as what it needs may not be there
    "local": ("engine.executors.local", "Processes"),
}


def executor_of(name: str) -> Executor:
    """A new executor. Raises UserError for a name nobody knows."""
    module, wanted = EXECUTORS[known("executor", name, EXECUTORS)]
    return getattr(import_module(module), wanted)()
