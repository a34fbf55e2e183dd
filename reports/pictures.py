"""Pictures in rows and columns, each with a line of numbers under it. Pixels are enlarged, never smoothed."""

from __future__ import annotations

import textwrap
from typing import Any

from torch import Tensor

Cell = tuple[Tensor | None, str]  # (H,W,3) in [0, 1] or nothing, and what stands under it
WRAP = 7  # columns, before the rest goes below
SIDE = 1.35  # inches a picture is high


def grid(cells: dict[tuple[str, str], Cell], into: Any = None) -> Any:
    """A matplotlib figure of cells by row and column title, in their order; drawn into a subfigure where one is given.

    Columns beyond WRAP go into further bands of rows, unless they fit into one band of at most WRAP + 1."""
    from matplotlib.figure import Figure

    rows, columns = (list(dict.fromkeys(key[k] for key in cells)) for k in (0, 1))
    wide = len(columns) if len(columns) <= WRAP + 1 else WRAP
    bands = [columns[k : k + wide] for k in range(0, len(columns), wide)]
    image = next((image for image, _ in cells.values() if image is not None), None)
    aspect = 1.0 if image is None else image.shape[1] / image.shape[0]
    height = len(bands) * len(rows)
    figure = into or Figure(figsize=(1.0 + wide * SIDE * aspect, 0.2 + height * (SIDE + 0.3)), layout="constrained")
    axes = figure.subplots(height, wide, squeeze=False)
    for place in axes.flat:
        place.set_axis_off()
    for b, band in enumerate(bands):
        for r, row in enumerate(rows):
            for place, column in zip(axes[b * len(rows) + r], band, strict=False):
                _place(place, cells.get((row, column), (None, "not run")), column if r == 0 else "")
            axes[b * len(rows) + r, 0].text(-0.06, 0.5, _lines(row), ha="right", va="center", fontsize=8,
                                            transform=axes[b * len(rows) + r, 0].transAxes)  # fmt: skip
    return figure


def _place(place: Any, cell: Cell, title: str) -> None:
    image, text = cell
    if image is not None:
        place.imshow(image.numpy(), interpolation="nearest")
    place.set_title(title, fontsize=9)
    place.text(0.5, -0.04, text, ha="center", va="top", fontsize=8, color="0.3", transform=place.transAxes)


def _lines(title: str) -> str:
    """A slug's words in lines of at most 14 characters."""
    lines = title.split("\n")
    return "\n".join(line if " " in line else textwrap.fill(line.replace("-", " "), 14) for line in lines)
