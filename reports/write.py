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
    write_text(run / "scores.csv", rows_as_csv(frames.wide))
    write_text(run / "table.csv", table.to_csv(index=False))
    write_text(run / "differences.csv", gaps.to_csv(index=False))
    write_text(run / "table.md", markdown(table, paper, gaps, setting(frames), said))
    write_text(run / "table.tex", latex(table, paper, setting(frames), said))
    return table


def rows_as_csv(frame: pd.DataFrame) -> str:
    """What `frame.to_csv(index=False)` gives, of numbers and texts, in half the time: a run has a hundred thousand
    rows."""
    stream = StringIO()
    lines = csv.writer(stream, lineterminator="\n")
    lines.writerow(frame)
    lines.writerows(zip(*(_told(frame[name]) for name in frame), strict=True))
    return stream.getvalue()


def _told(column: pd.Series) -> list:
    gone = column.isna().to_numpy()
    return np.where(gone, None, column.to_numpy(object)).tolist() if gone.any() else column.tolist()
