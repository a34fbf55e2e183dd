"""Methods against one of them, paired by prompt, seed and view: what differs, by how much, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from errors import UserError
from names import known
from reports import Frames
from reports.columns import column, measured
from reports.tables import LEVEL, in_order
from reports.uncertainty.statistics import detectable, holm, paired_difference, prompts_needed
from say import plain, say

FACTS = ["mean", "stderr", "low", "high", "p", "p_holm", "sd", "detectable", "n_views", "n_prompts"]
STAR = "†"
NOTE = (
    "Mean difference over the same prompts, seeds and views, with its 95 % interval (Student's t over prompts). "
    f"{STAR}: p < .05 by Holm's correction over the methods."
)


def differences(frames: Frames, baseline: str, order: Sequence[str] = ()) -> pd.DataFrame:
    """Each other method minus the baseline, paired by prompt, seed and view, over jobs where both survived: mean,
    stderr and 95 % interval, clustered by prompt; `p` of no difference, and `p_holm` the same where all methods'
    differences of a metric are one family; `sd` of the prompts' differences; `detectable` the least difference that so
    many prompts show four times in five. Raises UserError for a baseline that the run lacks."""
    methods = in_order(frames, order)
    known("method of this run", baseline, methods)
    survived = frames.wide[frames.wide["status"] == "ok"].set_index(["prompt_id", "seed", "view"]).sort_index()
    rows_of = survived.groupby("method").indices  # once: a run has a hundred thousand rows
    base = survived.iloc[rows_of.get(baseline, [])].add_suffix("_base")
    rows = []
    for method in (m for m in methods if m != baseline):
        pairs = survived.iloc[rows_of.get(method, [])].join(base, how="inner")
        prompts = pd.factorize(pairs.index.get_level_values("prompt_id"), sort=True)[0]
        for metric in (m for m in measured() if m.key in survived and len(pairs)):
            own, other = (pairs[name].to_numpy(float) for name in (metric.key, f"{metric.key}_base"))
            d = paired_difference(own, other, prompts, bounds=metric.limits)
            least = detectable(d.sd, d.clusters)
            found = (d.mean, d.stderr, d.low, d.high, d.p, d.p, d.sd, least, d.n, d.clusters)
            numbers = dict(zip(FACTS, found, strict=True))
            rows.append({"method": method, "baseline": baseline, "metric": metric.key, **numbers})
    table = pd.DataFrame(rows, columns=["method", "baseline", "metric", *FACTS])
    table["p_holm"] = table.groupby("metric")["p"].transform(holm) if len(table) else table["p"]
    return table


def words(gap: pd.Series | None) -> str:
    """`+1.20† [+.30, +2.10]`; a dash where there is none."""
    if gap is None or pd.isna(gap["mean"]):
        return "-"
    decimals = column(gap["metric"]).decimals
    mean = f"{gap['mean']:+.{decimals}f}{STAR if gap['p_holm'] < LEVEL else ''}"
    return mean if pd.isna(gap["low"]) else f"{mean} [{gap['low']:+.{decimals}f}, {gap['high']:+.{decimals}f}]"


def rows(gaps: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and body: a row a metric, a column a method."""
    methods = list(dict.fromkeys(gaps["method"]))
    of = {(g["method"], g["metric"]): g for _, g in gaps.iterrows()}
    metrics = dict.fromkeys(gaps["metric"])
    body = [[column(m).heading, *(words(of.get((method, m))) for method in methods)] for m in metrics]
    return ["Metric", *methods], body


def show(gaps: pd.DataFrame, console: Console) -> None:
    """Print the differences, as many methods side by side as there is room for."""
    if not len(gaps):
        raise UserError("There is nothing to compare: the methods have no prompt, seed and view in common.")
    header, body = rows(gaps)
    say(console, f"Paired differences to {gaps['baseline'].iloc[0]}", "bold")
    wide = [max(len(line[k]) for line in [header, *body]) + 1 for k in range(len(header))]
    first = 1
    while first < len(header):
        last = first + 1
        while last < len(header) and sum(wide[:1] + wide[first : last + 1]) <= console.width:
            last += 1
        part = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for k in (0, *range(first, last)):
            part.add_column(plain(header[k]), justify="left" if k == 0 else "right", no_wrap=True)
        for line in body:
            part.add_row(*(plain(line[k]) for k in (0, *range(first, last))))
        console.print(part)
        first = last
    say(console, NOTE, "dim", wrap=True)


def needed(gaps: pd.DataFrame, metric: str, difference: float) -> pd.DataFrame:
    """How many prompts it takes to see a `difference` of a metric four times in five at the level of .05, a row a
    method: by the spread between the prompts that the run has. Raises UserError for a metric that it lacks."""
    known("metric of this run", metric, dict.fromkeys(gaps["metric"]))
    chosen = gaps[gaps["metric"] == metric]
    prompts = [prompts_needed(difference, sd) if n >= 3 else None for sd, n in zip(chosen["sd"], chosen["n_prompts"],
                                                                                    strict=True)]  # fmt: skip
    return chosen[["method", "baseline", "metric", "sd", "n_prompts"]].assign(difference=difference, needed=prompts)


def show_needed(found: pd.DataFrame, console: Console) -> None:
    for _, row in found.iterrows():
        what = f"{row['method']} against {row['baseline']}: a difference of {row['difference']:g} in {row['metric']}"
        if pd.isna(row["needed"]):
            say(console, f"{what} cannot be planned for: {row['n_prompts']} prompts tell too little of the spread.")
            continue
        spread = f"prompts' differences spread by {row['sd']:.3g} (of {row['n_prompts']} prompts)"
        say(console, f"{what} takes {int(row['needed'])} prompts to be seen four times in five; {spread}.")
