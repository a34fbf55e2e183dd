"""Judges that were asked for by name: found, their licences shown, opened before any score, and set beside our own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from errors import UserError
from eval import views
from eval.encoders import checksum
from eval.outside import Outside, named
from eval.outside.process import OutsideJudge
from eval.published_reward import WEIGHTS
from eval.score import Scorer, scores_of
from files import read_json, write_json
from prompts import Prompt, is_own

ACCEPTED = "accepted-licences.json"  # in the folder of all weights


def asked(names: Iterable[str], own: Mapping[str, Path | None], device: str) -> dict[str, OutsideJudge]:
    """By name, the judges of NAME or NAME=FOLDER of its weights; `own` has the folders of this program's judges. Raises
    UserError for names nobody knows, and where weights are not there."""
    found = {}
    for words in names:
        name, _, given = words.partition("=")
        declared = named(name)
        weights = _weights(declared, Path(given).expanduser() if given else own.get(declared.weights))
        kind = "cuda" if device.startswith("cuda") else "cpu"
        found[name] = OutsideJudge(declared, weights, checksum(weights) if weights else "", kind)
    return found


def _weights(declared: Outside, folder: Path | None) -> Path | None:
    if not declared.weights:
        if folder:
            raise UserError(f"The judge {declared.name} brings its own weights: leave {folder} out.")
        return None
    wanted = WEIGHTS if declared.name == "image-reward" else "config.json"
    if folder is None or not (folder / wanted).is_file():
        where = f"{folder} has no {wanted}" if folder else "the suite has none here"
        raise UserError(
            f"The judge {declared.name} needs weights as they are published, and {where}: run_benchmark.py fetch, or "
            f"--judge {declared.name}=FOLDER."
        )
    return folder.absolute()


def accept(judges: Iterable[OutsideJudge], folder: Path, yes: bool, tell: Callable[[str], None]) -> None:
    """Show the licence of each before its first use here. Raises UserError where nobody accepts it."""
    kept = folder / ACCEPTED
    known: dict[str, Any] = read_json(kept) if kept.exists() else {}
    new = {j.declared.name: j.declared.licence for j in judges if known.get(j.declared.name) != j.declared.licence}
    for licence in dict.fromkeys(new.values()):
        tell(f"Licence: {licence}.")
    if not new:
        return
    if not yes:
        said = input("Use it under this licence? [y/N] ") if sys.stdin.isatty() else ""
        if said.strip().lower() not in ("y", "yes"):
            raise UserError(f"{', '.join(new)} is not used: give --accept-licence to use it under its licence.")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(kept, known | new)


def open_needed(run: Path, scorer: Scorer, judges: Iterable[OutsideJudge]) -> None:
    """Open the judges that have something to do, so that what is wrong with them is said before any score is touched.
    Raises UserError."""
    for judge in judges:
        if any(_waits(folder, scorer, judge.declared) for folder in views.jobs(run)):
            judge.open()


def _waits(folder: Path, scorer: Scorer, declared: Outside) -> bool:
    key, prompt_id = declared.metric.key, folder.parent.name
    try:
        if not views.has_pictures(folder):
            return False
        if is_own(prompt_id):
            text = views.job_json(folder / "config.json").get("prompt")
            scorer = scorer.asking(Prompt(prompt_id, text)) if text else scorer
        wanted = scorer.stamps(prompt_id, views.checksum(folder), views.knows_opacity(folder))
    except UserError:
        return False  # it is not scored, which is said elsewhere
    return scores_of(folder).stamps.get(key) != wanted[key]


def beside_ours(run: Path, scorer: Scorer, judges: Iterable[OutsideJudge]) -> list[str]:
    """A sentence for each judge that computes what a metric of ours does, on the same weights: how far they differ."""
    said = []
    for judge in judges:
        declared, own = judge.declared, scorer.judges.get(judge.declared.weights)
        if not declared.like or own is None or judge.weights is None or own.checksum != checksum(judge.weights):
            continue
        gaps = [gap for folder in views.jobs(run) if (gap := _gap(folder, declared)) is not None]
        if gaps:
            views_of_all = np.concatenate(gaps)
            said.append(
                f"{declared.name} beside our {declared.like}, on the same weights: over {len(views_of_all)} views they "
                f"differ by {views_of_all.max():.2g} at most, {views_of_all.mean():.2g} on average."
            )
    return said


def _gap(folder: Path, declared: Outside) -> np.ndarray | None:
    columns = scores_of(folder).columns
    if declared.metric.key not in columns or declared.like not in columns:
        return None
    return np.abs(np.subtract(columns[declared.metric.key], columns[declared.like]))
