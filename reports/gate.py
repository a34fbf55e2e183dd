"""The gate: are a run's means within a stated margin of a committed reference?

A reference is JSON: `protocol` (what must be equal for means to be comparable: steps, prior, judges, candidates,
prompts, seeds, views and their orbit), and for each method and metric `{mean, stderr, margin, higher_is_better}`, with
the metric's `version` where it is not its first.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from errors import UserError
from eval.divergence import DIVERGED
from eval.statistics import summarise
from files import read_text, write_json
from reports import Frames, judges_of, load
from reports.columns import DIVERGED as SHARE
from reports.columns import column, measured
from say import plain, say

BETTER = {"up": True, "down": False, "one": None, None: None}
NO_JUDGE = "none"  # of references from before scores.json
# of a protocol: all others but its prior and views are judges
SAID_APART = ("steps", "prompts", "seeds", "candidates", "orbit")
NFE = "nfe"  # counted, not measured: it may not move at all
WORDS = {"encoder_iqa": "encoder of CLIP-IQA", "encoder_2": "second encoder"}  # of judges, where the name is no word


def save_reference(run: str | Path, path: str | Path, margins: dict[str, float] | None = None) -> None:
    """Write a run's means as the reference at `path`. `margins` (by metric, in its unit) replaces the columns' own.

    Raises UserError for a run that cannot be one: no scores, or methods of unlike prompts, priors or encoders."""
    frames = load(run)
    protocol = _protocol(frames)
    methods = {}
    for method in protocol["steps"]:
        cells = _means(frames, method)
        for metric, cell in cells.items():
            cell["margin"] = (margins or {}).get(metric, 0.0 if metric == NFE else column(metric).margin)
            cell["higher_is_better"] = BETTER[column(metric).better]
            cell |= {"version": _version(metric)} if _version(metric) > 1 else {}
        methods[method] = cells
    write_json(Path(path), {"protocol": protocol, "methods": methods})


def margins(path: str | Path) -> dict[str, float]:
    """The margins stated in a reference, by metric; none where it does not exist yet."""
    if not Path(path).exists():
        return {}
    methods = _read(Path(path))["methods"].values()
    return {metric: cell["margin"] for cells in methods for metric, cell in cells.items()}


def check(run: str | Path, baseline: str | Path) -> tuple[pd.DataFrame, bool]:
    """Compare a run with a reference: rows of method, metric, reference, mean, change, margin, verdict; and whether
    every verdict is `ok`. What the reference has and the run lacks is `missing`, and fails; what the run has besides
    (methods, prompts, seeds) is not looked at.

    Raises UserError where the two were not measured alike, with the reason."""
    reference, frames = _read(Path(baseline)), load(run)
    protocol = reference["protocol"]
    methods = [m for m in reference["methods"] if (frames.jobs["method"] == m).any()]
    ours = _only(frames, protocol)
    if methods:
        _same_protocol(protocol, _protocol(ours, methods), methods)
    rows = []
    for method, cells in reference["methods"].items():
        gaps = _missing_jobs(ours.jobs, method, protocol)
        if gaps:
            rows.append({"method": method, "metric": "jobs", "verdict": f"missing: {gaps}"})
        means = _means(ours, method) if method in methods else {}
        rows += [_compare(method, metric, cell, means.get(metric)) for metric, cell in cells.items()]
    table = pd.DataFrame(rows, columns=["method", "metric", "reference", "mean", "change", "margin", "verdict"])
    return table, bool((table["verdict"] == "ok").all())


def show(table: pd.DataFrame, passed: bool, console: Console) -> None:
    """Print the rows of `check`, those that fail in red."""
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for header in ("Method", "Metric", "Reference", "Mean", "Change", "Margin", "Verdict"):
        shown.add_column(header, justify="left" if header in ("Method", "Metric", "Verdict") else "right")
    for _, row in table.iterrows():
        try:
            shown_as = column(row["metric"])
            name, decimals = shown_as.title, max(shown_as.decimals, 2)
        except KeyError:
            name, decimals = row["metric"], 2
        numbers = [_number(row[key], decimals, key == "change") for key in ("reference", "mean", "change", "margin")]
        shown.add_row(
            plain(row["method"]),
            plain(name),
            *numbers,
            plain(row["verdict"]),
            style=None if row["verdict"] == "ok" else "red",
        )
    console.print(shown)
    failed = int((table["verdict"] != "ok").sum())
    if passed:
        say(console, f"The gate is passed: {len(table)} means are within their margins.", "green")
    else:
        say(console, f"The gate is not passed: {failed} of {len(table)} rows fail.", "red")


def _compare(method: str, metric: str, cell: dict[str, Any], mean: dict[str, Any] | None) -> dict[str, Any]:
    row = {"method": method, "metric": metric, "reference": cell["mean"], "margin": cell["margin"]}
    if mean is None:
        return row | {"verdict": "missing"}
    if cell.get("version", 1) != _version(metric):
        return row | {"mean": mean["mean"], "verdict": "another version: renew the reference"}
    change = mean["mean"] - cell["mean"]
    row |= {"mean": mean["mean"], "change": change}
    if abs(change) <= cell["margin"] + 1e-9 * abs(cell["mean"]):
        return row | {"verdict": "ok"}
    up = cell["higher_is_better"]
    verdict = "moved" if up is None else "better: renew the reference" if (change > 0) == up else "worse"
    return row | {"verdict": verdict}


def _means(frames: Frames, method: str) -> dict[str, dict[str, Any]]:
    """Mean and clustered stderr of each metric over survivors, the share that diverged, and the NFE."""
    jobs = frames.jobs[frames.jobs["method"] == method]
    survived = frames.wide[(frames.wide["method"] == method) & (frames.wide["status"] == "ok")]
    cells: dict[str, dict[str, Any]] = {}
    for key in [c.key for c in measured() if c.key in survived]:
        s = summarise(survived[key].to_numpy(float), survived["prompt_id"].to_numpy())
        if s.n:
            cells[key] = {"mean": s.mean, "stderr": None if math.isnan(s.stderr) else s.stderr}
    share = summarise(100.0 * jobs["status"].isin(DIVERGED).to_numpy(float), jobs["prompt_id"].to_numpy())
    cells[SHARE.key] = {"mean": share.mean, "stderr": None if math.isnan(share.stderr) else share.stderr}
    nfe = jobs.loc[jobs["status"] == "ok", NFE].dropna()
    return cells | ({NFE: {"mean": float(nfe.mean()), "stderr": 0.0}} if len(nfe) else {})


def _version(metric: str) -> int:
    """Of a metric as it is declared now; 1 for what is of a job, and for what is declared no more."""
    return next((m.version for m in measured() if m.key == metric), 1)


def _protocol(frames: Frames, methods: list[str] | None = None) -> dict[str, Any]:
    """What must be equal. Raises UserError where a run disagrees with itself."""
    jobs = frames.jobs if methods is None else frames.jobs[frames.jobs["method"].isin(methods)]
    if not jobs["scored"].any():
        raise UserError("The run has no scores: score it first.")
    steps = {m: _one(group["steps"], f"steps of {m}") for m, group in jobs.groupby("method")}
    return {
        "steps": {m: None if s is None else int(s) for m, s in steps.items()},
        "prior": _one(jobs["prior"], "priors"),
        **{name: _one(sums, f"{WORDS.get(name, name)}s") for name, sums in judges_of(jobs).items()},
        "candidates": _one(jobs["candidates"], "suites of prompts"),
        "views": int(_one(jobs["views"], "numbers of views")),
        **({"orbit": json.loads(orbit)} if (orbit := _one(jobs["orbit"], "orbits")) else {}),
        "prompts": sorted(jobs["prompt_id"].unique()),
        "seeds": sorted(jobs["seed"].unique()),
    }


def _one(values: pd.Series, what: str) -> Any:
    found = values.dropna().unique()
    if len(found) > 1:
        raise UserError(f"The run mixes {what} ({', '.join(map(str, found[:3]))}): make each in a run of its own.")
    return found[0] if len(found) else None


def _same_protocol(wanted: dict[str, Any], ours: dict[str, Any], methods: list[str]) -> None:
    said = {"prior": "the prior's checksum", "views": "the number of views"}
    judges = [name for name in wanted if name not in (*said, *SAID_APART) and wanted[name] != NO_JUDGE]
    said |= {name: f"the {WORDS.get(name, name)}'s checksum" for name in judges}
    said |= {"candidates": "the prompts that R-Precision ranks"}
    said |= {"orbit": "the orbit"} if "orbit" in wanted else {}  # older references do not say
    pairs = [(text, wanted.get(key), ours.get(key)) for key, text in said.items()]
    pairs += [(f"the steps of {m}", wanted["steps"].get(m), ours["steps"][m]) for m in methods]
    for text, theirs, mine in pairs:
        if theirs != mine:
            raise UserError(
                f"The run cannot be compared with the reference: {text} is {mine}, the reference's {theirs}."
            )


def _only(frames: Frames, protocol: dict[str, Any]) -> Frames:
    """The frames over the reference's prompts and seeds."""
    kept = [f[f["prompt_id"].isin(protocol["prompts"]) & f["seed"].isin(protocol["seeds"])] for f in frames]
    if not len(kept[2]):
        raise UserError("The run cannot be compared with the reference: it has none of its prompts and seeds.")
    return Frames(*kept)


def _missing_jobs(jobs: pd.DataFrame, method: str, protocol: dict[str, Any]) -> str:
    """The reference's jobs that the run lacks or has not scored, by number of prompt and seed."""
    mine = jobs[(jobs["method"] == method) & (jobs["scored"] | (jobs["status"] != "ok"))]
    have = set(zip(mine["prompt_id"], mine["seed"], strict=True))
    gone = [f"{p[:2]}/{s}" for p in protocol["prompts"] for s in protocol["seeds"] if (p, s) not in have]
    return ", ".join(gone[:6]) + (f" and {len(gone) - 6} more" if len(gone) > 6 else "")


def _read(path: Path) -> dict[str, Any]:
    try:
        reference = json.loads(read_text(path))
    except FileNotFoundError as error:
        raise UserError(f"There is no reference {path}: name a JSON file of results/reference.") from error
    except (OSError, ValueError) as error:
        raise UserError(f"The reference {path} cannot be read: restore it from version control.") from error
    if not isinstance(reference, dict) or not {"protocol", "methods"} <= set(reference):
        raise UserError(f"{path} is no reference: it needs `protocol` and `methods`.")
    return reference


def _number(value: float, decimals: int, signed: bool) -> str:
    return "" if pd.isna(value) else f"{value:{'+' if signed else ''}.{decimals}f}"
