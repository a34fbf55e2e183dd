"""Was it reproduced, and did it regress? Of the reference's prompts and seeds, view by view, and by what jobs logged.

Alphabet, for one method and metric: d the change, mean over jobs of (run - reference), paired by prompt, seed and view
where the run has seeds of the reference; else of each prompt's mean over seeds. s the spread between seeds of a job's
mean, as the reference measured it with f degrees of freedom; P prompts, S seeds of the run, R of the reference; k of
the P S jobs whose scenes are not the reference's, bit by bit;

    e = s sqrt(2 k) / (P S)          paired: what other random numbers would change, at most
        s sqrt((1/S + 1/R) / P)      of other seeds
    c = max(least, drift, t(f; 1 - level / (w M)) e)    M changes are looked at; w = 2 where either way fails, else 1

A rule as good as the reference's, with whatever random numbers, is called worse with at most `level`, over all M; one
that is worse by `margin` = c + t e is passed with at most level / M: non-inferiority at that margin. Jobs equal in
their bits have d = 0. What is equal within `drift` is as good as reproduced.

Random numbers, and the rounding that training multiplies, reach a score by way of the scene alone. Where k = 0 there is
neither in a change, so that c = least: views were made or scored otherwise, which is no news of a rule, so that what
would be better is moved.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.special import stdtrit

from errors import UserError
from eval.divergence import DIVERGED
from eval.views import checksum, has_pictures
from files import sha256
from reports import KEYS, Frames, load
from reports.columns import DIVERGED as SHARE
from reports.columns import column
from reports.gate import course
from reports.gate.reference import (
    LEVEL,
    NFE,
    SAID_APART,
    WORDS,
    Reference,
    name_of,
    outcomes,
    protocol_of,
    read,
    recipe_of,
    version,
)
from say import shortened

ROUNDED = 1e-4  # of a score: views in the reference have five digits
BAD = ("worse", "moved")
PAIR = ["prompt_id", "seed"]


@dataclass
class Verdicts:
    """`rows`: method, metric, reference, mean, change, limit, margin, verdict (ok, better, worse, moved). `differing`:
    jobs that are not equal in their bits, the first one first, and in words how. `drifted`: those of them whose scores
    left the platform's tolerance. `notes`: what a reader must know besides. `worst`: for each row that fails, the
    prompts that fell most, by how much, and their pictures."""

    reference: Reference
    run: Path
    rows: pd.DataFrame
    paired: bool
    seeds: list[str]
    differing: list[str] = field(default_factory=list)
    drifted: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    worst: dict[tuple[str, str], list[tuple[str, float, Path]]] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return not self.rows["verdict"].isin(BAD).any()

    @property
    def reproduced(self) -> bool:
        return self.paired and not self.drifted


def check(run: Path, baseline: Path) -> Verdicts:
    """Judge a run. What it has besides (methods, prompts, seeds, metrics) is not looked at.

    Raises UserError where it cannot be judged, with the reason: a reference that is not whole, another protocol,
    jobs or metrics that are missing."""
    reference = read(baseline)
    frames, seeds = chosen(load(run), reference)
    paired = set(seeds) <= set(reference.seeds)
    _same_protocol(reference, frames)
    logged = course.courses(run, frames.jobs)
    _nothing_missing(reference, frames, logged, seeds)
    looked = [(m, k) for m, cells in reference.methods.items() for k in cells]
    others = _other_scenes(reference, frames, run) if paired else {}
    before = reference.views
    if paired:
        before = before[before["seed"].isin(seeds)]
    here = frames.wide[frames.wide["status"] == "ok"]
    gaps = {
        (m, k): _log_gap(reference, logged, m, k, paired) if course.is_course(k) else _gap(here, before, m, k, paired)
        for m, k in looked
        if k not in (SHARE.key, NFE)
    }
    aways = {(m, k): _chance(reference, m, k, others.get(m), len(seeds), len(looked)) for m, k in looked}
    rows = [_row(reference, frames, m, k, gaps.get((m, k)), aways[m, k], others.get(m) == 0) for m, k in looked]
    rows += _settings(reference, frames, run)
    columns = ["method", "metric", "reference", "mean", "change", "limit", "margin", "verdict", "what"]
    found = Verdicts(reference, run, pd.DataFrame(rows, columns=columns), paired, seeds)
    if paired:
        _reproduced(found, frames, gaps)
    else:
        found.notes.append(f"Of other seeds than the reference's ({', '.join(seeds[:4])}): nothing can be reproduced.")
    if any(cell["spread"] is None for cells in reference.methods.values() for cell in cells.values()):
        found.notes.append("The reference has one seed: it does not know what chance does; limits are the least changes"
                           " that matter.")  # fmt: skip
    for _, row in found.rows[found.rows["verdict"].isin(BAD)].iterrows():
        key = (row["method"], row["metric"])
        if key in gaps:
            found.worst[key] = _worst(found, gaps[key], row, seeds)
    if same := [m for m in dict.fromkeys(m for m, _ in found.worst) if others.get(m) == 0]:
        found.notes.append(
            f"Every scene of {' and '.join(same)} is the reference's, bit by bit: what changed is how views are "
            "made or scored."
        )
    return found


def chosen(frames: Frames, reference: Reference) -> tuple[Frames, list[str]]:
    """The frames over the reference's methods and prompts, and over the seeds that both have; over all the run's seeds
    where they share none."""
    prompts = reference.protocol["prompts"]
    kept = Frames(*(f[f["method"].isin(reference.methods) & f["prompt_id"].isin(prompts)] for f in frames))
    if not len(kept.jobs):
        raise UserError("The run cannot be compared with the reference: it has none of its methods and prompts.")
    own = sorted(kept.jobs["seed"].unique())
    seeds = [s for s in own if s in reference.seeds] or own
    return Frames(*(f[f["seed"].isin(seeds)] for f in kept)), seeds


def _same_protocol(reference: Reference, frames: Frames) -> None:
    wanted = reference.protocol
    methods = [m for m in wanted["steps"] if (frames.jobs["method"] == m).any()]
    ours = protocol_of(frames, methods)
    said = {"prior": "the prior's checksum", "views": "the number of views"}
    judges = [name for name in wanted if name not in (*said, *SAID_APART)]
    said |= {name: f"the {WORDS.get(name, name)}'s checksum" for name in judges}
    said |= {"candidates": "the prompts that R-Precision ranks", "orbit": "the orbit"}
    pairs = [(text, wanted.get(key), ours.get(key)) for key, text in said.items()]
    pairs += [(f"the steps of {m}", wanted["steps"].get(m), ours["steps"][m]) for m in methods]
    for text, theirs, mine in pairs:
        if theirs != mine:
            raise UserError(
                f"The run cannot be compared with the reference: {text} is {mine}, the reference's {theirs}."
            )


def _nothing_missing(reference: Reference, frames: Frames, logged: pd.DataFrame, seeds: list[str]) -> None:
    have = outcomes(frames)
    gone = [f"{m} {p[:2]}/{s}" for m in reference.methods for p in reference.protocol["prompts"] for s in seeds
            if (m, p, s) not in have]  # fmt: skip
    if gone:
        raise UserError(
            f"The run cannot be judged: it lacks {shortened(gone)}; run the same command again, or score it."
        )
    for method, cells in reference.methods.items():
        mine = frames.wide[(frames.wide["method"] == method) & (frames.wide["status"] == "ok")]
        _no_log_missing(method, filter(course.is_course, cells), course.of(logged, method))
        for metric, cell in cells.items():
            measured = (
                metric in (SHARE.key, NFE)
                or course.is_course(metric)
                or (metric in mine and mine[metric].notna().any())
            )
            if not measured and len(mine):
                raise UserError(f"The run cannot be judged: {metric} of {method} is missing; score it again.")
            if cell["version"] != version(metric):
                raise UserError(f"The run cannot be judged: {metric} is of version {version(metric)}, the reference's "
                                f"of {cell['version']}; renew the reference with --update.")  # fmt: skip


def _no_log_missing(method: str, wanted: Iterable[str], logs: pd.DataFrame) -> None:
    for name in wanted:
        if len(logs) and (name not in logs or logs[name].isna().any()):
            raise UserError(
                f"The run cannot be judged: a job of {method} lacks the {name}, which the reference has; "
                "restore its log.jsonl, or renew the reference with --update where the rule logs it no more."
            )


def _gap(here: pd.DataFrame, before: pd.DataFrame, method: str, metric: str, paired: bool) -> pd.DataFrame:
    """A row a job (paired), or a prompt: `own`, `was`, `change`, and the largest change of a view. Only views that both
    have a number for; of jobs that left an object in both."""
    if metric not in before:
        raise UserError(f"The reference lacks the views' scores of {metric}: renew it with --update.")
    one, two = (f[f["method"] == method].set_index([*PAIR, "view"])[metric] for f in (here, before))
    if not paired:
        by = [f.dropna().groupby(level="prompt_id").mean() for f in (one, two)]
        gap = pd.concat(by, axis=1, keys=["own", "was"]).dropna()
        return gap.assign(change=gap["own"] - gap["was"], view=float("nan"))
    views = pd.concat([one, two], axis=1, keys=["own", "was"], join="inner").dropna()
    views["change"] = views["own"] - views["was"]
    gap = views.groupby(level=PAIR).mean()
    return gap.assign(view=views["change"].abs().groupby(level=PAIR).max())


def _log_gap(reference: Reference, logged: pd.DataFrame, method: str, metric: str, paired: bool) -> pd.DataFrame:
    """The same of what jobs logged."""
    was = {tuple(name.split("/")[1:]): job.get("log", {}).get(metric) for name, job in reference.jobs.items()
           if name.startswith(f"{method}/") and job["status"] == "ok"}  # fmt: skip
    if None in was.values():
        raise UserError(f"The reference lacks its jobs' {metric}: renew it with --update.")
    two = pd.Series(was, dtype=float).rename_axis(PAIR)
    here = course.of(logged, method)
    one = here[metric].droplevel("method") if metric in here else two[:0]
    if not paired:
        one, two = (f.groupby(level="prompt_id").mean() for f in (one, two))
    gap = pd.concat([one, two], axis=1, keys=["own", "was"], join="inner")
    return gap.assign(change=gap["own"] - gap["was"], view=float("nan"))


def _other_scenes(reference: Reference, frames: Frames, run: Path) -> dict[str, int]:
    """Of each method, how many jobs left another scene than the reference's, or one that nothing is known of."""
    found = dict.fromkeys(reference.methods, 0)
    for _, job in frames.jobs.iterrows():
        was = reference.jobs.get(name_of(job), {}).get("scene")
        found[job["method"]] += was is None or was != _scene(run / name_of(job))
    return found


def _scene(folder: Path) -> str | None:
    scene = folder / "scene.safetensors"
    return sha256(scene)[:16] if scene.exists() else None


def _row(
    reference: Reference, frames: Frames, method: str, metric: str, gap: pd.DataFrame | None, away: float, sure: bool
) -> dict[str, Any]:
    """`away`: how far chance alone takes a change; `sure`: there is none in it, nor another rounding."""
    cell = reference.methods[method][metric]
    if gap is None:
        was, own = cell["mean"], _of_jobs(frames, method, metric)
    else:
        was, own = float(gap["was"].mean()), float(gap["own"].mean())
    row = {"method": method, "metric": metric, "reference": was, "mean": own, "change": own - was}
    if math.isnan(own):  # no job left an object: the share that diverged says so
        return row | {"limit": math.nan, "margin": math.nan, "verdict": "ok", "what": "no job left an object"}
    limit = max(cell["least"], 0.0 if sure else cell["drift"], away)
    said = verdict(own, was, limit, cell["better"])
    said = "moved" if sure and said == "better" else said
    return row | {"limit": limit, "margin": limit + away, "verdict": said, "what": ""}


def _chance(reference: Reference, method: str, metric: str, others: int | None, seeds: int, looked: int) -> float:
    """t e: how far chance alone takes a change, but for level / M. `others`: k; None where seeds are others."""
    cell, prompts = reference.methods[method][metric], len(reference.protocol["prompts"])
    if not cell["spread"] or not cell["freedom"]:
        return 0.0
    paired = None if others is None else math.sqrt(2 * others) / (prompts * seeds)
    apart = math.sqrt((1 / seeds + 1 / len(reference.seeds)) / prompts)
    ways = 1 if cell["better"] in ("up", "down") else 2
    away: float = stdtrit(cell["freedom"], 1 - LEVEL / (ways * looked)) * cell["spread"]
    return float(away * (apart if paired is None else paired))


def verdict(own: float, was: float, limit: float, better: str | None) -> str:
    """ok within the limit; better or worse where there is a direction; else moved."""
    if abs(own - was) <= limit + ROUNDED * max(abs(was), 1e-6):
        return "ok"
    if better is None:
        return "moved"
    up = {"up": own > was, "down": own < was, "one": abs(own - 1) < abs(was - 1)}[better]
    return "better" if up else "worse"


def _of_jobs(frames: Frames, method: str, metric: str) -> float:
    jobs = frames.jobs[frames.jobs["method"] == method]
    if metric == SHARE.key:
        return 100.0 * float(jobs["status"].isin(DIVERGED).mean())
    return float(jobs.loc[jobs["status"] == "ok", NFE].mean())


def _settings(reference: Reference, frames: Frames, run: Path) -> list[dict[str, Any]]:
    """A row for each method whose settings are not the reference's: what it computes is another thing."""
    rows = []
    for method in reference.methods:
        own, was = recipe_of(run, frames, method), reference.recipes.get(method, {})
        changed = sorted(_changed(was, json.loads(json.dumps(own))))
        if changed:
            rows.append({"method": method, "metric": "settings", "verdict": "moved", "what": shortened(changed, 3)})
    return rows


def _changed(was: Any, own: Any, name: str = "") -> list[str]:
    if isinstance(was, dict) and isinstance(own, dict):
        keys = dict.fromkeys([*was, *own])
        return [c for k in keys for c in _changed(was.get(k), own.get(k), f"{name}.{k}".lstrip("."))]
    return [] if was == own else [f"{name} {json.dumps(was)} -> {json.dumps(own)}"]


def _reproduced(found: Verdicts, frames: Frames, gaps: dict[tuple[str, str], pd.DataFrame]) -> None:
    """Which jobs differ in their bits, and which of those in their scores beyond the platform's drift."""
    for _, job in frames.jobs.sort_values(KEYS).iterrows():
        name, folder = name_of(job), found.run / name_of(job)
        was = found.reference.jobs.get(name)
        if was is None:
            continue
        if was["status"] != job["status"]:
            found.differing.append(name)
            found.drifted[name] = f"it ended as {job['status']}, in the reference as {was['status']}"
            continue
        pictures = checksum(folder) if has_pictures(folder) else None
        same = _scene(folder) == was["scene"] and pictures == was["pictures"]
        furthest = _furthest(found.reference, gaps, job)
        if not same:
            found.differing.append(name)
        if furthest:
            found.drifted[name] = furthest


def _furthest(reference: Reference, gaps: dict[tuple[str, str], pd.DataFrame], job: pd.Series) -> str:
    """The metric in which a job is furthest from the reference, in units of its spread; "" within the drift."""
    said, most = "", 0.0
    for (method, metric), gap in gaps.items():
        key = (job["prompt_id"], job["seed"])
        if method != job["method"] or key not in gap.index:
            continue
        cell = reference.methods[method][metric]
        view, change = float(gap.loc[key, "view"]), float(gap.loc[key, "change"])
        rounded = ROUNDED * max(abs(float(gap.loc[key, "was"])), abs(cell["mean"]))
        # a view may drift further than a job's mean
        moved = abs(change) > cell["drift"] + rounded or (not cell["drift"] and view > 10 * rounded)
        size = abs(change) / (cell["spread"] or cell["least"] or 1.0)
        if moved and size >= most:
            title, form = shown(metric)
            said, most = f"{title} {change:+{form}}", size
    return said


def shown(metric: str) -> tuple[str, str]:
    """A row's title, and the format of its numbers."""
    try:
        return column(metric).title, f".{max(column(metric).decimals, 2)}f"
    except KeyError:  # of a log, where numbers are of all sizes
        return metric, ".3g"


def _worst(found: Verdicts, gap: pd.DataFrame, row: pd.Series, seeds: list[str]) -> list[tuple[str, float, Path]]:
    """The two prompts whose scores went furthest the way that the mean went, each with its pictures."""
    sign = 1 if row["change"] > 0 else -1
    ordered = gap.assign(size=sign * gap["change"]).sort_values("size", ascending=False)
    worst = []
    for key, line in ordered.head(2).iterrows():
        prompt, seed = key if isinstance(key, tuple) else (key, seeds[0])
        folder = found.run / row["method"] / str(prompt) / str(seed)
        sheet = folder / "contact.png"
        worst.append((f"{prompt}/{seed}", float(line["change"]), sheet if sheet.exists() else folder / "views"))
    return worst
