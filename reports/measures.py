"""A run at a glance, RUN/measures.png: a panel a measure, a line a method, its mean over prompts and how sure it is."""

from __future__ import annotations

import warnings
from pathlib import Path

import pandas as pd

from files import replaced
from reports.columns import Column, measured
from say import one_line

PANELS = 5  # side by side
DPI, BESIDE, ABOVE, BELOW, GAP = 110, 0.16, 0.3, 0.3, 0.18  # dots an inch; inches around and between the panels
LETTER, NAME = 0.075, 40  # inches of a letter of a method's name, at most; its letters, at most


def measures(run: str | Path, table: pd.DataFrame) -> Path:
    """RUN/measures.png, of the rows of `reports.tables.make` over jobs that left an object: means over views, with 95 %
    intervals clustered by prompt where there are enough prompts for one. A dashed line stands at 1 where nearest to 1
    is best."""
    from matplotlib.figure import Figure

    rows = table[table["block"] == "survivors"].iloc[::-1]  # the first on top
    shown = [c for c in measured() if f"{c.key}_mean" in rows and rows[f"{c.key}_mean"].notna().any()]
    deep = max(-(-len(shown) // PANELS), 1)
    names = [_short(method) for method in rows["method"]]
    left = BESIDE + LETTER * max(map(len, names))
    size = (left + 2.4 * PANELS, deep * (ABOVE + BELOW + 0.3 + 0.27 * len(rows)))
    figure = Figure(figsize=size)
    axes = list(figure.subplots(deep, PANELS, sharey=True, squeeze=False).flat)
    # by hand: matplotlib's own layouts draw every text twice, which takes as long as all the rest
    figure.subplots_adjust(
        left / size[0], BELOW / size[1], 1 - BESIDE / size[0], 1 - ABOVE / size[1],
        wspace=GAP / (2.4 - GAP), hspace=(ABOVE + BELOW) / (0.3 + 0.27 * len(rows)),
    )  # fmt: skip
    axes[0].set_yticks(range(len(rows)), names)  # of all panels: they share them
    axes[0].set_ylim(-0.6, len(rows) - 0.4)
    for panel, column in zip(axes, shown, strict=False):
        _panel(panel, rows, column)
    for panel in axes[len(shown) :]:
        panel.set_visible(False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a letter that the font lacks is drawn as a box
        return replaced(Path(run) / "measures.png", lambda aside: figure.savefig(aside, format="png", dpi=DPI))


def _short(method: str) -> str:
    """A name as an axis has it: a dollar would begin a formula."""
    name = one_line(method)
    return (name if len(name) <= NAME else f"{name[: NAME - 1]}…").replace("$", r"\$")


def _panel(panel, rows: pd.DataFrame, column: Column) -> None:
    mean, low, high = (rows[f"{column.key}_{name}"].to_numpy(float) for name in ("mean", "low", "high"))
    colours, y = [f"C{k % 10}" for k in reversed(range(len(rows)))], range(len(rows))
    panel.hlines(y, low, high, colours)
    for ends in (low, high):
        panel.scatter(ends, y, marker="|", c=colours)
    panel.scatter(mean, y, c=colours)
    if column.better == "one":
        panel.axvline(1.0, color="0.6", linewidth=1, linestyle="--", zorder=0)
    panel.set_title(column.heading, fontsize=10)
    panel.tick_params(labelsize=9)
    panel.ticklabel_format(axis="x", useOffset=False)  # 99.95, not -.05 and +100 beside it
    panel.locator_params(axis="x", nbins=4)
    panel.grid(axis="x", color="0.92", zorder=0)
    panel.set_axisbelow(True)
