"""A run beside published tables: what was reproduced, by how much it differs, and what it may be read as.

A comparison is a frame with a row a table, rule and metric of Table 1; numbers that are not there are NaN, words "-".

    table, method, published       a table's key in `reports.published`, the run's rule, and its name in the table
    mean, std, stderr              ours over jobs that left an object; the error is clustered by prompt
    published_mean, published_std  the table's
    difference                     mean - published_mean; NaN for a metric that is not ours but by name
    inside                         "yes" where published_mean - published_std <= mean <= published_mean + published_std,
                                   "no" elsewhere, "-" where one of them is not known
    n, n_failed, n_prompts         jobs in the means, jobs that are not, prompts of the first
    steps, published_steps         of the run's jobs ("20/300" where they differ), and of the table's
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from eval.divergence import DIVERGED
from files import write_text
from reports import Frames, load
from reports.columns import Column, paper
from reports.folders import TEXTS
from reports.published import TABLES, Published
from reports.published.forms import latex, markdown, show
from reports.tables import CLOSED, in_order, mixed, row_of, setting
from say import say

SHORT = "5000"  # Table 2's steps: SDI at just this length is its row, and no other
VIEWS, RESOLUTION, GPU = 50, 512, "A6000"
PRIOR_NAMES = ("sd21-base", "stable-diffusion-2-1-base")  # where `fetch` and the hub's cache put it
SPREAD = (
    "The published ± is a spread over prompts x views, not an error of the mean: that ours lies inside it does not say "
    "that the two agree."
)


def make(frames: Frames, order: Sequence[str] = ()) -> pd.DataFrame:
    """The comparison of a run, in the tables' order, with what is on one side alone."""
    ours = {method: row_of(frames, method, "survivors", ("ok",)) for method in in_order(frames, order)}
    pairs = list(_paired(ours))
    rows = [_compared(*pair, column) for pair in pairs for column in paper()]
    return pd.DataFrame(rows).astype(dict.fromkeys(("n", "n_failed", "n_prompts"), "Int64"))


def _paired(
    ours: Mapping[str, dict[str, Any]],
) -> Iterator[tuple[Published | None, Mapping[str, Any], Mapping[str, Any]]]:
    """A table, a row of ours and one of the table's, for each row of each table and each rule that no table has; {}
    where there is none."""
    of = {method: partners(method, row["steps"]) if row["open"] == CLOSED else [] for method, row in ours.items()}
    for table in TABLES:
        for theirs in table.read().to_dict("records"):
            mine = [row for method, row in ours.items() if (table.key, theirs["method"]) in of[method]]
            yield from ((table, row, theirs) for row in mine or [{}])
    yield from ((None, row, {}) for method, row in ours.items() if not of[method])


def partners(method: str, steps: str) -> list[tuple[str, str]]:
    """The tables, by key, and their rows that a rule is held against."""
    rows = [(table.key, table.rows[method]) for table in TABLES if method in table.rows]
    return [("2", "SDI")] if ("1", "SDI") in rows and steps == SHORT else rows


def _compared(
    table: Published | None, own: Mapping[str, Any], paper: Mapping[str, Any], column: Column
) -> dict[str, Any]:
    mean, std, stderr = _numbers(own, column)
    paper_mean, paper_std, _ = _numbers(paper, column)
    alike = table is None or column.key not in table.unlike
    known = alike and not any(map(pd.isna, (mean, paper_mean, paper_std)))
    within = paper_mean - paper_std <= mean <= paper_mean + paper_std
    return {
        "table": table.key if table else "-",
        "method": own.get("method", "-"),
        "published": paper.get("method", "-"),
        "metric": column.key,
        "mean": mean,
        "std": std,
        "stderr": stderr,
        "published_mean": paper_mean,
        "published_std": paper_std,
        "difference": mean - paper_mean if alike else float("nan"),
        "inside": ("yes" if within else "no") if known else "-",
        **{key: own.get(key) for key in ("n", "n_failed", "n_prompts")},
        "steps": own.get("steps") or "-",
        "published_steps": paper.get("steps", "-"),
    }


def _numbers(row: Mapping[str, Any], column: Column) -> tuple[float, float, float]:
    """Mean, std and stderr of a table's row; of what is one number a job, the mean alone."""
    nan = float("nan")
    std, stderr = (row.get(f"{column.key}_{name}", nan) for name in ("std", "stderr"))
    return row.get(f"{column.key}_mean", row.get(column.key, nan)), std, stderr


def notes(frames: Frames, compared: pd.DataFrame) -> list[str]:
    """A line for all that a reader must know before a difference means something."""
    both = compared[(compared["method"] != "-") & (compared["published"] != "-")]
    if both.empty:
        return ["No rule of this run has a row in a published table.", SPREAD]
    found = departures(frames, both)
    lines = [f"This run is no reproduction: {'; '.join(found)}."] if found else [
        "In suite, prompts, steps, views, resolution and the name of its prior, this run is as the paper's."
    ]  # fmt: skip
    for table in TABLES:
        if (both["table"] == table.key).any():
            lines += table.notes
    devices = frames.jobs["device"].dropna().unique()
    if not len(devices) or not all(GPU in device for device in devices):
        here = ", ".join(sorted(devices)) or "not known"
        lines.append(f"Time and memory are of other hardware: ours {here}, the paper's an RTX {GPU}.")
    return [*lines, *mixed(frames.jobs), SPREAD]


def departures(frames: Frames, both: pd.DataFrame) -> list[str]:
    """In what the jobs of rules that have a published row are not the paper's, a phrase each; [] where in nothing."""
    jobs = frames.jobs[frames.jobs["method"].isin(both["method"])]
    methods = list(dict.fromkeys(both["method"]))
    by = {method: jobs[jobs["method"] == method] for method in methods}
    steps = both.drop_duplicates("method").set_index("method")
    said = [
        _phrase("suite", {m: _values(g["suite"], "paper") for m, g in by.items()}),
        _phrase("prompts", {m: _prompts(g) for m, g in by.items()}),
        _phrase("steps", {m: _of(steps.loc[m, "steps"], steps.loc[m, "published_steps"]) for m in methods}),
        _phrase("views", {m: _of(_values(g["views"]), str(VIEWS)) for m, g in by.items()}),
        _phrase("views at", {m: _pixels(_values(g["view_resolution"])) for m, g in by.items()}),
        _phrase("prior", {m: _other_prior(g["prior_name"]) for m, g in by.items()}),
    ]
    facts = {"suite": "suite", "steps": "steps", "view_resolution": "resolution", "prior_name": "prior"}
    unsaid = [name for key, name in facts.items() if jobs[key].isna().any()]
    return [line for line in said if line] + ([f"{', '.join(unsaid)} not said by its folders"] if unsaid else [])


def _phrase(what: str, by_method: Mapping[str, str]) -> str:
    """`what 4 of 43`, with the rules in brackets where they differ; "" where there is nothing to say."""
    values = dict.fromkeys(value for value in by_method.values() if value)
    if len(values) == 1 and all(by_method.values()):
        return f"{what} {next(iter(values))}"
    who = {value: ", ".join(m for m, v in by_method.items() if v == value) for value in values}
    return f"{what} {', '.join(f'{value} ({who[value]})' for value in values)}" if values else ""


def _prompts(jobs: pd.DataFrame) -> str:
    """How many of the paper's prompts have an outcome: scores, or a divergence."""
    ended = jobs[((jobs["status"] == "ok") & jobs["scored"]) | jobs["status"].isin(DIVERGED)]
    done = ended["prompt_id"].unique()
    inside = sum(prompt in TEXTS for prompt in done)
    other = f" and {len(done) - inside} of its own" if inside < len(done) else ""
    return f"{inside} of {len(TEXTS)}{other}" if other or inside < len(TEXTS) else ""


def _values(column: pd.Series, usual: str = "") -> str:
    """The values but the usual one, joined; "" where there are none."""
    values = sorted(column.dropna().unique())
    texts = [value if isinstance(value, str) else str(int(value)) for value in values]
    return "/".join(text for text in texts if text != usual)


def _of(ours: str, paper: str) -> str:
    thousands = "/".join(f"{int(part):,}" for part in ours.split("/") if part.isdecimal())
    return f"{thousands} of {int(paper):,}" if thousands and ours != paper else ""


def _pixels(ours: str) -> str:
    return f"{ours} pixels, not {RESOLUTION}" if ours not in ("", str(RESOLUTION)) else ""


def _other_prior(names: pd.Series) -> str:
    others = sorted({Path(name).name for name in names.dropna() if not any(papers in name for papers in PRIOR_NAMES)})
    return f"{'/'.join(others)}, not SD 2.1-base" if others else ""


def write(run: Path, frames: Frames, compared: pd.DataFrame) -> list[Path]:
    """compare.csv, compare.md and compare.tex in the run; returns their paths."""
    lines, about = notes(frames, compared), setting(frames)
    texts = {
        "compare.md": markdown(compared, lines, about),
        "compare.csv": compared.to_csv(index=False),
        "compare.tex": latex(compared, lines, about),
    }
    for name, text in texts.items():
        write_text(run / name, text)
    return [run / name for name in texts]


def report(run: Path, order: Sequence[str], console: Console) -> None:
    """Compare a scored run with the paper: print it, write it, say where. Raises UserError for a run without jobs."""
    frames = load(run)
    compared = make(frames, order)
    files = write(run, frames, compared)
    show(frames, compared, notes(frames, compared), console)
    for file in files:
        say(console, file)
