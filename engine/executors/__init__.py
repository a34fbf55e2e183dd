"""Where jobs run: local processes, and beside them whatever else takes jobs and tells their news."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from errors import UserError
from names import known
from say import Console, say

if TYPE_CHECKING:
    from engine.executors.base import Executor

EXECUTORS = {  # by name, module and class: imported when it is used, as what it needs may not be there
    "local": ("engine.executors.local", "Processes"),
    "ray": ("engine.executors.ray", "Cluster"),
}
SPREADS = {"ray"}  # whose places do whatever they are given, and not jobs alone, as local processes do
HERE = "{} What is left is done on this machine."


def executor_of(name: str, address: str | None = None, task: Callable[..., Any] | None = None) -> Executor:
    """A new executor, of those at an address where one is given; of a `task` in place of jobs, where it takes one.
    Raises UserError for a name nobody knows, and for an address where nobody answers."""
    module, wanted = EXECUTORS[known("executor", name, EXECUTORS)]
    given = {"address": address, "task": task}
    return getattr(import_module(module), wanted)(**{key: value for key, value in given.items() if value})


@dataclass(frozen=True)
class Where:
    """Where folders of jobs that have ended are worked at: an executor, its address, a device and how many at once, as
    the command line has them."""

    executor: str = "local"
    address: str | None = None
    device: str = "auto"
    jobs: str = "auto"

    @property
    def is_here(self) -> bool:
        """Whether that is this machine's own processes: of an executor that does jobs alone, too."""
        return self.executor not in SPREADS

    @property
    def here(self) -> str:
        """The device of what is done on this machine, while others may have what it has not."""
        return self.device if self.executor == "local" or self.device == "cpu" else "auto"

    def if_there(self, console: Console) -> Where:
        """The same, or, where that is gone by now, which is said, here."""
        try:
            if not self.is_here:
                executor_of(self.executor, self.address)
        except UserError as error:
            say(console, HERE.format(error), "yellow")
            return Where(device=self.here, jobs=self.jobs)
        return self
