"""Which judge is fooled by what: whether judges, which see pictures alone, order a prompt's jobs as the truth does.

Alphabet: of one prompt, jobs (method, seed) with means over views; b, a how good a judge and a truth metric call them,
higher is better: of what is best at 1, -|x - 1|. tau-b (Kendall, 1945) of a and b: 1 where every pair of jobs is
ordered alike, -1 where none is. A table's cell is the mean of tau over prompts.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from errors import UserError
from eval.metric import Metric
from reports import Frames
from reports.columns import column, measured
from reports.uncertainty.statistics import FEWEST, summarise
from say import plain, say

JUDGES = {"clip", "iqa", "clip2", "reward"}  # needs that a model serves
FEW = 3  # jobs of a prompt that can be ordered


def goodness(values: pd.Series, better: str | None) -> pd.Series:
    """The values, higher where better."""
    return {"up": values, "down": -values, "one": -(values - 1).abs()}[better or "up"]


def agreement(frames: Frames) -> pd.DataFrame:
    """A row a judge's metric and a truth metric: `tau`, mean over prompts, with its 95 % interval clustered by prompt;
    n_prompts, n_jobs. Raises UserError where no prompt has FEW jobs, or either kind of metric is not there."""
    judges, truths = (_with(frames, wanted) for wanted in (JUDGES, {"truth"}))
    if not (judges and truths):
        raise UserError("The run has no judges beside the truth: agreement needs the world's suite, scored.")
    survived = frames.wide[frames.wide["status"] == "ok"]
    jobs = survived.groupby(["prompt_id", "method", "seed"], sort=True)[[m.key for m in (*judges, *truths)]].mean()
    groups = [g for _, g in jobs.groupby("prompt_id") if len(g) >= FEW]
    if not groups:
        raise UserError(f"No prompt has {FEW} jobs to be ordered: run more methods or seeds.")
    rows = [_row(judge, truth, groups) for judge in judges for truth in truths]
    return pd.DataFrame([row for row in rows if row["n_prompts"]])


def _with(frames: Frames, needs: set[str]) -> list[Metric]:
    return [m for m in measured() if needs & set(m.needs) and m.better and m.key in frames.wide]


def _row(judge: Metric, truth: Metric, groups: list[pd.DataFrame]) -> dict[str, object]:
    from scipy.stats import kendalltau  # takes a second to import

    taus: list[float] = []
    n = 0
    for group in groups:
        pair = pd.DataFrame({m.key: goodness(group[m.key], m.better) for m in (judge, truth)}).dropna()
        if len(pair) >= FEW:
            tau = kendalltau(pair[judge.key], pair[truth.key]).statistic
            taus, n = [*taus, tau], n + len(pair)
    of = np.array([t for t in taus if not np.isnan(t)])  # NaN where one says the same of all jobs
    s = summarise(of, np.arange(len(of)), (-1.0, 1.0))
    facts = {"tau": s.mean, "low": s.low, "high": s.high, "n_prompts": len(of), "n_jobs": n}
    return {"judge": judge.key, "truth": truth.key, **facts}


def show(found: pd.DataFrame, console: Console) -> None:
    """Print the mean tau of each judge with each truth; in red what orders jobs against it, beyond chance."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    truths = list(dict.fromkeys(found["truth"]))
    for k, heading in enumerate(("Judge", *(column(t).title for t in truths))):
        table.add_column(plain(heading), justify="right" if k else "left")
    for judge, rows in found.groupby("judge", sort=False):
        of = rows.set_index("truth")
        table.add_row(plain(column(str(judge)).title), *(_cell(of.loc[t]) if t in of.index else "-" for t in truths))
    say(console, "Do judges order a prompt's jobs as the truth does? Kendall's tau, mean over prompts", "bold")
    console.print(table)
    for _, row in found[found["high"] < 0].iterrows():
        judge, truth = column(row["judge"]).title, column(row["truth"]).title
        say(console, f"{judge} is fooled: it prefers what is worse in {truth} (tau {row['tau']:+.2f}, 95 % interval "
                     f"{row['low']:+.2f} to {row['high']:+.2f}).", "red", wrap=True)  # fmt: skip
    n = found["n_prompts"]
    said = f"Of {n.min()} to {n.max()} prompts" if n.min() != n.max() else f"Of {n.max()} prompts"
    few = f"; no intervals under {FEWEST}" if n.min() < FEWEST else ""
    say(console, f"{said}{few}. 1: all pairs of jobs alike; 0: no relation; -1: all the other way round.", "dim")


def _cell(row: pd.Series) -> str:
    text = f"{row['tau']:+.2f}"
    return f"[red]{text}[/red]" if row["high"] < 0 else text
