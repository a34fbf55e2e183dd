"""The numbers of a page: what the template prints, and what its script draws. Nothing is computed in the browser.

Alphabet: M methods, K (prompt, seed) pairs, V views. A cube (M,K,V) holds a metric over all of a division's jobs that
left an object, NaN elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from eval.divergence import DIVERGED
from files import ROOT
from reports import Frames
from reports.columns import COST, Column, measured
from reports.page.divisions import Division
from reports.published import TABLES, Published
from reports.tables import BLOCKS, CLOSED, columns_of, count, in_order, remarks, setting
from reports.uncertainty.statistics import paired_difference

STATUSES = ("ok", *DIVERGED, "failed")
RESPONSES = ROOT / "world" / "curves" / "responses.csv"  # python -m world.train --check writes it
DIGITS = 6  # that a number is told with
JOB = ("method", "prompt_id", "seed", "status", "cause", "run", "steps", "nfe", "time_min", "memory_gb", "views",
       "view_resolution", "prior_name", "prior", "settings", "commit", "device")  # fmt: skip


def content(division: Division, table: pd.DataFrame, order: Sequence[str]) -> dict[str, Any]:
    """All that a page says of a division but its pictures, in plain lists and dicts. `table` is `reports.tables.make`'s
    of it."""
    frames = division.frames
    methods = in_order(frames, order)
    columns = columns_of(table)
    metrics = [m for m in measured() if m in columns and m.key in frames.wide and frames.wide[m.key].notna().any()]
    prompts = dict(sorted(zip(frames.jobs["prompt_id"], frames.jobs["prompt"], strict=True)))
    cubes = cubes_of(frames, methods, [m.key for m in metrics])
    survivors = table[table["block"] == "survivors"].set_index("method")
    return {
        "title": division.title,
        "runs": list(division.runs),
        "setting": setting(frames),
        "remarks": remarks(frames, table),
        "columns": [described(c) for c in columns],
        "blocks": [block(table, key, title, columns) for key, title in BLOCKS.items() if (table["block"] == key).any()],
        "methods": methods,
        "metrics": [m.key for m in metrics],
        "prompts": [{"id": key, "text": text} for key, text in prompts.items()],
        "seeds": sorted(frames.jobs["seed"].unique(), key=lambda s: (len(s), s)),
        "means": {m.key: by_prompt(cubes[m.key], cubes["prompt"], list(prompts)) for m in metrics},
        "table": {m.key: [interval(survivors.loc[method], m) for method in methods] for m in metrics},
        "cost": {c.key: [known(survivors.loc[method].get(c.key)) for method in methods] for c in COST},
        "gaps": {m.key: gaps(cubes[m.key], cubes["prompt"], m.limits) for m in metrics},
        "statuses": {
            s: [int(((frames.jobs["method"] == m) & (frames.jobs["status"] == s)).sum()) for m in methods]
            for s in STATUSES
        },
        "causes": causes(frames.jobs),
        "jobs": provenance(frames.jobs, methods),
    }


def described(column: Column) -> dict[str, Any]:
    return {
        "key": column.key,
        "title": column.title,
        "unit": column.unit,
        "arrow": column.arrow,
        "better": column.better,
        "decimals": column.decimals,
        "about": about(column),
    }


def about(column: Column) -> str:
    """What a column is, and which way is better."""
    better = {"up": "Higher is better.", "down": "Lower is better.", "one": "Nearest to 1 is best.", None: ""}
    return " ".join(filter(None, (column.about, better[column.better])))


def block(table: pd.DataFrame, key: str, title: str, columns: Sequence[Column]) -> dict[str, Any]:
    """The rows of a table's block. The best mean of a column is marked where a direction is and rows are several."""
    rows = table[table["block"] == key]
    best = {c.key: _best(rows, c) for c in columns}
    ends = {c.key: _ends(rows, c) for c in columns}
    return {"title": title, "rows": [_row(row, columns, best, ends) for _, row in rows.iterrows()]}


def _row(row: pd.Series, columns: Sequence[Column], best: dict[str, Any], ends: dict[str, Any]) -> dict[str, Any]:
    return {
        "method": row["method"],
        "open": "" if row["open"] == CLOSED else row["open"],
        "steps": row["steps"],
        "n": count(row),
        "failed": int(row["n_failed"]),
        "left_out": int(row["n_left_out"]),
        "cells": [_cell(row, c, best[c.key], ends[c.key]) for c in columns],
    }


def _cell(row: pd.Series, column: Column, best: float | None, ends: tuple[float, float]) -> dict[str, Any]:
    """A number with its interval, where both stand between the column's ends, and what a pointer is told."""
    mean, low, high = interval(row, column)
    said: dict[str, Any] = {"text": "–", "sort": None, "best": False, "low": "", "high": "", "tip": ""}
    if mean is None:
        return said
    d = column.decimals
    said |= {"text": fixed(mean, d), "sort": mean, "best": best is not None and mean == best}
    std, stderr = (known(row.get(f"{column.key}_{name}")) for name in ("std", "stderr"))
    lines = [f"± {std:.{d}f} standard deviation over prompts x views"] if std is not None else []
    lines += [f"{stderr:.{d + 1}f} standard error, clustered by prompt"] if stderr is not None else []
    if (over := known(row.get(f"{column.key}_prompts"))) is not None and over < row["n_prompts"]:
        lines += [f"over {over:.0f} of {row['n_prompts']} prompts: the others have no value"]
    if low is not None and high is not None:
        said |= {"low": fixed(low, d), "high": fixed(high, d)}
        lines = [f"95 % interval {said['low']} to {said['high']}", *lines]
        span = ends[1] - ends[0]
        said["at"] = [round(100 * (x - ends[0]) / span, 1) if span > 0 else 50.0 for x in (low, mean, high)]
    return said | {"tip": "; ".join(lines)}


def fixed(x: float, decimals: int) -> str:
    """A number of so many decimals; nothing is less than nothing (-0.00)."""
    return f"{round(x, decimals) + 0.0:.{decimals}f}"


def interval(row: pd.Series, column: Column) -> list[float | None]:
    """[mean, low, high] of a table's row, in the column's unit; None for what is not known."""
    mean = row.get(f"{column.key}_mean", row.get(column.key))
    return [known(x) for x in (mean, row.get(f"{column.key}_low"), row.get(f"{column.key}_high"))]


def _best(rows: pd.DataFrame, column: Column) -> float | None:
    means = [x for x in (interval(row, column)[0] for _, row in rows.iterrows()) if x is not None]
    if len(rows) < 2 or not means or column.better not in ("up", "down") or min(means) == max(means):
        return None
    return max(means) if column.better == "up" else min(means)


def _ends(rows: pd.DataFrame, column: Column) -> tuple[float, float]:
    """Between what all intervals of a column lie."""
    seen = [x for _, row in rows.iterrows() for x in interval(row, column) if x is not None]
    return (min(seen), max(seen)) if seen else (0.0, 0.0)


def known(value: Any) -> float | None:
    """A number of DIGITS digits; None for one that is not there."""
    return None if value is None or pd.isna(value) else float(f"{float(value):.{DIGITS}g}")


def cubes_of(frames: Frames, methods: Sequence[str], metrics: Sequence[str]) -> dict[str, Any]:
    """A cube a metric, and `prompt`: for each of the K pairs the prompt's id."""
    ok = frames.wide[frames.wide["status"] == "ok"]
    m = pd.Categorical(ok["method"], methods).codes
    k, pairs = pd.factorize(pd.MultiIndex.from_frame(ok[["prompt_id", "seed"]]))
    v, views = pd.factorize(ok["view"])
    cubes: dict[str, Any] = {"prompt": np.array([prompt for prompt, _ in pairs], object)}
    for key in metrics:
        cubes[key] = np.full((len(methods), len(pairs), len(views)), np.nan)
        cubes[key][m, k, v] = ok[key].to_numpy(float)
    return cubes


def by_prompt(cube: Float[ndarray, "M K V"], prompt: ndarray, prompts: Sequence[str]) -> list[list[float | None]]:
    """The mean of each method over a prompt's seeds and views."""
    said = []
    for values in cube:
        of = [values[prompt == p] for p in prompts]
        said.append([known(x[~np.isnan(x)].mean()) if (~np.isnan(x)).any() else None for x in of])
    return said


def gaps(
    cube: Float[ndarray, "M K V"], prompt: ndarray, bounds: tuple[float, float]
) -> list[list[list[float | None] | None]]:
    """[mean, low, high] of method a less method b for each a > b, paired by prompt, seed and view; None where they have
    nothing in common. `bounds` are those of a value."""
    cluster = np.repeat(pd.factorize(prompt)[0], cube.shape[2])

    def gap(a: int, b: int) -> list[float | None] | None:
        d = paired_difference(cube[a].reshape(-1), cube[b].reshape(-1), cluster, bounds=bounds)
        return [known(d.mean), known(d.low), known(d.high)] if d.n else None

    return [[gap(a, b) for b in range(a)] for a in range(len(cube))]


def causes(jobs: pd.DataFrame) -> list[dict[str, Any]]:
    """How jobs ended that left no object, and why, most first."""
    lost = jobs[jobs["status"] != "ok"].assign(cause=lambda j: j["cause"].fillna(""))
    said = [
        {"method": method, "status": status, "cause": cause or MEANT.get(status, ""), "n": len(group),
         "jobs": [f"{p} / {s}" for p, s in zip(group["prompt_id"], group["seed"], strict=True)]}
        for (method, status, cause), group in lost.groupby(["method", "status", "cause"])
    ]  # fmt: skip
    return sorted(said, key=lambda row: -row["n"])


MEANT = {"empty": "nothing is left: mean opacity below .01 over its views"}


def provenance(jobs: pd.DataFrame, methods: Sequence[str]) -> dict[str, list[Any]]:
    """A column a fact, a line a job, in the order of methods, prompts and seeds."""
    rank = {method: k for k, method in enumerate(methods)}
    sort = jobs.assign(rank=jobs["method"].map(rank), long=jobs["seed"].str.len())
    jobs = sort.sort_values(["rank", "prompt_id", "long", "seed"])
    columns = {key: jobs[key].tolist() for key in JOB}
    columns["prior_name"] = [name and Path(name).name for name in columns["prior_name"]]  # a path is this machine's
    columns["judges"] = ["; ".join(f"{k} {v}" for k, v in sorted(said.items())) for said in jobs["judges"]]
    return {key: [_told(value) for value in values] for key, values in columns.items()}


def _told(value: Any) -> Any:
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return None
    return value if isinstance(value, str) else known(value)


def published(table: Published) -> dict[str, Any]:
    """A published table, in the columns that it has."""
    rows = table.read()
    columns = [c for c in columns_of(rows) if f"{c.key}_mean" in rows or c.key in rows]
    return {
        "title": table.title,
        "who": table.who,
        "notes": table.notes,
        "columns": [described(c) for c in columns],
        "rows": [{"method": row["method"], "steps": row["steps"], "cells": [_plain(row, c) for c in columns]}
                 for _, row in rows.iterrows()],
    }  # fmt: skip


def _plain(row: pd.Series, column: Column) -> str:
    mean, std = (known(row.get(f"{column.key}_{name}")) for name in ("mean", "std"))
    mean = known(row.get(column.key)) if mean is None else mean
    if mean is None:
        return "–"
    return f"{mean:.{column.decimals}f}" + (f" ± {std:.{column.decimals}f}" if std is not None else "")


def curves(suites: set[str]) -> list[dict[str, Any]]:
    """How each metric of the world's judges answers to true views that are spoiled more and more; none where no job is
    of the world. `lines`: a kind of damage, and the metric's mean at each of the strengths."""
    if "world" not in suites:
        return []
    found = pd.read_csv(RESPONSES)
    strengths = sorted(found["strength"].unique())
    wide = found.set_index(["distortion", "strength"])
    metrics = [metric for metric in measured() if metric.key in found]

    def lines(key: str) -> list[dict[str, Any]]:
        names = found["distortion"].unique()
        return [{"name": n.replace("_", "-"), "values": [known(wide[key][n, s]) for s in strengths]} for n in names]

    return [described(metric) | {"strengths": strengths, "lines": lines(metric.key)} for metric in metrics]


def all_published() -> list[dict[str, Any]]:
    return [published(table) for table in TABLES]
