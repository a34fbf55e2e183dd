"""What the gate found: in the terminal, as JUnit XML, and as a summary in Markdown."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree as ET

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from files import replaced
from reports.gate import course
from reports.gate.judge import BAD, Verdicts, shown
from reports.gate.reference import LEVEL
from reports.markdown import pipes
from say import plain, say

STYLES = {"worse": "red", "moved": "red", "better": "green"}
HEADERS = ("Method", "Metric", "Reference", "Run", "Change", "Limit", "Margin", "Verdict")
LIMIT = (
    f"Limit: what chance (wrong in {100 * LEVEL:.0f} % of runs, over all rows) or rounding does, or the least change "
    "that matters. Margin: a rule worse by so much would not pass."
)


def sentences(found: Verdicts) -> list[tuple[str, str]]:
    """What it all comes to, each with its style: reproduced? regressed? and what a reader must know besides."""
    return [_reproduced(found), _regressed(found), *((note, "yellow") for note in found.notes)]


def _reproduced(found: Verdicts) -> tuple[str, str]:
    n = len(found.reference.methods) * len(found.reference.protocol["prompts"]) * len(found.seeds)
    if not found.paired:
        return "Reproduced? Not asked: the run has other seeds.", "yellow"
    if found.drifted:
        first, how = next(iter(found.drifted.items()))
        return (
            f"Reproduced? No: {len(found.drifted)} of {n} jobs drifted beyond rounding; the first is {first}: {how}.",
            "yellow",
        )
    if found.differing:
        said = f"{len(found.differing)} of {n} jobs differ by no more than this platform's rounding"
        return f"Reproduced? Yes: {said}; the first is {found.differing[0]}.", "green"
    return f"Reproduced? Yes: all {n} jobs are equal, bit by bit.", "green"


def _regressed(found: Verdicts) -> tuple[str, str]:
    verdicts = found.rows["verdict"]
    worse, moved, better = ((verdicts == name).sum() for name in ("worse", "moved", "better"))
    news = f" {better} better: worth a look, and a new reference (--update)." if better else ""
    if worse or moved:
        what = " and ".join(f"{n} {name}" for n, name in ((worse, "worse"), (moved, "moved")) if n)
        return f"Regressed? Yes: {what} of {len(found.rows)}.{news} The gate is not passed.", "red"
    return f"Regressed? No: {len(found.rows)} compared.{news} The gate is passed.", "green"


def failures(found: Verdicts) -> list[str]:
    """A line for each row that fails: what fell, by how much, and where it shows most."""
    lines = []
    for _, row in found.rows[found.rows["verdict"].isin(BAD)].iterrows():
        lines.append(f"{row['method']}: {_sentence(row)}")
        for name, change, pictures in found.worst.get((row["method"], row["metric"]), []):
            lines.append(f"  {change:+.4g} in {name}: {pictures}")
    return lines


def _sentence(row: pd.Series) -> str:
    if pd.isna(row["change"]):
        return f"{row['metric']} {row['verdict']}: {row['what']}"
    title, form = shown(row["metric"])
    numbers = f"{row['reference']:{form}} -> {row['mean']:{form}}"
    return f"{title} {row['verdict']} by {abs(row['change']):{form}} ({numbers}; limit {row['limit']:{form}})"


def show(found: Verdicts, console: Console) -> None:
    """Print the table, those that fail in red, then what it all comes to. Of what rules logged only what is not ok."""
    hidden = [course.is_course(r["metric"]) and r["verdict"] == "ok" for _, r in found.rows.iterrows()]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for header in HEADERS:
        table.add_column(header, justify="left" if header in ("Method", "Metric", "Verdict") else "right")
    for _, row in found.rows[[not h for h in hidden]].iterrows():
        table.add_row(*map(plain, _cells(row)), style=STYLES.get(row["verdict"]))
    console.print(table)
    if any(hidden):
        say(console, f"{sum(hidden)} more rows, of what rules logged, are ok.", "dim")
    say(console, LIMIT, "dim", wrap=True)
    for line in failures(found):
        say(console, line, "red")
    for text, style in sentences(found):
        say(console, text, style, wrap=True)


def _cells(row: pd.Series) -> list[str]:
    title, form = shown(row["metric"])
    numbers = [_number(row[k], form, k == "change") for k in ("reference", "mean", "change", "limit", "margin")]
    return [row["method"], title, *numbers, row["verdict"]]


def _number(value: float, form: str, signed: bool) -> str:
    return "" if pd.isna(value) else f"{value:{'+' if signed else ''}{form}}"


def summary(found: Verdicts) -> str:
    """In Markdown, for the page of a continuous-integration job."""
    lines = ["## The gate", "", *(f"- {text}" for text, _ in sentences(found)), ""]
    if fallen := failures(found):
        lines += ["```", *fallen, "```", ""]
    lines += [*pipes(list(HEADERS), [_cells(row) for _, row in found.rows.iterrows()]), "", LIMIT]
    return "\n".join(lines) + "\n"


def junit(found: Verdicts, path: Path) -> Path:
    """JUnit XML: a case a method and metric; what was not reproduced is a case that is skipped, with its warning."""
    failed = int(found.rows["verdict"].isin(BAD).sum())
    suite = ET.Element("testsuite", name="gate", tests=str(len(found.rows) + 1), failures=str(failed), errors="0")
    suite.set("skipped", str(int(not found.reproduced)))
    for _, row in found.rows.iterrows():
        case = ET.SubElement(suite, "testcase", classname=str(row["method"]), name=str(row["metric"]))
        if row["verdict"] in BAD:
            where = found.worst.get((row["method"], row["metric"]), [])
            failure = ET.SubElement(case, "failure", type=row["verdict"], message=_sentence(row))
            failure.text = "\n".join(f"{change:+.4g} in {name}: {pictures}" for name, change, pictures in where)
        elif not math.isnan(row["change"]):
            ET.SubElement(case, "system-out").text = f"{row['verdict']}: {row['change']:+.6g}"
    case = ET.SubElement(suite, "testcase", classname="gate", name="reproduced")
    if not found.reproduced:
        ET.SubElement(case, "skipped", message=_reproduced(found)[0])
    ET.indent(suite)
    text = ET.tostring(suite, encoding="utf-8", xml_declaration=True)
    return replaced(path, lambda aside: aside.write_bytes(text + b"\n"))


def refused(reason: str, path: Path) -> Path:
    """JUnit XML of a run that could not be judged: an error."""
    suite = ET.Element("testsuite", name="gate", tests="1", failures="0", errors="1")
    ET.SubElement(ET.SubElement(suite, "testcase", classname="gate", name="judged"), "error", message=reason)
    text = ET.tostring(suite, encoding="utf-8", xml_declaration=True)
    return replaced(path, lambda aside: aside.write_bytes(text + b"\n"))
