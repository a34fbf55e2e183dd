"""What a sweep found: a row a setting, the best of them, and the evidence: sweep.csv, sweep.md, best.json.

A setting's mean is over all its views, a diverged job's scored as its background, so that none gains by losing what is
hard; its error is clustered by prompt. A setting with jobs that crashed or are not scored cannot be the best.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from errors import UserError
from eval.divergence import DIVERGED
from files import write_json, write_text
from reports import KEYS, Frames
from reports.columns import Column, column
from reports.markdown import pipes
from reports.tables import row_of
from reports.uncertainty.statistics import paired_difference
from say import plain, say

SWEPT = {"cfg": "CFG", "inversion_cfg": "Inversion's", "lr": "lr"}
NOTE = "Mean ± standard error clustered by prompt, a diverged job scored as its background; gap: to the best, paired."


def only(frames: Frames, jobs: set[tuple[str, ...]]) -> Frames:
    """The frames of some jobs, by (method, prompt_id, seed): a folder may hold those of an earlier sweep."""
    here = [f[[key in jobs for key in zip(*(f[k] for k in KEYS), strict=True)]] for f in frames]
    return Frames(*here)


def table(frames: Frames, settings: Mapping[str, Mapping[str, float | None]], select: str) -> pd.DataFrame:
    """A row a setting, `settings` by row name: its values, mean, stderr, n, n_failed, diverged_pct, the gap to the best
    with its stderr, and whether it is the best. Raises UserError where none can be."""
    chosen = column(select)
    counted = ("ok", *DIVERGED)
    rows = []
    for name, values in settings.items():
        row = row_of(frames, name, "all", counted)
        facts = {key: row.get(key) for key in ("n", "n_failed", "n_prompts", "diverged_pct", "nfe", "time_min")}
        measured = {key: row.get(f"{select}_{key}", float("nan")) for key in ("mean", "stderr")}
        rows.append({"setting": name, **values, **measured, **facts})
    found = pd.DataFrame(rows)
    whole = found[(found["n_failed"] == 0) & found["mean"].notna()]
    if whole.empty:
        raise UserError(f"No setting has {chosen.title} in all its jobs: see the causes above.")
    best = whole.loc[_badness(whole["mean"], chosen).idxmin(), "setting"]
    views = frames.wide[frames.wide["status"].isin(counted)].set_index(["prompt_id", "seed", "view"])
    base = views.loc[views["method"] == best, select].rename("best")
    gaps = [_gap(views.loc[views["method"] == name, select], base) for name in found["setting"]]
    return found.assign(gap=[g[0] for g in gaps], gap_stderr=[g[1] for g in gaps], best=found["setting"] == best)


def _badness(means: pd.Series, by: Column) -> pd.Series:
    return {"up": -means, "down": means, "one": (means - 1).abs()}[by.better or "up"]


def _gap(own: pd.Series, base: pd.Series) -> tuple[float, float]:
    pairs = pd.concat([own.rename("own"), base], axis=1, join="inner")
    prompts = pairs.index.get_level_values("prompt_id").to_numpy()
    d = paired_difference(pairs["own"].to_numpy(float), pairs["best"].to_numpy(float), prompts)
    return d.mean, d.stderr


def at_the_edge(found: pd.DataFrame) -> list[str]:
    """The values of the best setting that are the first or last of several swept: a better one may lie beyond."""
    best = found[found["best"]].iloc[0]
    edges = []
    for key in SWEPT:
        values = found[key].dropna().unique()
        if len(values) > 1 and best[key] in (min(values), max(values)):
            edges.append(f"--{key.replace('_', '-')} {best[key]:g}")
    return edges


def write(run: Path, found: pd.DataFrame, select: str, facts: Mapping[str, Any]) -> None:
    """sweep.csv, sweep.md, and best.json: `facts`, the best setting, and all of them as its evidence."""
    evidence = json.loads(found.to_json(orient="records"))
    best = next(row for row in evidence if row["best"])
    header = ["Setting", *SWEPT.values(), column(select).heading, "Gap", "Div. (%)", "n"]
    body = [[f"**{cells[0]}**" if row["best"] else cells[0], *cells[1:]] for row, cells in _cells(found, select)]
    title = f"# {facts['method']}: {column(select).title} by setting"
    said = [title, "", NOTE, "", *pipes(header, body), "", _edge_note(found), _about(facts)]
    write_text(run / "sweep.csv", found.to_csv(index=False))
    write_text(run / "sweep.md", "\n".join(said) + "\n")
    held = {"best": best, "select": select, "better": column(select).better, **facts, "evidence": evidence}
    write_json(run / "best.json", held)


def show(found: pd.DataFrame, select: str, console: Console) -> None:
    printed = Table(title=f"{column(select).heading} by setting", title_justify="left", title_style="bold", box=None)
    for k, head in enumerate(("Setting", *SWEPT.values(), "Mean", "Gap", "Div. %", "n")):
        printed.add_column(head, justify="right" if k else "left", no_wrap=True)
    for row, cells in _cells(found, select):
        printed.add_row(*map(plain, cells), style="bold green" if row["best"] else None)
    console.print(printed, "")
    say(console, NOTE, "dim", wrap=True)
    if note := _edge_note(found):
        say(console, note, "yellow", wrap=True)


def _cells(found: pd.DataFrame, select: str) -> list[tuple[pd.Series, list[str]]]:
    decimals = column(select).decimals

    def pair(value: float, error: float, sign: str = "") -> str:
        text = "-" if pd.isna(value) else f"{value:{sign}.{decimals}f}"
        return text if pd.isna(value) or pd.isna(error) else f"{text} ± {error:.{decimals}f}"

    def number(value: float | None) -> str:
        return "-" if value is None or pd.isna(value) else f"{value:g}"

    lines = []
    for _, row in found.iterrows():
        failed = f" ({row['n_failed']:.0f})" if row["n_failed"] else ""
        gap = "-" if row["best"] else pair(row["gap"], row["gap_stderr"], "+")
        cells = [row["setting"], *(number(row[key]) for key in SWEPT), pair(row["mean"], row["stderr"]), gap]
        lines.append((row, [*cells, f"{row['diverged_pct']:.0f}", f"{row['n']:.0f}{failed}"]))
    return lines


def _edge_note(found: pd.DataFrame) -> str:
    edges = at_the_edge(found)
    return f"The best lies at the edge of what was swept ({', '.join(edges)}): sweep beyond it." if edges else ""


def _about(facts: Mapping[str, Any]) -> str:
    prompts = "; ".join(facts["prompts"])
    return f"Suite {facts['suite']}, track {facts['track']}, {facts['steps']} steps. Prompts kept apart: {prompts}."
