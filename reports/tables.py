"""Tables of a run: means over prompts x views as the paper prints them, with what it leaves out: n, failures, errors.

A table is a frame with a row a method and block: `block` says which jobs are in it.

    survivors   the jobs that left an object
    all         those and the diverged ones, scored as their background; only where some diverged
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from eval.divergence import DIVERGED
from eval.statistics import paired_difference, summarise
from reports import Frames
from reports.columns import BEYOND, CLIP, COST, TABLE, Column

PUBLISHED = Path(__file__).parents[1] / "results" / "published" / "table1.csv"
BLOCKS = {
    "survivors": "Jobs that left an object",
    "all": "All jobs, a diverged one scored as its background",
}
PUBLISHED_TITLE = "Published (SD 2.1, A6000): other prior, other hardware"
NOTE = "mean ± standard deviation over prompts x views; n jobs, (failed) jobs that are not in the means"


def make(frames: Frames, order: Sequence[str] = ()) -> pd.DataFrame:
    """The table of a run: for each metric its mean, std (prompts x views) and stderr (clustered by prompt).

    Methods come in `order`, others after them by name."""
    methods = in_order(frames, order)
    rows = [row_of(frames, method, "survivors", ("ok",)) for method in methods]
    if frames.jobs["status"].isin(DIVERGED).any():
        rows += [row_of(frames, method, "all", ("ok", *DIVERGED)) for method in methods]
    return pd.DataFrame(rows)


def in_order(frames: Frames, order: Sequence[str] = ()) -> list[str]:
    """The run's methods, in `order` first."""
    rank = {method: k for k, method in enumerate(order)}
    return sorted(frames.jobs["method"].unique(), key=lambda m: (rank.get(m, len(rank)), m))


def row_of(frames: Frames, method: str, block: str, statuses: tuple[str, ...]) -> dict[str, object]:
    jobs = frames.jobs[frames.jobs["method"] == method]
    counted = jobs[jobs["status"].isin(statuses) & jobs["scored"]]
    views = frames.wide[(frames.wide["method"] == method) & frames.wide["status"].isin(statuses)]
    ended = jobs[jobs["status"] != "failed"]
    row: dict[str, object] = {
        "block": block,
        "method": method,
        "steps": "/".join(str(int(s)) for s in sorted(jobs["steps"].dropna().unique())),
        "n": len(counted),
        "n_failed": len(jobs) - len(counted),
        "n_prompts": counted["prompt_id"].nunique(),
        "n_views": len(views),
        "diverged_pct": 100 * ended["status"].isin(DIVERGED).mean() if len(ended) else float("nan"),
    }
    for column in (*CLIP, *BEYOND):
        if column.key in views:
            summary = summarise(views[column.key].to_numpy(float), views["prompt_id"].to_numpy())
            row |= {f"{column.key}_{name}": getattr(summary, name) for name in ("mean", "std", "stderr")}
    return row | {column.key: counted[column.key].mean() for column in COST}


def published(path: Path = PUBLISHED) -> pd.DataFrame:
    """The paper's Table 1 in the same columns."""
    rows = pd.read_csv(path).rename(columns={"vram_gb": "memory_gb"})
    return rows.assign(steps=rows["steps"].astype(str), block="published")


def differences(frames: Frames, baseline: str, order: Sequence[str] = ()) -> pd.DataFrame:
    """Each other method minus the baseline, paired by prompt, seed and view, over jobs where both survived: mean,
    stderr and 95 % interval, by a bootstrap over prompts."""
    survived = frames.wide[frames.wide["status"] == "ok"].set_index(["prompt_id", "seed", "view"]).sort_index()
    base = survived[survived["method"] == baseline].add_suffix("_base")
    rows = []
    for method in (m for m in in_order(frames, order) if m != baseline):
        pairs = survived[survived["method"] == method].join(base, how="inner")
        for column in (c for c in (*CLIP, *BEYOND) if c.key in survived and len(pairs)):
            prompts = pairs.index.get_level_values("prompt_id").to_numpy()
            d = paired_difference(
                pairs[column.key].to_numpy(float), pairs[f"{column.key}_base"].to_numpy(float), prompts
            )
            facts = {
                "mean": d.mean,
                "stderr": d.stderr,
                "low": d.low,
                "high": d.high,
                "n_views": d.n,
                "n_prompts": d.clusters,
            }
            rows.append({"method": method, "baseline": baseline, "metric": column.key, **facts})
    return pd.DataFrame(
        rows, columns=["method", "baseline", "metric", "mean", "stderr", "low", "high", "n_views", "n_prompts"]
    )


def columns_of(table: pd.DataFrame) -> list[Column]:
    """The columns to show: all of Table 1's, and of the others those that some row has."""
    return [c for c in TABLE if c in (*CLIP, *COST) or c.key in table or f"{c.key}_mean" in table]


def cell(row: pd.Series, column: Column, between: str = " ± ") -> str:
    """`mean ± std`, or the mean alone for what is one number a job; '-' where there is none."""
    mean = row.get(f"{column.key}_mean", row.get(column.key))
    if mean is None or pd.isna(mean):
        return "-"
    std = row.get(f"{column.key}_std")
    number = f"{mean:.{column.decimals}f}"
    return number if std is None or pd.isna(std) else f"{number}{between}{std:.{column.decimals}f}"


def count(row: pd.Series) -> str:
    """n, and how many jobs failed in brackets."""
    if pd.isna(row.get("n")):
        return "-"
    return f"{int(row['n'])}" + (f" ({int(row['n_failed'])})" if row["n_failed"] else "")


def blocks(table: pd.DataFrame, paper: pd.DataFrame) -> Iterable[tuple[str, pd.DataFrame]]:
    """The table's blocks and the published rows, under their headings."""
    for block, title in BLOCKS.items():
        rows = table[table["block"] == block]
        if len(rows):
            yield title, rows
    yield PUBLISHED_TITLE, paper


def setting(frames: Frames) -> str:
    """Track, sizes, prior, encoder and machine, in one line, as far as the folders say."""
    jobs, wide = frames.jobs, frames.wide
    facts = {
        "track": jobs["track"],
        "resolution": jobs["resolution"].astype("Int64"),
        "views": jobs["views"].astype("Int64"),
        "prior": jobs["prior"].map(lambda s: s[:12], na_action="ignore"),
        **{
            name.replace("_", " "): wide[name].map(lambda s: s[:12], na_action="ignore")
            for name in ("encoder", "encoder_iqa", "encoder_2", "reward")
            if name in wide
        },
        "device": jobs["device"],
        "memory": jobs["memory"],
    }
    said = {name: sorted(values.dropna().astype(str).unique()) for name, values in facts.items()}
    return "; ".join(f"{name} {', '.join(values)}" for name, values in said.items() if values)
