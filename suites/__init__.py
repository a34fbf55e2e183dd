"""The suites, and the only list of them. A suite is one file: its prompts, its prior, its judges, its truth."""

from __future__ import annotations

from names import known
from suites.base import Suite
from suites.paper import PAPER
from suites.world import WORLD

SUITES: dict[str, Suite] = {suite.name: suite for suite in (WORLD, PAPER)}


def suite_named(name: str) -> Suite:
    """Raises UserError with the nearest names."""
    return SUITES[known("suite", name, SUITES)]
