"""The table in LaTeX, for booktabs (and graphicx, which fits it to the page)."""

from __future__ import annotations

import pandas as pd

from reports.columns import Column
from reports.tables import NOTE, blocks, cell, columns_of, count

SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "↑": r"$\uparrow$", "↓": r"$\downarrow$",
    "→": r"$\rightarrow$", "°": r"$^\circ$", "×": r"$\times$",
}  # fmt: skip


def escape(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(SPECIAL.get(character, character) for character in text)


def latex(table: pd.DataFrame, paper: pd.DataFrame, setting: str) -> str:
    """A table environment with the blocks under their headings."""
    columns = columns_of(table)
    header = ["Method", "Steps", "$n$", *(_header(c) for c in columns)]
    lines = [
        "% needs \\usepackage{booktabs} and \\usepackage{graphicx}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(NOTE[0].upper() + NOTE[1:])}. {escape(setting)}.}}",
        r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
        r"\toprule",
        " & ".join(header) + r" \\",
    ]
    for title, rows in blocks(table, paper):
        lines += [r"\midrule", rf"\multicolumn{{{len(header)}}}{{l}}{{\emph{{{escape(title)}}}}} \\", r"\addlinespace"]
        lines += [" & ".join(_row(row, columns)) + r" \\" for _, row in rows.iterrows()]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}}", r"\end{table}"]) + "\n"


def _row(row: pd.Series, columns: list[Column]) -> list[str]:
    cells = [cell(row, c).replace(" ± ", r" \pm ") for c in columns]
    return [escape(row["method"]), escape(row["steps"]), count(row), *("--" if c == "-" else f"${c}$" for c in cells)]


def _header(column: Column) -> str:
    """Name and arrow above, unit below."""
    return escape(f"{column.header} {column.arrow}".strip() + (f" ({column.unit})" if column.unit else ""))
