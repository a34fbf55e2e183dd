"""Tables of a run: means over prompts x views as the paper prints them, with what it leaves out: n, failures, errors.

A table is a frame with a row a method and block: `block` says which jobs are in it.

    survivors   the jobs that left an object
    all         those and the diverged ones, scored as their background; only where some diverged

Rows are compared on what all methods have (`shared`), unless all jobs are asked for; `remarks` says what else a reader
must know.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from eval.divergence import DIVERGED
from reports import Frames, judges_of
from reports.columns import COST, PROCESS, Column, measured, paper, shown
from reports.uncertainty.statistics import levels, nested, summarise
from say import one_line

BLOCKS = {
    "survivors": "Jobs that left an object",
    "all": "All jobs, a diverged one scored as its background",
}
PUBLISHED_TITLE = "Published (SD 2.1, A6000): other prior, other hardware"
NOTE = "mean ± standard deviation over prompts x views; n jobs, (failed) jobs that are not in the means"
SHORT = 24  # characters of a commit, a device or a checksum
LEVEL = 0.05  # of a test
CLOSED = "no"  # of a row that may stand beside the published ones


def make(frames: Frames, order: Sequence[str] = (), common: bool = True) -> pd.DataFrame:
    """The table of a run: for each metric its mean, std (prompts x views), stderr and 95 % interval (clustered by
    prompt), and over how many prompts; of several seeds, how far those of a prompt lie apart, and the error that they
    leave.

    Methods come in `order`, others after them by name. Where `common`, over the prompts and seeds that all of them
    have; `n_left_out` jobs that others lack are in no number of their row."""
    methods, kept = in_order(frames, order), shared(frames) if common else frames
    rows_of = kept.wide.groupby("method").indices  # once: a run has a hundred thousand rows
    own = {method: Frames(kept.wide.iloc[rows_of.get(method, [])], kept.jobs) for method in methods}
    rows = [row_of(own[method], method, "survivors", ("ok",)) for method in methods]
    if frames.jobs["status"].isin(DIVERGED).any():
        rows += [row_of(own[method], method, "all", ("ok", *DIVERGED)) for method in methods]
    had, have = (f.jobs.loc[_ended(f.jobs), "method"].value_counts() for f in (frames, kept))
    table = pd.DataFrame(rows)
    left = table["method"].map(had.sub(have, fill_value=0)).fillna(0).astype(int)
    table.insert(list(table).index("n_prompts"), "n_left_out", left)
    return table


def in_order(frames: Frames, order: Sequence[str] = ()) -> list[str]:
    """The run's methods, in `order` first."""
    rank = {method: k for k, method in enumerate(order)}
    return sorted(frames.jobs["method"].unique(), key=lambda m: (rank.get(m, len(rank)), m))


def shared(frames: Frames) -> Frames:
    """The frames over the prompts and seeds that every method has: with scores, or diverged. A job that failed
    stays to be counted. All of them where methods have nothing in common."""
    pairs, (wide, jobs) = pairs_of_all(frames), frames
    if not pairs:
        return frames
    kept = _among(jobs, pairs) | (jobs["status"] == "failed")
    return Frames(wide[_among(wide, pairs)], jobs[kept])


def pairs_of_all(frames: Frames) -> set[tuple[str, str]]:
    """The prompts and seeds of which every method has an outcome; a method without any does not count."""
    ended = frames.jobs[_ended(frames.jobs)]
    groups = [set(zip(g["prompt_id"], g["seed"], strict=True)) for _, g in ended.groupby("method")]
    return set.intersection(*groups) if groups else set()


def _ended(jobs: pd.DataFrame) -> pd.Series:
    return ((jobs["status"] == "ok") & jobs["scored"]) | jobs["status"].isin(DIVERGED)


def _among(frame: pd.DataFrame, pairs: set[tuple[str, str]]) -> pd.Series:
    (prompt, prompts), (seed, seeds) = (pd.factorize(frame[key]) for key in ("prompt_id", "seed"))
    inside = np.array([[(p, s) in pairs for s in seeds] for p in prompts], bool).reshape(len(prompts), len(seeds))
    return pd.Series(inside[prompt, seed], frame.index, bool)


def row_of(frames: Frames, method: str, block: str, statuses: tuple[str, ...]) -> dict[str, object]:
    jobs = frames.jobs[frames.jobs["method"] == method]
    counted = jobs[jobs["status"].isin(statuses) & jobs["scored"]]
    views = frames.wide[(frames.wide["method"] == method) & frames.wide["status"].isin(statuses)]
    ended = jobs[jobs["status"] != "failed"]
    row: dict[str, object] = {
        "block": block,
        "method": method,
        "open": "; ".join(sorted(filter(None, jobs["open"].unique()))) or CLOSED,
        "steps": "/".join(str(int(s)) for s in sorted(jobs["steps"].dropna().unique())),
        "n": len(counted),
        "n_failed": len(jobs) - len(counted),
        "n_prompts": counted["prompt_id"].nunique(),
        "n_views": len(views),
        "diverged_pct": 100 * ended["status"].isin(DIVERGED).mean() if len(ended) else float("nan"),
    }
    prompts, seeds = (pd.factorize(views[key], sort=True)[0] for key in ("prompt_id", "seed"))  # quicker than texts
    nest = nested(prompts, seeds)
    for column in measured():
        if column.key in views:
            summary = summarise(views[column.key].to_numpy(float), prompts, column.limits)
            row |= {f"{column.key}_{name}": getattr(summary, name) for name in ("mean", "std", "stderr", "low", "high")}
            row[f"{column.key}_prompts"] = summary.clusters
            if nest.seeds > 1:
                of = levels(views[column.key].to_numpy(float), nest)
                row |= {f"{column.key}_seed_sd": of.seed, f"{column.key}_seed_stderr": of.seed_stderr}
    return row | {column.key: counted[column.key].mean() for column in COST}


def label(row: pd.Series) -> str:
    """The method, with a word where its results are open."""
    closed = pd.isna(row.get("open")) or row["open"] == CLOSED
    return one_line(row["method"] if closed else f"{row['method']} (open)")


def columns_of(table: pd.DataFrame) -> list[Column]:
    """The columns to show: all of Table 1's, and of the others those that some row has."""
    always = (*paper(), *COST)
    return [c for c in shown() if c in always or c.key in table or f"{c.key}_mean" in table]


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


def remarks(frames: Frames, table: pd.DataFrame) -> list[str]:
    """A sentence for each reason why rows may not be compared, or numbers are not there."""
    return [
        said
        for said in (
            _left_out(frames, table), _numberless(table), *_open(table), *mixed(frames.jobs), _memory(frames.jobs)
        )
        if said
    ]  # fmt: skip


def _open(table: pd.DataFrame) -> list[str]:
    """Why rows are open, a sentence a reason."""
    rows = table[table["open"] != CLOSED].drop_duplicates("method")
    return [
        f"{', '.join(group['method'])}: open results, for {why}; not to be compared with Table 1."
        for why, group in rows.groupby("open")
    ]


def _left_out(frames: Frames, table: pd.DataFrame) -> str:
    """What the rows are over, where that is not all that the run has; or that they are over unlike jobs."""
    pairs, jobs = pairs_of_all(frames), frames.jobs
    rows = table.drop_duplicates("method")
    more = [f"{m} has {n} more" for m, n in zip(rows["method"], rows["n_left_out"], strict=True) if n]
    if more:
        prompts, seeds = (len({pair[k] for pair in pairs}) for k in (0, 1))
        what = _number(prompts, "prompt") if seeds == 1 else f"{_number(len(pairs), 'pair')} of prompt and seed"
        return f"Over the {what} that all methods have; {', '.join(more)}."
    ended = jobs[_ended(jobs)]
    had = {m: set(zip(g["prompt_id"], g["seed"], strict=True)) for m, g in ended.groupby("method")}
    if all(mine == pairs for mine in had.values()):
        return ""
    counts = ", ".join(f"{m} {len(had[m])}" for m in rows["method"] if m in had)
    none = "" if pairs else "Methods have no prompt and seed in common. "
    return f"{none}Rows are over unlike jobs, and not to be compared: {counts}."


def _numberless(table: pd.DataFrame) -> str:
    """Columns of which some prompts of a row have no value, as of Janus where the object has no front."""
    rows = table[(table["block"] == "survivors") & (table["n_prompts"] > 0)]
    said, fronts = [], False
    for column in measured():
        if (key := f"{column.key}_prompts") in table:
            fewer = rows[rows[key] < rows["n_prompts"]]
            over = sorted({(int(k), int(n)) for k, n in zip(fewer[key], fewer["n_prompts"], strict=True)})
            said += [f"{column.title} over {' or '.join(f'{k} of {n}' for k, n in over)}"] if over else []
            fronts |= bool(over) and "front" in column.regards
    why = f"the others have no value{' (an object without a front has no back)' if fronts else ''}"
    return f"Some means are over fewer prompts, as {why}: {', '.join(said)}." if said else ""


def mixed(jobs: pd.DataFrame) -> list[str]:
    """In what jobs that stand in one table differ besides their methods."""
    said = []
    for name, what in (("commit", "commits"), ("device", "devices"), ("prior", "priors")):
        found = jobs[name].dropna().astype(str).value_counts()
        if len(found) > 1:
            named = ", ".join(f"{value[:SHORT]} ({_number(n, 'job')})" for value, n in found.items())
            said.append(f"Jobs are of several {what}: {named}.")
    if (n := jobs["orbit"].nunique()) > 1:
        said.append(f"Jobs are seen from {n} orbits: render the run from one of them, and score it again.")
    for method, group in jobs.groupby("method"):
        if (n := group["settings"].nunique()) > 1:
            said.append(f"Jobs of {method} are of {n} settings.")
    for name, sums in judges_of(jobs).items():
        if sums.nunique() > 1:
            said.append(f"Jobs were scored by several models as {name.replace('_', ' ')}: score the run again.")
    return said


def _memory(jobs: pd.DataFrame) -> str:
    """Why a job's memory is not in the table."""
    reasons = {
        "on a CPU its peak is a process's, which does other jobs too": (jobs["memory"] == PROCESS).any(),
        "jobs side by side share one peak": ((jobs["memory"] != PROCESS) & (jobs["together"] > 1)).any(),
    }
    said = [reason for reason, here in reasons.items() if here]
    return f"Memory is left out where it is not a job's own: {'; '.join(said)}." if said else ""


def _number(n: int, what: str) -> str:
    return f"{n} {what}" + ("" if n == 1 else "s")


def setting(frames: Frames) -> str:
    """Track, sizes, prior, judges and machine, in one line, as far as the folders say."""
    jobs, judges = frames.jobs, judges_of(frames.jobs)
    if "encoder_iqa" in judges and judges["encoder_iqa"].equals(judges.get("encoder")):
        del judges["encoder_iqa"]
    facts = {
        "track": jobs["track"],
        "resolution": jobs["resolution"].astype("Int64"),
        "views": jobs["views"].astype("Int64"),
        "scene": jobs["scene"],
        "prior": jobs["prior"].map(lambda s: s[:12], na_action="ignore"),
        **{name.replace("_", " "): sums.map(lambda s: s[:12], na_action="ignore") for name, sums in judges.items()},
        "device": jobs["device"],
    }
    said = {name: sorted(values.dropna().astype(str).unique()) for name, values in facts.items()}
    return "; ".join(f"{name} {', '.join(values)}" for name, values in said.items() if values)
