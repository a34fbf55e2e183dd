"""Several runs in one table, with published rows, and their differences where they have jobs in common.

A method is called `run/method`. A metric that was measured otherwise in one run than in another, on a prompt that both
have, is left out, and said: by another judge, another version of its code, another truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from rich.console import Console

from errors import UserError
from eval.score import scores_of
from eval.views import jobs
from files import write_text
from reports import Frames, load
from reports.columns import column
from reports.markdown import pipes
from reports.published import Published
from reports.tables import NOTE, cell, columns_of, count, label, make, remarks
from reports.terminal import block
from reports.uncertainty import differences
from say import say

OF_A_JOB = {"pictures", "prompt", "opacity"}  # of a stamp: what is no matter of how a metric measures
TITLE = "Side by side"
OTHER = (
    "Published rows are of other machines, and of Stable Diffusion: a run of the world's suite is not to be read by "
    "them."
)


class Beside(NamedTuple):
    """`table` has a row a run's method, then the published ones; `gaps` are differences to the first, or empty."""

    table: pd.DataFrame
    gaps: pd.DataFrame
    said: list[str]


def compared(
    runs: Mapping[str, Path], published: Sequence[Published], order: Sequence[str], baseline: str | None
) -> Beside:
    """Runs by the names that they are to have. Raises UserError for one without jobs, and a baseline that is none."""
    frames = {name: load(run) for name, run in runs.items()}
    unlike = unlike_metrics(runs)
    merged = _merged(frames, set(unlike))
    ranks = [f"{name}/{method}" for name in runs for method in order]
    table = make(merged, ranks)
    paired, how = pairs(merged)
    gaps = pd.DataFrame()
    if table["method"].nunique() > 1 and len(paired.wide):
        gaps = differences.differences(paired, baseline or table["method"].iloc[0], ranks)
    said = [f"{column(m).title} is left out: {why}." for m, why in unlike.items()]
    said += [*remarks(merged, table), *([how] if len(gaps) else ["No differences: no prompt is in two of them."])]
    said += [f"{t.name}: {note}" for t in published for note in t.notes] + ([OTHER] if published else [])
    rows = [table[table["block"] == "survivors"], *map(_published, published)]
    return Beside(pd.concat(rows, ignore_index=True), gaps, said)


def _merged(frames: Mapping[str, Frames], without: set[str]) -> Frames:
    """One run's frames, its methods by the names of both."""

    def named(part: pd.DataFrame, name: str) -> pd.DataFrame:
        return part.assign(method=name + "/" + part["method"])

    wide, rows = (
        pd.concat([named(getattr(f, kind), name) for name, f in frames.items()], ignore_index=True)
        for kind in Frames._fields
    )
    return Frames(wide.drop(columns=list(without & set(wide))), rows)


def unlike_metrics(runs: Mapping[str, Path]) -> dict[str, str]:
    """Metrics that runs measured in several ways on one prompt, each with what differs."""
    facts: dict[tuple[str, str], dict[str, set[str]]] = {}
    for run in runs.values():
        for job in jobs(run):
            for metric, stamp in scores_of(job).stamps.items():
                held = facts.setdefault((metric, job.parent.name), {})
                for name, value in stamp.items():
                    held.setdefault(name, set()).add(str(value)) if name not in OF_A_JOB else None
    found: dict[str, str] = {}
    for (metric, _), held in facts.items():
        if differing := sorted(name for name, values in held.items() if len(values) > 1):
            verb = "differs" if len(differing) == 1 else "differ"
            found.setdefault(metric, f"its {' and '.join(differing)} {verb}; score all of them again by one program")
    return found


def pairs(frames: Frames) -> tuple[Frames, str]:
    """Means of jobs, to be paired by prompt and seed; by prompt alone where runs have no seed in common."""
    metrics = [c for c in frames.wide if c not in ("method", "prompt_id", "seed", "status", "view", "azimuth")]
    ok = frames.wide[frames.wide["status"] == "ok"]

    def means(*keys: str) -> pd.DataFrame:
        return ok.groupby(["method", *keys], as_index=False)[metrics].mean()

    by_seed, said = means("prompt_id", "seed"), "Differences are of jobs' means, paired by prompt and seed."
    shared = by_seed.groupby(["prompt_id", "seed"])["method"].nunique().max() if len(by_seed) else 0
    if shared < 2:
        by_seed, said = (
            means("prompt_id").assign(seed="all"),
            "Differences are of prompts' means: no seed is in two of them.",
        )
    shared = by_seed.groupby(["prompt_id", "seed"])["method"].nunique()
    if not len(shared) or shared.max() < 2:
        return frames._replace(wide=by_seed.iloc[:0]), said
    return frames._replace(wide=by_seed.assign(status="ok", view=0, azimuth=0.0)), said


def _published(table: Published) -> pd.DataFrame:
    rows = table.read()
    unlike = [c for c in rows if any(c.startswith(f"{metric}_") for metric in table.unlike)]
    return rows.drop(columns=unlike).assign(method=table.name + "/" + rows["method"])


def show(found: Beside, console: Console) -> None:
    block(TITLE, found.table, columns_of(found.table), console)
    say(console, f"{NOTE}.", "dim", wrap=True)
    for line in found.said:
        say(console, line, "yellow", wrap=True)
    if len(found.gaps):
        differences.show(found.gaps, console)


def write(found: Beside, out: Path) -> list[Path]:
    """compare.csv, compare.md and differences.csv; returns their paths. Raises UserError for a place that is none."""
    columns = columns_of(found.table)
    body: list[list[Any]] = [
        [label(r), r["steps"], count(r), *(cell(r, c) for c in columns)] for _, r in found.table.iterrows()
    ]
    lines = [f"# {TITLE}", "", *pipes(["Method", "Steps", "n", *(c.heading for c in columns)], body), ""]
    lines += [f"- {line}" for line in found.said]
    if len(found.gaps):
        lines += ["", f"## Paired differences to {found.gaps['baseline'].iloc[0]}", "", differences.NOTE, ""]
        lines += pipes(*differences.rows(found.gaps))
    texts = {"compare.md": "\n".join(lines) + "\n", "compare.csv": found.table.to_csv(index=False)}
    texts["differences.csv"] = found.gaps.to_csv(index=False)
    try:
        out.mkdir(parents=True, exist_ok=True)
        return [write_text(out / name, text) for name, text in texts.items()]
    except OSError as error:
        raise UserError(f"Nothing can be written to {out}: give another --out.") from error
