"""The tables of a run, written into its folder."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd

from files import write_text
from reports import Frames
from reports.latex import latex
from reports.markdown import markdown
from reports.published import TABLE_1
from reports.tables import in_order, make, remarks, setting
from reports.uncertainty.differences import differences


def tables(
    run: str | Path, frames: Frames, order: Sequence[str] = (), baseline: str | None = None, common: bool = True
) -> pd.DataFrame:
    """Write scores.csv (a row a view), table.csv, differences.csv, table.md and table.tex into the run; returns the
    table. `baseline` is the method that differences are taken to; without one, the first method. `common`: rows are
    over what all methods have; else over all of their own."""
    run, table, paper = Path(run), make(frames, order, common), TABLE_1.read()
    gaps, said = differences(frames, baseline or in_order(frames, order)[0], order), remarks(frames, table)
    texts = {
        "scores.csv": rows_as_csv(frames.wide),
        "table.csv": table.to_csv(index=False),
        "differences.csv": gaps.to_csv(index=False),
        "table.md": markdown(table, paper, gaps, setting(frames), said),
        "table.tex": latex(table, paper, setting(frames), said),
    }
    for name, text in texts.items():
        if not says(run / name, text):
            write_text(run / name, text)
    return table


def says(path: Path, text: str) -> bool:
    """Whether a file says so already: what is drawn of it is not drawn again."""
    try:
        return path.read_bytes() == text.encode("utf-8")
    except OSError:
        return False


def rows_as_csv(frame: pd.DataFrame) -> str:
    """What `frame.to_csv(index=False)` gives, of numbers and texts, in less than half the time: a run has a hundred
    thousand rows."""
    columns = [[_field(name), *_told(frame[name])] for name in frame]
    return "".join(f"{','.join(row)}\n" for row in zip(*columns, strict=True))


def _told(column: pd.Series) -> list[str]:
    """A column's fields. Of texts, which are few, each once."""
    if column.dtype == float:
        return ["" if text == "nan" else text for text in map(repr, column.tolist())]
    number, found = pd.factorize(column)
    fields = np.array([*map(_field, found), ""], object)  # the last is what is missing: its number is -1
    return fields[number].tolist()


def _field(value: object) -> str:
    stream = StringIO()
    csv.writer(stream, lineterminator="\n").writerow([value, ""])
    return stream.getvalue()[:-2]
