"""The table in Markdown."""

from __future__ import annotations

import html

import pandas as pd

from reports.columns import paper
from reports.tables import NOTE, PUBLISHED_TITLE, blocks, cell, columns_of, count, label
from reports.uncertainty import differences
from say import one_line


def markdown(table: pd.DataFrame, published: pd.DataFrame, gaps: pd.DataFrame, about: str, remarks: list[str]) -> str:
    """What to know, blocks under their headings, then the paired differences."""
    columns = columns_of(table)
    lines = [f"{NOTE[0].upper()}{NOTE[1:]}.", "", f"{about}." if about else ""]
    lines += ["", *(f"- {one_line(remark)}" for remark in remarks)] if remarks else []
    for title, rows in blocks(table, published):
        shown = paper() if title == PUBLISHED_TITLE else columns
        body = [[_text(label(r)), r["steps"], count(r), *(cell(r, c) for c in shown)] for _, r in rows.iterrows()]
        lines += ["", f"## {title}", "", *pipes(["Method", "Steps", "n", *(c.heading for c in shown)], body)]
    if len(gaps):
        lines += ["", *_differences(gaps)]
    return "\n".join(lines) + "\n"


def _differences(gaps: pd.DataFrame) -> list[str]:
    """Rows are metrics, columns methods."""
    header, body = differences.rows(gaps)
    return [
        f"## Paired differences to {_text(gaps['baseline'].iloc[0])}",
        "",
        differences.NOTE,
        "",
        *pipes([_text(name) for name in header], body),
    ]


def _text(name: str) -> str:
    """A name that is no markup."""
    return html.escape(one_line(name), quote=False)


def pipes(header: list[str], body: list[list[str]]) -> list[str]:
    rows = [[one_line(text).replace("|", "\\|") for text in row] for row in [header, *body]]
    widths = [max(len(row[k]) for row in rows) for k in range(len(header))]
    padded = ["| " + " | ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)) + " |" for row in rows]
    rule = "|" + "|".join("-" * (w + 1) + (":" if k else "-") for k, w in enumerate(widths)) + "|"
    return [padded[0], rule, *padded[1:]]
