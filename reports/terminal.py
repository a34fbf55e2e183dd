"""The table in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from prompts import is_own
from reports import Frames
from reports.columns import Column, paper
from reports.published import TABLE_1
from reports.tables import NOTE, PUBLISHED_TITLE, blocks, cell, columns_of, count, label, remarks, setting
from say import say, shortened

WIDE = 118  # characters that hold `mean ± std` in one line


def show(frames: Frames, table: pd.DataFrame, console: Console) -> None:
    """Print each block in as many parts as its columns need, the published rows apart, and what is not in the means."""
    for title, rows in blocks(table, TABLE_1.read()):
        shown = paper() if title == PUBLISHED_TITLE else columns_of(table)
        block(title, rows, shown, console)
    say(console, f"{NOTE}; arrows point to the better.", "dim", wrap=True)
    say(console, setting(frames), "dim", wrap=True)
    for line in [*remarks(frames, table), *troubles(frames)]:
        say(console, line, "yellow", wrap=True)


def block(title: str, rows: pd.DataFrame, columns: Sequence[Column], console: Console) -> None:
    """Print rows under a title, in as many parts as their columns need."""
    for part in _fitting(rows, columns, console.width):
        console.print(_table(title, rows, part, console.width), "")
        title = ""


def troubles(frames: Frames) -> list[str]:
    """A line for each way in which jobs did not end well, and for those not scored, by method."""
    jobs = frames.jobs
    lines = []
    for (method, status), group in jobs[jobs["status"] != "ok"].groupby(["method", "status"]):
        causes = group["cause"].dropna().unique()
        lines.append(
            f"{method}: {len(group)} {status} ({', '.join(_names(group))})" + (f": {causes[0]}" if len(causes) else "")
        )
    waiting = jobs[~jobs["scored"] & (jobs["status"] == "ok")]
    for method, group in waiting.groupby("method"):
        which = shortened(_names(group), 10)
        lines.append(f"{method}: {len(group)} without scores, in no mean ({which}): score the run, which says why")
    return lines


def _names(jobs: pd.DataFrame) -> list[str]:
    return [f"{_short(p)}/{s}" for p, s in zip(jobs["prompt_id"], jobs["seed"], strict=True)]


def _short(prompt_id: str) -> str:
    """The number of a prompt; of one of one's own, which has none, its words."""
    return prompt_id if is_own(prompt_id) else prompt_id[:2]


def _fitting(rows: pd.DataFrame, columns: Sequence[Column], width: int) -> list[list[Column]]:
    """The columns in as many tables as the terminal's width needs."""
    facts = [rows.apply(label, axis=1), rows["steps"], rows.apply(count, axis=1)]
    start = sum(max(len(text) for text in (*texts, "Steps")) + 1 for texts in facts)
    parts: list[list[Column]] = [[]]
    used = start
    for column in columns:
        cells = [head(column), *(cell(row, column, _between(width)) for _, row in rows.iterrows())]
        wide = max(len(line) for text in cells for line in text.split("\n")) + 1
        if parts[-1] and used + wide > width:
            parts, used = [*parts, []], start
        parts[-1].append(column)
        used += wide
    return parts


def _table(title: str, rows: pd.DataFrame, columns: Sequence[Column], width: int) -> Table:
    table = Table(title=title or None, title_justify="left", title_style="bold", box=None, padding=(0, 1, 0, 0))
    for header, justify in (("Method", "left"), ("Steps", "right"), ("n", "right")):
        table.add_column(header, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for column in columns:
        table.add_column(head(column), justify="right", no_wrap=True)
    for _, row in rows.iterrows():
        table.add_row(escape(label(row)), row["steps"], count(row), *(cell(row, c, _between(width)) for c in columns))
    return table


def head(column: Column) -> str:
    """Name, in two lines where it has two words, above unit and arrow."""
    tail = " ".join(part for part in (column.unit, column.arrow) if part)
    name = column.title.replace(" ", "\n", 1)
    return f"{name}\n{tail}"


def _between(width: int) -> str:
    return " ± " if width >= WIDE else "\n± "
