"""The tables of a run, written and printed. Apart from what makes runs: to read one takes no network and no kernel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import reports
from engine.remote.mirror import VIEWS, needed
from eval import views
from files import is_older
from locks import held
from names import RECIPES
from reports import figures, terminal, write
from reports.measures import measures
from say import Console, say

if TYPE_CHECKING:
    from eval.truth import Truth


def report(run: Path, console: Console, truth_of: Callable[[], Truth | None], new: bool, common: bool = True) -> None:
    """Write the tables and, where something is new, the figures of a run, of which comparison.png alone asks for the
    truth; print the table and where it all lies."""
    frames, order = reports.load(run), list(RECIPES)
    with held(run):  # by one command at a time
        table = write.tables(run, frames, order, common=common)
        figure = run / "comparison.png"
        if new or any(is_older(figure, job / "scores.csv") for job in views.jobs(run)):
            needed(run, VIEWS)
            figures.comparison(run, frames, order, truth_of())
        if is_older(glance := run / "measures.png", run / "table.csv"):
            measures(run, table)
    terminal.show(frames, table, console)
    for file in (figure, glance, run / "table.md", run / "table.csv", run / "table.tex", run / "scores.csv"):
        say(console, file)
