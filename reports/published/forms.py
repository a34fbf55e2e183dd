"""A comparison with published tables (`reports.published.compare`) in Markdown, LaTeX and the terminal: for each rule
ours, the published row, and the difference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from reports import Frames
from reports.columns import column, paper
from reports.latex import environment, escape, heading, in_math
from reports.latex import header as latex_header
from reports.markdown import pipes
from reports.published import TABLES
from reports.tables import cell, count, setting
from reports.terminal import head, troubles
from say import say

OUTSIDE = "*"
NOTE = (
    "ours and the published: mean ± standard deviation over prompts x views, ours over the n jobs that left an object, "
    "(failed) jobs apart; difference: ours - the published ± our standard error, clustered by prompt; "
    f"{OUTSIDE} ours lies outside the published mean ± its standard deviation"
)
TITLES = {table.key: table.title for table in TABLES} | {"-": "Without a published row"}
WHO = {table.key: table.who for table in TABLES}


class Line(NamedTuple):
    """`cells`, one for each column of Table 1. `inside` as in the comparison, of a difference; "-" of other lines."""

    kind: str  # "ours", "published" or "difference"
    name: str
    steps: str
    n: str
    cells: list[str]
    inside: list[str]


def blocks(compared: pd.DataFrame, between: str = " ± ") -> Iterator[tuple[str, list[list[Line]]]]:
    """The lines of each rule, under the headings of TITLES that there is something for."""
    for number, title in TITLES.items():
        part = compared[compared["table"] == number]
        rules = part.groupby(["published", "method"], sort=False)
        if len(part):
            yield title, [list(_lines(rows.set_index("metric"), between)) for _, rows in rules]


def _lines(rows: pd.DataFrame, between: str) -> Iterator[Line]:
    """Of a rule, by metric: ours, the published where there is one, and the difference where there are both."""
    first, none = rows.iloc[0], ["-"] * len(paper())
    ours, theirs = ([_number(rows, c.key, prefix, between) for c in paper()] for prefix in ("", "published_"))
    own = "not run" if first["method"] == "-" else first["method"]
    yield Line("ours", own, _thousands(first["steps"]), count(first), ours, none)
    if first["published"] != "-":
        name = f"{first['published']}, {WHO[first['table']]}"
        yield Line("published", name, _thousands(first["published_steps"]), "-", theirs, none)
    if "-" not in (first["method"], first["published"]):
        inside = rows.loc[[c.key for c in paper()], "inside"].tolist()
        yield Line("difference", "difference", "", "", [_gap(rows, c.key, between) for c in paper()], inside)


def _number(rows: pd.DataFrame, key: str, prefix: str, between: str) -> str:
    named = {f"{key}_{name}": rows.loc[key, f"{prefix}{name}"] for name in ("mean", "std")}
    return cell(pd.Series(named), column(key), between)


def _gap(rows: pd.DataFrame, key: str, between: str) -> str:
    gap, error, decimals = rows.loc[key, "difference"], rows.loc[key, "stderr"], column(key).decimals
    if pd.isna(gap):
        return "-"
    text = f"{round(gap, decimals) + 0.0:+.{decimals}f}"  # + 0.0: no "-0.0"
    return text if pd.isna(error) else f"{text}{between}{error:.{decimals}f}"


def _thousands(steps: str) -> str:
    return "/".join(f"{int(part):,}" if part.isdecimal() else part for part in steps.split("/"))


def markdown(compared: pd.DataFrame, notes: list[str], about: str) -> str:
    """The notes, then a table a heading. `about`: prior, encoder and machine."""
    said = f"{NOTE[0].upper()}{NOTE[1:]}.".replace(OUTSIDE, rf"\{OUTSIDE}")
    text = ["# Beside the published tables", "", *(f"- {note}" for note in notes), "", said]
    text += ["", f"{about}."] if about else []
    for title, rules in blocks(compared):
        body = [
            [line.name, line.steps, line.n, *map(_starred, line.cells, line.inside)] for rule in rules for line in rule
        ]
        text += ["", f"## {title}", "", *pipes(["Rule", "Steps", "n", *(c.heading for c in paper())], body)]
    return "\n".join(text) + "\n"


def _starred(text: str, inside: str) -> str:
    return rf"{text} \{OUTSIDE}" if inside == "no" else text


def latex(compared: pd.DataFrame, notes: list[str], about: str) -> str:
    """A table environment: the lines of a rule together, the notes in its caption."""
    header = ["Rule", "Steps", "$n$", *map(latex_header, paper())]
    body: list[str] = []
    for title, rules in blocks(compared):
        body += heading(title, len(header))
        for k, rule in enumerate(rules):
            body += [r"\addlinespace"] if k else []
            body += [" & ".join(_latex_cells(line)) + r" \\" for line in rule]
    said = [f"{NOTE[0].upper()}{NOTE[1:]}.", *notes, *([f"{about}."] if about else [])]
    return environment(" ".join(said), header, body)


def _latex_cells(line: Line) -> list[str]:
    marks = ["^{*}" if inside == "no" else "" for inside in line.inside]
    facts = ["--" if fact == "-" else escape(fact) for fact in (line.name, line.steps, line.n)]
    return [*facts, *map(in_math, line.cells, marks)]


def show(frames: Frames, compared: pd.DataFrame, notes: list[str], console: Console) -> None:
    """Print each heading's table in as many parts as the terminal's width needs, then what to know about them."""
    for title, rules in blocks(compared, "±"):
        for columns in _fitting(rules, console):
            console.print(_table(title, rules, columns), "")
            title = ""
    say(console, f"{NOTE}; arrows point to the better.", "dim", wrap=True)
    say(console, setting(frames), "dim", wrap=True)
    for note in [*notes, *troubles(frames)]:
        say(console, note, "yellow", wrap=True)


def _fitting(rules: list[list[Line]], console: Console) -> list[list[int]]:
    """The numbers of Table 1's columns, part by part."""
    unbound, parts = console.options.update(width=1000), [[0]]
    for k in range(1, len(paper())):
        table = _table("", rules, [*parts[-1], k])
        if Measurement.get(console, unbound, table).maximum > console.width:
            parts.append([])
        parts[-1].append(k)
    return parts


def _table(title: str, rules: list[list[Line]], columns: list[int]) -> Table:
    table = Table(title=title or None, title_justify="left", title_style="bold", box=None, padding=(0, 1, 0, 0))
    for header, justify in (("Rule", "left"), ("Steps", "right"), ("n", "right")):
        table.add_column(header, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for k in columns:
        table.add_column(head(paper()[k]), justify="right", no_wrap=True)
    for number, rule in enumerate(rules):
        if number:
            table.add_row()
        for line in rule:
            cells = [_cell(line.cells[k], line.inside[k]) for k in columns]
            table.add_row(Text(line.name), line.steps, line.n, *cells, style="dim" if line.kind == "published" else "")
    return table


def _cell(text: str, inside: str) -> Text:
    return Text(f"{OUTSIDE}{text}" if inside == "no" else text, style={"yes": "green", "no": "yellow"}.get(inside, ""))
