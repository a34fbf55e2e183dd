"""What a job's folder says, for `reports.load`: of a large run each folder is listed once and each file read once."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from errors import UserError
from eval import JUDGES, SCORES, STAMPS
from eval.divergence import classify
from eval.views import ORBIT, SUM, mend
from files import read_json
from prompts import paper43
from records import EMPTY, RECORD, NewerError, read_record
from reports.columns import cost

TEXTS = {prompt.id: prompt.text for prompt in paper43()}  # for folders made elsewhere
BEFORE = (*JUDGES.values(), "candidates", "truth")  # columns of a scores.csv from before scores.json said so


class Listing(NamedTuple):
    """The names in a job's folder, and those in the folder of its pictures: `views`, or, made elsewhere, the same."""

    names: frozenset[str]
    pictures: frozenset[str]


def listed(folder: Path) -> Listing:
    names = frozenset(os.listdir(folder))
    try:
        return Listing(names, frozenset(os.listdir(folder / "views")) if "views" in names else names)
    except NotADirectoryError:
        return Listing(names, names)


def about_scores(folder: Path, names: frozenset[str]) -> dict[str, str]:
    """With what a job was scored: the checksum of each judge, the numbers of the candidates; {} where nothing says."""
    if STAMPS in names:
        return read_json(folder / STAMPS, "delete it and score the run again").get("about", {})
    if SCORES not in names:
        return {}
    first = pd.read_csv(folder / SCORES, dtype=str, nrows=1)
    said = {name: first[name].iloc[0] for name in BEFORE[:-1] if name in first and len(first)}
    return {"encoder_iqa": said["encoder"]} | said if "encoder" in said else said


def row(folder: Path, inside: Listing, seen: bool, opacity: Float[ndarray, " V"] | None, views: int | None) -> dict:
    """A row of `reports.Frames.jobs`, but for its judges; with `said`, the status as its record has it, and `wanted`,
    the views of its orbit. `seen`: whether it has pictures; `opacity` of the views, where it was scored; `views` that
    were scored, None where it was not."""
    try:
        record, config, orbit = _files(folder, inside, seen)
    except NewerError:
        raise  # what it says may mean something else
    except UserError as error:
        record, config, orbit = {"status": "damaged", "cause": str(error)}, {}, {}
    recipe, prior = config.get("recipe", {}), config.get("prior", {})
    status = classify(record, None)
    if status == "ok" and opacity is not None and _mean(opacity) < EMPTY:
        status = "empty"
    said = record.get("status", "finished")
    return {
        "said": "crashed" if status == "failed" and said == "damaged" else said,
        "wanted": orbit.get("views"),
        "method": folder.parent.parent.name,
        "prompt_id": folder.parent.name,
        "prompt": config.get("prompt") or TEXTS.get(folder.parent.name, folder.parent.name),
        "seed": folder.name,
        "status": status,
        "cause": record.get("cause"),
        "scored": views is not None,
        "steps": recipe.get("steps"),
        "views": views,
        "resolution": recipe.get("resolution"),
        "view_resolution": orbit.get("resolution"),
        "orbit": json.dumps(orbit, sort_keys=True) if orbit else None,
        "suite": recipe.get("suite"),
        "track": recipe.get("track"),
        "scene": recipe.get("scene", {}).get("kind"),
        "settings": _settings(recipe),
        "prior": prior.get("checksum"),
        "open": _open(config),
        "prior_name": prior.get("name"),
        "commit": config.get("commit"),
        "device": record.get("device"),
        "memory": record.get("memory"),
        "together": record.get("together", 1),
        **cost(record),
    }


def _files(folder: Path, inside: Listing, seen: bool) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The record, the settings, and from where the views are seen: as is said beside them, or in the settings."""
    how = mend(folder)
    record = read_record(folder / RECORD, how) if RECORD in inside.names else {}
    config = read_json(folder / "config.json", how) if "config.json" in inside.names else {}
    if seen and ORBIT in inside.pictures and "views" in inside.names:
        beside = read_json(folder / "views" / ORBIT, how)
        if orbit := {name: value for name, value in beside.items() if name != SUM}:
            return record, config, orbit
    return record, config, config.get("recipe", {}).get("orbit", {})


def _mean(values: Float[ndarray, " V"]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _open(config: dict[str, Any]) -> str:
    """Why a job's results are open; "" where they are not."""
    said = config.get("prior", {}).get("open")
    return f"the prior {said}" if said else config.get("open", "")


def _settings(recipe: dict[str, Any]) -> str | None:
    """A checksum of what a recipe computes: not of the views that are rendered of it at the end."""
    computed = {name: value for name, value in recipe.items() if name != "orbit"}
    return hashlib.sha256(json.dumps(computed, sort_keys=True).encode()).hexdigest()[:12] if computed else None
