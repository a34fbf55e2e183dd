"""The tables of docs/metrics.md, from the declarations of the columns: `python -m tests.guide.columns` renews them."""

from __future__ import annotations

import argparse
import math
import re

from eval.metric import Column, Metric
from eval.outside import OUTSIDE
from reports.columns import COST, DIVERGED, measured
from tests.guide.pages import ROOT

PAGE = ROOT / "docs" / "metrics.md"
NEEDS = {  # what a reader must have for a column: what every suite has is left out
    "asked": "`--clip2`",
    "clip2": "a second CLIP",
    "directions": "the paper's suite",
    "reward": "ImageReward",
    "truth": "the known world",
    "depth": "a scene or a mesh",
    "variants": "a prior of several variants",
    **{name: f"`--judge {name}`" for name in OUTSIDE},
}
ANY = 1e3  # a bound that none is meant by
BETTER = {"up": "higher", "down": "lower", "one": "nearest to 1", None: "neither"}


def groups() -> dict[str, list[Column]]:
    """All columns that a table or scores.csv can have, by the headings of the page."""
    others = [m for m in measured("more") if set(m.needs) & {*OUTSIDE}]
    known = [m for m in measured("more") if "truth" in m.needs]
    return {
        "Table 1": [*measured("paper"), DIVERGED],
        "Cost": [*COST],
        "Without a truth": [m for m in measured("more") if m not in (*others, *known)],
        "Against the truth": known,
        "In scores.csv alone": [*measured("hidden")],
        "Judges of other packages": others,
    }


def table(columns: list[Column]) -> str:
    """A group's columns in Markdown."""
    rows = [["Column", "Key", "Unit", "Better", "Range", "Needs", "What it is"], ["---"] * 7]
    for c in columns:
        rows += [[f"**{c.title}**", f"`{c.key}`", c.unit or "-", BETTER[c.better], bounds(c), needs(c), c.about]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def bounds(column: Column) -> str:
    """Between what values lie; those of other packages by what these say of themselves."""
    outside = {judge.metric.key: judge for judge in OUTSIDE.values()}
    low, high = outside[column.key].bounds if column.key in outside else column.limits
    if math.isinf(low) or low <= -ANY:
        return "any"
    return f"{low:g} and more" if math.isinf(high) else f"{low:g} to {high:g}"


def needs(column: Column) -> str:
    wanted = [NEEDS[need] for need in column.needs if need in NEEDS] if isinstance(column, Metric) else []
    return ", ".join(wanted) or "-"


def renewed(text: str) -> str:
    """The page's text, with a table of today below each group's mark."""
    for title, columns in groups().items():
        mark = f"<!-- columns: {title} -->\n"
        head, found, tail = text.partition(mark)
        assert found, f"{PAGE} lacks the line {mark}"
        text = head + mark + "\n" + table(columns) + "\n" + re.sub(r"\A\n?(\|[^\n]*\n)*", "", tail)
    return text


if __name__ == "__main__":
    argparse.ArgumentParser("python -m tests.guide.columns", description=__doc__).parse_args()
    PAGE.write_text(renewed(PAGE.read_text("utf-8")), "utf-8")
    print(PAGE)
