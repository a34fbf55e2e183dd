"""The table in LaTeX, for booktabs (and graphicx, which fits it to the page)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from reports.columns import Column
from reports.tables import NOTE, blocks, cell, columns_of, count, label
from say import one_line

SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "↑": r"$\uparrow$", "↓": r"$\downarrow$",
    "→": r"$\rightarrow$", "°": r"$^\circ$", "×": r"$\times$",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
}  # fmt: skip


def escape(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(SPECIAL.get(character, character) for character in one_line(text))


def latex(table: pd.DataFrame, published: pd.DataFrame, about: str, remarks: Sequence[str] = ()) -> str:
    """A table environment with the blocks under their headings; what to know stands in its caption."""
    columns = columns_of(table)
    names = ["Method", "Steps", "$n$", *map(header, columns)]
    body: list[str] = []
    for title, rows in blocks(table, published):
        body += heading(title, len(names))
        body += [" & ".join(_row(row, columns)) + r" \\" for _, row in rows.iterrows()]
    return environment(" ".join([f"{NOTE[0].upper()}{NOTE[1:]}. {about}.", *remarks]), names, body)


def environment(caption: str, names: list[str], body: list[str]) -> str:
    """A table as wide as the page; `names` of columns and `body`'s lines are LaTeX already, the caption is not."""
    lines = [
        "% needs \\usepackage{booktabs} and \\usepackage{graphicx}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(caption)}}}",
        r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * (len(names) - 1)}}}",
        r"\toprule",
        " & ".join(names) + r" \\",
        *body,
    ]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}}", r"\end{table}"]) + "\n"


def heading(title: str, width: int) -> list[str]:
    """A rule, and the title over `width` columns."""
    return [r"\midrule", rf"\multicolumn{{{width}}}{{l}}{{\emph{{{escape(title)}}}}} \\", r"\addlinespace"]


def in_math(cell: str, mark: str = "") -> str:
    """A cell of numbers, with a mark that is LaTeX already; a dash where there is none."""
    numbers = cell.replace(" ± ", r" \pm ")
    return "--" if cell == "-" else f"${numbers}{mark}$"


def _row(row: pd.Series, columns: list[Column]) -> list[str]:
    name = escape(label(row))
    opened = "{}" if name[:1] in ("[", "*") else ""  # else they belong to the line end before
    return [opened + name, escape(row["steps"]), count(row), *(in_math(cell(row, c)) for c in columns)]


def header(column: Column) -> str:
    """Name and arrow above, unit below."""
    return escape(f"{column.title} {column.arrow}".strip() + (f" ({column.unit})" if column.unit else ""))
