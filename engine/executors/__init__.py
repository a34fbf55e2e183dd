"""Where jobs run: local processes, and beside them whatever else takes jobs and tells their news."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from names import known

if TYPE_CHECKING:
    from engine.executors.base import Executor

EXECUTORS = {  # by name, module and class: imported when it is used, as what it needs may not be there
    "local": ("engine.executors.local", "Processes"),
    "ray": ("engine.executors.ray", "Cluster"),
}


def executor_of(name: str, address: str | None = None) -> Executor:
    """A new executor, of those at an address where one is given. Raises UserError for a name nobody knows, and for an
    address where nobody answers."""
    module, wanted = EXECUTORS[known("executor", name, EXECUTORS)]
    made = getattr(import_module(module), wanted)
    return made(address) if address else made()
