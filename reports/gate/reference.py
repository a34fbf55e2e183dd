"""What a run is held against: REF.json, and beside it REF.csv.xz with the scores of every view.

protocol     what must be equal for scores to be comparable: steps, prior, judges, candidates, orbit, prompts, seeds
provenance   of which commit, machine and versions, and when
recipes      each method's settings, so that a change of them can be named
jobs         of "METHOD/PROMPT/SEED": status, NFE, checksums of scene and pictures, and means of what it logged
methods      of each method and metric, and of each such mean of its logs: mean, stderr; spread, the standard
             deviation between seeds of a job's mean, with its degrees of freedom; least, the least change that matters;
             drift, how far the platform's rounding takes a job's mean; better; version
views        the file of views, and its SHA-256
"""

from __future__ import annotations

import json
import lzma
import math
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from errors import UserError
from eval.divergence import DIVERGED
from eval.views import checksum, has_pictures, job_json
from files import read_text, replaced, sha256, write_json
from reports import KEYS, Frames, judges_of, load
from reports.columns import DIVERGED as SHARE
from reports.columns import Column, column, measured
from reports.gate import course
from reports.uncertainty.statistics import summarise
from say import shortened

FORMAT = 2
PARTS = ("format", "protocol", "provenance", "recipes", "jobs", "methods", "views")
CELL = ("mean", "stderr", "spread", "freedom", "least", "drift", "better", "version")
DIGITS = 5  # of a view's score
LEVEL = 0.01  # of a wrong alarm, over all that is looked at
MATTERS = 0.25  # of a column's margin: the least change that does, where chance does less
NFE = "nfe"  # counted, not measured: it may not move at all
# of a protocol: all others but its prior and views are judges
SAID_APART = ("steps", "prompts", "seeds", "candidates", "orbit")
WORDS = {"encoder_iqa": "encoder of CLIP-IQA", "encoder_2": "second encoder"}  # of judges, where the name is no word
Cell = dict[str, Any]


@dataclass(frozen=True)
class Reference:
    """A reference that was found whole. `views`: method, prompt_id, seed, view, and a column a metric."""

    path: Path
    protocol: dict[str, Any]
    recipes: dict[str, dict[str, Any]]
    jobs: dict[str, dict[str, Any]]
    methods: dict[str, dict[str, Cell]]
    views: pd.DataFrame

    @property
    def seeds(self) -> list[str]:
        return self.protocol["seeds"]


def gated() -> list[Column]:
    """The columns that the gate looks at: whatever has a direction, or a change that matters."""
    return [c for c in measured("paper", "more", "hidden") if c.better or c.margin]


def save(run: Path, path: Path, drift: Path | None = None) -> Reference:
    """Write a run as the reference at `path`, with the scores of its views beside it. The least changes that matter
    stay those of a reference that stood there; else they are the columns' own. `drift`: the same jobs done with
    other rounding (another machine, another number of threads), which says how far scores move by that alone.

    Raises UserError for a run that cannot be one: jobs that failed or have no scores, methods of unlike prompts,
    seeds, priors or judges; and where it cannot be written."""
    if not path.parent.is_dir():
        raise UserError(f"The reference {path} cannot be written: make the folder {path.parent} first.")
    frames = load(run)
    kept = least(path)
    protocol = protocol_of(frames)
    whole(frames, protocol)
    logged = course.courses(run, frames.jobs)
    _refuse_lost_logs(logged)
    moved = drifts(_means(frames, logged), _drifted(drift)) if drift else {}
    methods = {}
    for method in protocol["steps"]:
        found = cells(frames, method) | log_cells(logged, method)
        for metric, cell in found.items():
            cell |= {
                "least": kept.get((method, metric), _least(metric, cell)),
                "drift": moved.get((method, metric), 0.0),
            }
            cell |= {"better": _better(metric), "version": version(metric)}
        methods[method] = found
    table = frames.wide[[*KEYS, "view", *(c.key for c in gated() if c.key in frames.wide)]]
    beside = path.with_suffix(".csv.xz")
    text = table.sort_values([*KEYS, "view"]).to_csv(index=False, float_format=f"%.{DIGITS}g", lineterminator="\n")
    replaced(beside, lambda aside: aside.write_bytes(lzma.compress(text.encode(), preset=9)))
    content = {
        "format": FORMAT,
        "protocol": protocol,
        "provenance": provenance(run, frames),
        "recipes": {m: recipe_of(run, frames, m) for m in methods},
        "jobs": {name_of(row): job_of(run, row, logged) for _, row in frames.jobs.sort_values(KEYS).iterrows()},
        "methods": methods,
        "views": {"file": beside.name, "sha256": sha256(beside)},
    }
    write_json(path, content)
    return read(path)


def whole(frames: Frames, protocol: dict[str, Any]) -> None:
    """Raises UserError where a job of the protocol's prompts and seeds is not there with its scores."""
    gone = [f"{m} {p[:2]}/{s}" for m in protocol["steps"] for p in protocol["prompts"] for s in protocol["seeds"]
            if (m, p, s) not in outcomes(frames)]  # fmt: skip
    if gone:
        raise UserError(f"The run cannot be a reference: it lacks {shortened(gone)}; finish it, or score it again.")


def _refuse_lost_logs(logged: pd.DataFrame) -> None:
    """Raise UserError where a job has no log and others of its method have: nothing of them would be looked at."""
    empty = logged.isna().all(axis=1)
    for _, lost in empty.groupby(level="method"):
        if lost.any() and not lost.all():
            names = [f"{m} {p[:2]}/{s}" for m, p, s in lost.index[lost]]
            raise UserError(f"The run cannot be a reference: the logs of {shortened(names)} are lost; restore each "
                            f"log.jsonl, or delete these jobs and make them again.")  # fmt: skip


def outcomes(frames: Frames) -> set[tuple[str, str, str]]:
    """(method, prompt_id, seed) of jobs that came to an outcome: scored, or diverged."""
    jobs = frames.jobs
    ended = jobs[((jobs["status"] == "ok") & jobs["scored"]) | jobs["status"].isin(DIVERGED)]
    return set(zip(ended["method"], ended["prompt_id"], ended["seed"], strict=True))


def cells(frames: Frames, method: str) -> dict[str, Cell]:
    """Mean, clustered stderr and spread between seeds of each metric over survivors, of the share that diverged, and
    the NFE."""
    jobs = frames.jobs[frames.jobs["method"] == method]
    survived = frames.wide[(frames.wide["method"] == method) & (frames.wide["status"] == "ok")]
    found = {
        c.key: _cell(survived[c.key], survived, of_views=True)
        for c in gated()
        if c.key in survived and survived[c.key].notna().any()
    }
    found[SHARE.key] = _cell(100.0 * jobs["status"].isin(DIVERGED).astype(float), jobs)
    nfe = jobs.loc[jobs["status"] == "ok", NFE].dropna()
    if len(nfe):
        found[NFE] = {"mean": float(nfe.mean()), "stderr": 0.0, "spread": 0.0, "freedom": len(nfe) - 1}
    return found


def log_cells(logged: pd.DataFrame, method: str) -> dict[str, Cell]:
    """The same of what all jobs of a method logged."""
    jobs = course.of(logged, method).dropna(axis=1)
    return {key: _cell(jobs[key], jobs.index.to_frame()) for key in jobs} if len(jobs) else {}


def _least(metric: str, cell: Cell) -> float:
    """The least change that matters, where no reference has said it yet."""
    if metric == NFE:
        return 0.0
    return course.MATTERS * abs(cell["mean"]) if course.is_course(metric) else MATTERS * column(metric).margin


def _better(metric: str) -> str | None:
    return None if course.is_course(metric) else column(metric).better


def _means(frames: Frames, logged: pd.DataFrame) -> pd.DataFrame:
    """Of each job and metric, and of what it logged."""
    keys = [c.key for c in gated() if c.key in frames.wide]
    return frames.wide.groupby(KEYS)[keys].mean().join(logged)


def _drifted(run: Path) -> pd.DataFrame:
    """The same of a run of other rounding."""
    frames = load(run)
    return _means(frames, course.courses(run, frames.jobs))


def _cell(values: pd.Series, of: pd.DataFrame, of_views: bool = False) -> Cell:
    """Where a view is right or wrong, 100 or 0, a job more is counted at each prompt, of which half the views
    are wrong, as by Laplace's rule of succession: where no seed has failed yet, nobody knows how often one will."""
    s = summarise(values.to_numpy(float), of["prompt_id"].to_numpy())
    means = values.groupby([of["prompt_id"], of["seed"]]).mean().dropna()
    if of_views and values.dropna().isin([0.0, 100.0]).all() and means.groupby(level=0).count().max() > 1:
        one_more = pd.MultiIndex.from_product([means.index.unique(0), ["one more"]])
        means = pd.concat([means, pd.Series(50.0, one_more)])
    return {"mean": s.mean, "stderr": _or_none(s.stderr), **_chance(means.groupby(level=0))}


def _chance(by_prompt: Any) -> dict[str, float | None]:
    """Root mean square of the prompts' standard deviations between seeds, and its degrees of freedom by Satterthwaite:
    where one prompt varies more than the others, few more than its own."""
    freedom = by_prompt.count() - 1
    variance = by_prompt.var()[freedom > 0]
    freedom = freedom[freedom > 0]
    if not len(freedom):
        return {"spread": None, "freedom": 0}
    if not variance.any():
        return {"spread": 0.0, "freedom": float(freedom.sum())}
    return {
        "spread": math.sqrt(float(variance.mean())),
        "freedom": float(variance.sum() ** 2 / (variance**2 / freedom).sum()),
    }


def drifts(one: pd.DataFrame, two: pd.DataFrame) -> dict[tuple[str, str], float]:
    """By method and metric, of the means of two runs' jobs: how far another rounding takes one, wrong in LEVEL of such
    runs. Of the f jobs of a method that both have, t(f; 1 - LEVEL / 2 M) times the root mean square of what their means
    differ by, M all those means: the furthest of so few jobs is soon surpassed by another run's."""
    keys = [key for key in one if key in two]
    gap = (one[keys] - two[keys]).dropna(how="all")
    if not len(gap):
        raise UserError("The run of other rounding has no job of the reference's: do the same jobs there.")
    jobs, size = gap.groupby(level="method").count(), gap.pow(2).groupby(level="method").mean().pow(0.5)
    level = 1 - LEVEL / (2 * int(gap.count().sum()))
    return {(str(m), k): float(stdtrit(jobs.loc[m, k], level) * size.loc[m, k])
            for m in size.index for k in keys if jobs.loc[m, k]}  # fmt: skip


def least(path: Path) -> dict[tuple[str, str], float]:
    """The least changes that matter of a reference, by method and metric, whatever else is wrong with it; {} where
    there is none."""
    try:
        methods = json.loads(read_text(path))["methods"].items()
        return {(m, k): float(cell["least"]) for m, found in methods for k, cell in found.items() if "least" in cell}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def protocol_of(frames: Frames, methods: list[str] | None = None) -> dict[str, Any]:
    """What must be equal. Raises UserError where a run disagrees with itself."""
    jobs = frames.jobs if methods is None else frames.jobs[frames.jobs["method"].isin(methods)]
    if not jobs["scored"].any():
        raise UserError("The run has no scores: score it first.")
    steps = {m: _one(group["steps"], f"steps of {m}") for m, group in jobs.groupby("method")}
    return {
        "steps": {str(m): None if s is None else int(s) for m, s in steps.items()},
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


def provenance(run: Path, frames: Frames) -> dict[str, Any]:
    """Of which commits, devices and versions the jobs are, and when they were written down."""
    configs = [job_json(run / name_of(row) / "config.json") for _, row in frames.jobs.iterrows()]
    versions = sorted({f"{k} {v}" for c in configs for k, v in c.get("versions", {}).items()})
    return {
        "made": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "commits": sorted(map(str, frames.jobs["commit"].dropna().unique())),
        "devices": sorted(map(str, frames.jobs["device"].dropna().unique())),
        "python": sorted({c["python"] for c in configs if "python" in c}),
        "versions": versions,
    }


def recipe_of(run: Path, frames: Frames, method: str) -> dict[str, Any]:
    """The settings of a method's jobs, without the orbit, which is in the protocol. Raises UserError for jobs of
    several."""
    jobs = frames.jobs[frames.jobs["method"] == method]
    _one(jobs["settings"], f"settings of {method}")
    recipe = job_json(run / name_of(jobs.iloc[0]) / "config.json").get("recipe", {})
    return {key: value for key, value in recipe.items() if key != "orbit"}


def name_of(job: pd.Series) -> str:
    return f"{job['method']}/{job['prompt_id']}/{job['seed']}"


def job_of(run: Path, row: pd.Series, logged: pd.DataFrame) -> dict[str, Any]:
    folder, key = run / name_of(row), tuple(row[KEYS])
    scene = folder / "scene.safetensors"
    means = logged.loc[key].dropna() if key in logged.index else {}
    return {
        "status": row["status"],
        "nfe": _or_none(row[NFE]),
        "scene": sha256(scene)[:16] if scene.exists() else None,
        "pictures": checksum(folder) if has_pictures(folder) else None,
        "log": {name: float(f"{mean:.6g}") for name, mean in means.items()},
    }


def version(metric: str) -> int:
    """Of a metric as it is declared now; 1 for what is of a job, and for what is declared no more."""
    return next((m.version for m in measured("paper", "more", "hidden") if m.key == metric), 1)


def read(path: Path) -> Reference:
    """A reference, checked whole: every part there, every number finite, its views those it was made with. Raises
    UserError for the first thing that is not so, with its name."""
    content = _content(path)
    lacks = [part for part in PARTS if part not in content]
    if lacks:
        raise UserError(f"The reference {path} lacks {', '.join(lacks)}: {_renew(path)}.")
    if content["format"] != FORMAT:
        raise UserError(f"The reference {path} is of format {content['format']}, not {FORMAT}: {_renew(path)}.")
    kinds = {"protocol": dict, "recipes": dict, "jobs": dict, "methods": dict, "views": dict}
    for part, kind in kinds.items():
        if not isinstance(content[part], kind) or not content[part]:
            raise UserError(f"The reference {path} has no {part}, so that nothing would be compared: {_renew(path)}.")
    _check_protocol(path, content["protocol"], content["methods"])
    for method, found in content["methods"].items():
        _check_cells(path, method, found)
    views = _views(path, content["views"])
    parts = {part: content[part] for part in ("protocol", "recipes", "jobs", "methods")}
    return Reference(path, **parts, views=views)


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_text(path))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"There is no reference {path}: name a JSON file of results/reference.") from error
    except (OSError, ValueError) as error:
        raise UserError(f"The reference {path} cannot be read: restore it from version control.") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is no reference: it is no JSON object with {', '.join(PARTS)}.")
    return content


def _check_protocol(path: Path, protocol: dict[str, Any], methods: dict[str, Any]) -> None:
    for field in ("steps", "prior", "candidates", "views", "prompts", "seeds"):
        if field not in protocol or (field in ("prompts", "seeds", "steps") and not protocol[field]):
            raise UserError(f"The reference {path} lacks the protocol's {field}: {_renew(path)}.")
    if missing := [m for m in methods if m not in protocol["steps"]]:
        raise UserError(f"The reference {path} lacks the steps of {', '.join(missing)}: {_renew(path)}.")


def _check_cells(path: Path, method: str, found: Any) -> None:
    if not isinstance(found, dict) or not found:
        raise UserError(f"The reference {path} has no means of {method}: {_renew(path)}.")
    for metric, cell in found.items():
        where = f"{metric} of {method} in the reference {path}"
        if not isinstance(cell, dict) or (lacks := [name for name in CELL if name not in cell]):
            gone = ", ".join(lacks) if isinstance(cell, dict) else "its fields"
            raise UserError(f"The {where} lacks {gone}: {_renew(path)}.")
        for name in ("mean", "spread", "least", "drift", "stderr"):
            value, may_lack = cell[name], name in ("spread", "stderr")
            number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if not number and not (value is None and may_lack):
                raise UserError(f"The {name} of {where} is {value}, no finite number: {_renew(path)}.")
            if name != "mean" and value is not None and value < 0:
                raise UserError(f"The {name} of {where} is {value}, below 0: {_renew(path)}.")


def _views(path: Path, said: dict[str, Any]) -> pd.DataFrame:
    beside = path.parent / Path(str(said.get("file", ""))).name
    if not beside.is_file():
        raise UserError(f"The views' scores {beside} of the reference {path} are missing: restore both files.")
    if sha256(beside) != said.get("sha256"):
        raise UserError(f"The views' scores {beside} are not those that {path} was made with: restore both files.")
    return pd.read_csv(beside, dtype={"method": str, "prompt_id": str, "seed": str})


def _renew(path: Path) -> str:
    return f"restore it, or renew it with check RUN --baseline {path} --update"


def _or_none(value: Any) -> float | None:
    return None if value is None or (isinstance(value, float) and math.isnan(value)) else float(value)


def array(values: pd.Series) -> np.ndarray:
    return values.to_numpy(float)
