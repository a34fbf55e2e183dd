"""From scored jobs to tables and figures: `load` reads a run into frames, the rest reads frames.

A run holds `<method>/<prompt-id>/<seed>/{config.json, record.json, scores.csv, scores.json}`; folders made elsewhere
have pictures and scores alone. Every number of a table can be recomputed from these files.
"""

from __future__ import annotations

import hashlib
import json
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from errors import UserError
from eval.divergence import EMPTY, classify
from eval.score import JUDGES, SCORES, STAMPS
from eval.views import job_json, jobs, orbit_of
from files import read_json
from prompts import paper43
from records import NewerError
from reports import whole
from reports.columns import cost, measured

TEXTS = {prompt.id: prompt.text for prompt in paper43()}  # for folders made elsewhere
KEYS = ["method", "prompt_id", "seed"]
FACTS = [*KEYS, "status", "view", "azimuth"]  # of a view
BEFORE = (*JUDGES.values(), "candidates", "truth")  # columns of a scores.csv from before scores.json said so


class Frames(NamedTuple):
    """A run in pandas.

    `wide`: method, prompt_id, seed, status, view, azimuth, and a column a metric; a row a view.
    `jobs`: method, prompt_id, prompt, seed, status, cause, scored, steps, views, resolution, view_resolution, orbit
    (from where it is seen, as JSON), suite, track, scene (its kind), settings (a checksum), prior (its checksum),
    prior_name, open (why it is not to be compared with published figures, or ""), commit, device, memory, together,
    cost, candidates (numbers of the prompts that R-Precision ranks) and judges (a dict of checksums); a row a job.
    `long`: method, prompt_id, seed, status, view, azimuth, metric, value; a row a value.
    """

    wide: pd.DataFrame
    jobs: pd.DataFrame

    @property
    def long(self) -> pd.DataFrame:
        """Made when it is asked for: of a large run these are millions of rows."""
        metrics = [m.key for m in measured("paper", "more", "hidden") if m.key in self.wide]
        return self.wide.melt(FACTS, metrics, var_name="metric").dropna(subset="value").reset_index(drop=True)


def load(run: str | Path) -> Frames:
    """The frames of a run's jobs; one whose record or settings are damaged has failed. Raises UserError for a run
    without jobs, and for jobs that are not whole (`reports.whole`)."""
    folders = jobs(Path(run))
    wide, rows_of = _all_scores(folders)
    odd, rows, faults = whole.odd(wide), [], {}
    for folder in folders:
        about, own, wrong = about_scores(folder), None, False
        if folder in rows_of:
            own, wrong = wide.iloc[rows_of[folder]], bool(odd[rows_of[folder]].any())
        row = _job(folder, own) | {"candidates": about.pop("candidates", None), "judges": about}
        faults[folder] = whole.faults(folder, {"status": row.pop("said")}, own, row.pop("wanted"), wrong)
        rows.append(row)
    whole.refuse(faults)
    told = [row for row, folder in zip(rows, folders, strict=True) if folder in rows_of]
    sizes = [rows_of[folder].stop - rows_of[folder].start for folder in folders if folder in rows_of]
    wide = wide.assign(**{key: np.repeat([row[key] for row in told], sizes) for key in (*KEYS, "status")})
    metrics = [m.key for m in measured("paper", "more", "hidden") if m.key in wide]
    return Frames(wide[FACTS + metrics], pd.DataFrame(rows))


def _all_scores(folders: list[Path]) -> tuple[pd.DataFrame, dict[Path, slice]]:
    """The scores of those jobs that have some, one job below the other in the order of the folders, and which rows are
    whose. Files of one header are read as one, which takes a tenth of the time; where that fails, each by itself, so
    that the damaged one is named."""
    texts = {folder: folder / SCORES for folder in folders if (folder / SCORES).exists()}
    by_header: dict[str, dict[Path, list[str]]] = {}
    try:
        for folder, path in texts.items():
            header, *lines = path.read_text("utf-8").splitlines()
            by_header.setdefault(header, {})[folder] = lines
        parts = [_read_as_one(header, list(files.values())) for header, files in by_header.items()]
        sizes = {folder: len(lines) for files in by_header.values() for folder, lines in files.items()}
    except (OSError, ValueError):
        read = {folder: read_scores(path) for folder, path in texts.items()}
        parts = [scores for scores in read.values() if scores is not None]
        sizes = {folder: len(scores) for folder, scores in read.items() if scores is not None}
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=FACTS)
    rank = {folder: k for k, folder in enumerate(texts)}
    of = np.repeat([rank[folder] for folder in sizes], list(sizes.values()))
    if (np.diff(of) < 0).any():  # jobs of several headers
        rows = rows.iloc[np.argsort(of, kind="stable")].reset_index(drop=True)
    ordered = [folder for folder in texts if folder in sizes]
    ends = np.cumsum([sizes[folder] for folder in ordered])
    return rows, {folder: slice(int(end) - sizes[folder], int(end)) for folder, end in zip(ordered, ends, strict=True)}


def _read_as_one(header: str, files: list[list[str]]) -> pd.DataFrame:
    """Raises ValueError where the rows of a file cannot be told from those of others, or lack columns."""
    if not {"view", "azimuth"} <= set(header.split(",")):
        raise ValueError(header)
    text = "\n".join([header, *(line for lines in files for line in lines)])
    rows = pd.read_csv(StringIO(text), dtype=dict.fromkeys(BEFORE, str))
    if len(rows) != sum(map(len, files)) or not isinstance(rows.index, pd.RangeIndex):
        raise ValueError(header)
    return rows


def read_scores(path: Path) -> pd.DataFrame | None:
    """A job's scores, a row a view; None where it has none yet. Raises UserError where the file is damaged."""
    if not path.exists():
        return None
    try:
        scores = pd.read_csv(path, dtype=dict.fromkeys(BEFORE, str))
    except (OSError, ValueError) as error:
        raise UserError(f"The scores in {path} cannot be read: delete the file and score the run again.") from error
    if not {"view", "azimuth"} <= set(scores):
        raise UserError(f"The scores in {path} lack columns: delete the file and score the run again.")
    return scores


def judges_of(jobs: pd.DataFrame) -> dict[str, pd.Series]:
    """The checksums of each judge that scored any of the jobs; NaN for a job that it did not score."""
    names = dict.fromkeys(name for judges in jobs["judges"] for name in judges)
    return {name: jobs["judges"].map(lambda judges, name=name: judges.get(name)) for name in names}


def about_scores(folder: Path) -> dict[str, str]:
    """With what a job was scored: the checksum of each judge, the numbers of the candidates; {} where nothing says."""
    if (folder / STAMPS).exists():
        return read_json(folder / STAMPS, "delete it and score the run again").get("about", {})
    if not (folder / SCORES).exists():
        return {}
    first = pd.read_csv(folder / SCORES, dtype=str, nrows=1)
    said = {name: first[name].iloc[0] for name in BEFORE[:-1] if name in first and len(first)}
    return {"encoder_iqa": said["encoder"]} | said if "encoder" in said else said


def _job(folder: Path, scores: pd.DataFrame | None) -> dict[str, Any]:
    try:
        record, config = job_json(folder / "record.json"), job_json(folder / "config.json")
        orbit = orbit_of(folder) or config.get("recipe", {}).get("orbit", {})
    except NewerError:
        raise  # what it says may mean something else
    except UserError as error:
        record, config, orbit = {"status": "damaged", "cause": str(error)}, {}, {}
    recipe = config.get("recipe", {})
    status = classify(record, None)
    if status == "ok" and scores is not None and "opacity" in scores and scores["opacity"].mean() < EMPTY:
        status = "empty"
    return {
        "said": "crashed"
        if status == "failed" and record.get("status") == "damaged"
        else record.get("status", "finished"),
        "wanted": orbit.get("views"),
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
        "view_resolution": orbit.get("resolution"),
        "orbit": json.dumps(orbit, sort_keys=True) if orbit else None,
        "suite": recipe.get("suite"),
        "track": recipe.get("track"),
        "scene": recipe.get("scene", {}).get("kind"),
        "settings": _settings(recipe),
        "prior": config.get("prior", {}).get("checksum"),
        "open": _open(config),
        "prior_name": config.get("prior", {}).get("name"),
        "commit": config.get("commit"),
        "device": record.get("device"),
        "memory": record.get("memory"),
        "together": record.get("together", 1),
        **cost(record),
    }


def _open(config: dict[str, Any]) -> str:
    """Why a job's results are open; "" where they are not."""
    said = config.get("prior", {}).get("open")
    return f"the prior {said}" if said else config.get("open", "")


def _settings(recipe: dict[str, Any]) -> str | None:
    """A checksum of what a recipe computes: not of the views that are rendered of it at the end."""
    computed = {name: value for name, value in recipe.items() if name != "orbit"}
    return hashlib.sha256(json.dumps(computed, sort_keys=True).encode()).hexdigest()[:12] if computed else None
