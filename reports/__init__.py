"""From scored jobs to tables and figures: `load` reads a run into frames, the rest reads frames.

A run holds `<method>/<prompt-id>/<seed>/{config.json, record.json, scores.csv, scores.json}`; folders made elsewhere
have pictures and scores alone. Every number of a table can be recomputed from these files.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from errors import UserError
from eval import SCORES
from eval.views import jobs
from reports import folders, whole
from reports.columns import measured

KEYS = ["method", "prompt_id", "seed"]
FACTS = [*KEYS, "status", "view", "azimuth"]  # of a view
SCENE = "scene.safetensors"


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
    jobs_of = jobs(Path(run))
    wide, rows_of = _all_scores(jobs_of)
    odd, rows, faults = whole.odd(wide), [], {}
    view = wide["view"].to_numpy()
    opacity = pd.to_numeric(wide["opacity"], errors="coerce").to_numpy(float) if "opacity" in wide else None
    for folder in jobs_of:
        inside, at = folders.listed(folder), rows_of.get(folder)
        pictures, about = whole.pictures(inside.pictures), folders.about_scores(folder, inside.names)
        row = folders.row(folder, inside, bool(pictures.rgb), opacity[at] if at and opacity is not None else None,
                          at and at.stop - at.start)  # fmt: skip
        wrong = wide.iloc[at] if at and odd[at].any() else None
        faults[folder] = [
            *whole.faults(row.pop("said"), at and view[at], row.pop("wanted"), pictures, wrong),
            *(whole.scene(folder / SCENE) if at and SCENE in inside.names else []),
        ]
        rows.append(row | {"candidates": about.pop("candidates", None), "judges": about})
    whole.refuse(faults)
    told = [row for row, folder in zip(rows, jobs_of, strict=True) if folder in rows_of]
    sizes = [rows_of[folder].stop - rows_of[folder].start for folder in jobs_of if folder in rows_of]
    facts = {key: np.repeat(np.array([row[key] for row in told], object), sizes) for key in (*KEYS, "status")}
    metrics = [m.key for m in measured("paper", "more", "hidden") if m.key in wide]
    return Frames(wide.assign(**facts)[FACTS + metrics], pd.DataFrame(rows))


def _all_scores(folders: list[Path]) -> tuple[pd.DataFrame, dict[Path, slice]]:
    """The scores of those jobs that have some, one job below the other in the order of the folders, and which rows are
    whose. Files of one header are read as one, which takes a tenth of the time; where that fails, each by itself, so
    that the damaged one is named."""
    by_header: dict[bytes, dict[Path, bytes]] = {}
    there = {folder: folder / SCORES for folder in folders if (folder / SCORES).exists()}
    try:
        for folder, path in there.items():
            header, _, body = path.read_bytes().partition(b"\n")
            by_header.setdefault(header, {})[folder] = body if body.endswith(b"\n") else body + b"\n"
        sizes = {folder: body.count(b"\n") for files in by_header.values() for folder, body in files.items()}
        parts = [_read_as_one(header, files, sizes) for header, files in by_header.items()]
    except (OSError, ValueError):
        read = {folder: read_scores(path) for folder, path in there.items()}
        parts = [scores for scores in read.values() if scores is not None]
        sizes = {folder: len(scores) for folder, scores in read.items() if scores is not None}
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=FACTS)
    rank = {folder: k for k, folder in enumerate(there)}
    of = np.repeat([rank[folder] for folder in sizes], list(sizes.values()))
    if (np.diff(of) < 0).any():  # jobs of several headers
        rows = rows.iloc[np.argsort(of, kind="stable")].reset_index(drop=True)
    ordered = [folder for folder in there if folder in sizes]
    ends = np.cumsum([sizes[folder] for folder in ordered])
    return rows, {folder: slice(int(end) - sizes[folder], int(end)) for folder, end in zip(ordered, ends, strict=True)}


def _read_as_one(header: bytes, files: dict[Path, bytes], sizes: dict[Path, int]) -> pd.DataFrame:
    """Raises ValueError where the rows of a file cannot be told from those of others, or lack columns."""
    if not {b"view", b"azimuth"} <= set(header.split(b",")):
        raise ValueError(header)
    text = BytesIO(b"\n".join([header, b"".join(files.values())]))
    rows = pd.read_csv(text, dtype=dict.fromkeys(folders.BEFORE, str))
    if len(rows) != sum(sizes[folder] for folder in files) or not isinstance(rows.index, pd.RangeIndex):
        raise ValueError(header)
    return rows


def read_scores(path: Path) -> pd.DataFrame | None:
    """A job's scores, a row a view; None where it has none yet. Raises UserError where the file is damaged."""
    if not path.exists():
        return None
    try:
        scores = pd.read_csv(path, dtype=dict.fromkeys(folders.BEFORE, str))
    except (OSError, ValueError) as error:
        raise UserError(f"The scores in {path} cannot be read: delete the file and score the run again.") from error
    if not {"view", "azimuth"} <= set(scores):
        raise UserError(f"The scores in {path} lack columns: delete the file and score the run again.")
    return scores


def judges_of(jobs: pd.DataFrame) -> dict[str, pd.Series]:
    """The checksums of each judge that scored any of the jobs; NaN for a job that it did not score."""
    names = dict.fromkeys(name for judges in jobs["judges"] for name in judges)
    return {name: jobs["judges"].map(lambda judges, name=name: judges.get(name)) for name in names}
