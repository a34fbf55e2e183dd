"""From scored jobs to tables and figures: `load` reads a run into frames, the rest reads frames.

A run holds `<method>/<prompt-id>/<seed>/{config.json, record.json, scores.csv}`; folders made elsewhere have pictures
and scores.csv alone. Every number of a table can be recomputed from these files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from errors import UserError
from eval.cost import cost
from eval.divergence import EMPTY, classify
from eval.score import SCORES, read_json
from eval.views import jobs
from prompts import paper43
from reports.columns import MEASURES

TEXTS = {prompt.id: prompt.text for prompt in paper43()}  # for folders made elsewhere
KEYS = ["method", "prompt_id", "seed"]
JUDGES = ("encoder", "candidates", "encoder_iqa", "encoder_2", "reward")  # with what a view was scored: checksums,
# numbers of prompts


class Frames(NamedTuple):
    """A run in pandas.

    `long`: method, prompt_id, seed, status, view, azimuth, metric, value; a row a value.
    `wide`: method, prompt_id, seed, status, view, azimuth, JUDGES as far as known, and a column a metric; a row a view.
    `jobs`: method, prompt_id, prompt, seed, status, cause, scored, steps, views, resolution, view_resolution, suite,
    track, prior (its checksum), prior_name, device, memory and cost; a row a job.
    """

    long: pd.DataFrame
    wide: pd.DataFrame
    jobs: pd.DataFrame


def load(run: str | Path) -> Frames:
    """The frames of a run's jobs. Raises UserError for a run without jobs and for damaged files."""
    run = Path(run)
    views, rows = [], []
    for folder in jobs(run):
        scores = read_scores(folder / SCORES)
        row = _job(folder, scores)
        rows.append(row)
        if scores is not None:
            views.append(scores.assign(**{key: row[key] for key in (*KEYS, "status")}))
    wide = pd.concat(views, ignore_index=True) if views else pd.DataFrame(columns=[*KEYS, "status", "view", "azimuth"])
    metrics = [m.key for m in MEASURES if m.key in wide]
    facts = [*KEYS, "status", "view", "azimuth"]
    wide = wide[facts + [c for c in JUDGES if c in wide] + metrics]
    long = wide.melt(facts, metrics, var_name="metric").dropna(subset="value").reset_index(drop=True)
    return Frames(long, wide, pd.DataFrame(rows))


def read_scores(path: Path) -> pd.DataFrame | None:
    """A job's scores, a row a view; None where it has none yet. Raises UserError where the file is damaged."""
    if not path.exists():
        return None
    try:
        scores = pd.read_csv(path, dtype=dict.fromkeys(JUDGES, str))
    except (OSError, ValueError) as error:
        raise UserError(f"The scores in {path} cannot be read: delete the file and score the run again.") from error
    if not {"view", "azimuth", "clip_score"} <= set(scores):
        raise UserError(f"The scores in {path} lack columns: delete the file and score the run again.")
    return scores


def _job(folder: Path, scores: pd.DataFrame | None) -> dict[str, Any]:
    record, config = read_json(folder / "record.json"), read_json(folder / "config.json")
    recipe = config.get("recipe", {})
    status = classify(record, None)
    if status == "ok" and scores is not None and "opacity" in scores and scores["opacity"].mean() < EMPTY:
        status = "empty"
    return {
        "method": folder.parent.parent.name,
        "prompt_id": folder.parent.name,
        "prompt": config.get("prompt") or TEXTS.get(folder.parent.name, folder.parent.name),
        "seed": folder.name,
        "status": status,
        "cause": record.get("cause"),
        "scored": scores is not None,
        "steps": recipe.get("steps"),
        "views": None if scores is None else len(scores),
        "resolution": recipe.get("resolution"),
        "view_resolution": recipe.get("orbit", {}).get("resolution"),
        "suite": recipe.get("suite"),
        "track": recipe.get("track"),
        "prior": config.get("prior", {}).get("checksum"),
        "prior_name": config.get("prior", {}).get("name"),
        "device": record.get("device"),
        "memory": record.get("memory"),
        **cost(record),
    }
