"""A run at a glance, RUN/measures.png: a panel a measure, a line a method, its mean over prompts and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from numpy import ndarray

from files import replaced
from reports import Frames
from reports.columns import Column, measured
from reports.tables import in_order, shared
from reports.uncertainty.statistics import summarise

PANELS = 5  # side by side


def measures(run: str | Path, frames: Frames, order: Sequence[str] = (), common: bool = True) -> Path:
    """RUN/measures.png, over the jobs of the tables of the same `common` that left an object: means over views, with
    95 % intervals clustered by prompt where there are enough prompts for one. A dashed line stands at 1 where nearest
    to 1 is best."""
    from matplotlib.figure import Figure

    frames = shared(frames) if common else frames
    ok = frames.wide[frames.wide["status"] == "ok"]
    views, methods = _by_method(ok), in_order(frames, order)[::-1]  # the first on top
    shown = [c for c in measured() if c.key in ok and ok[c.key].notna().any()]
    rows = max(-(-len(shown) // PANELS), 1)
    figure = Figure(figsize=(2.6 * PANELS, rows * (0.9 + 0.27 * len(methods))), layout="constrained")
    axes = list(figure.subplots(rows, PANELS, sharey=True, squeeze=False).flat)
    for panel, column in zip(axes, shown, strict=False):
        _panel(panel, views, column, methods)
    for panel in axes[len(shown) :]:
        panel.set_visible(False)
    return replaced(Path(run) / "measures.png", lambda aside: figure.savefig(aside, format="png", dpi=110))


def _by_method(ok: pd.DataFrame) -> dict[str, tuple[pd.DataFrame, ndarray]]:
    """The views of each method, and the numbers of their prompts: quicker than texts."""
    prompts = pd.factorize(ok["prompt_id"], sort=True)[0]
    return {method: (ok.iloc[rows], prompts[rows]) for method, rows in ok.groupby("method").indices.items()}


def _panel(panel, views: dict[str, tuple[pd.DataFrame, ndarray]], column: Column, methods: list[str]) -> None:
    for y, method in ((y, method) for y, method in enumerate(methods) if method in views):
        values, prompts = views[method]
        s = summarise(values[column.key].to_numpy(float), prompts, column.limits)
        if s.n:
            panel.errorbar(
                s.mean,
                y,
                xerr=[[s.mean - s.low], [s.high - s.mean]],
                fmt="o",
                color=f"C{(len(methods) - 1 - y) % 10}",
                capsize=3,
            )
    if column.better == "one":
        panel.axvline(1.0, color="0.6", linewidth=1, linestyle="--", zorder=0)
    panel.set_title(column.heading, fontsize=10)
    panel.set_yticks(range(len(methods)), methods)
    panel.tick_params(labelsize=9)
    panel.ticklabel_format(axis="x", useOffset=False)  # 99.95, not -.05 and +100 beside it
    panel.locator_params(axis="x", nbins=4)
    panel.grid(axis="x", color="0.92")
    panel.margins(y=0.6 / max(len(methods), 1))
