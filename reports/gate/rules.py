"""What a run may claim: closed, by the suite's own rules, or only open, or nothing, as it is not sound.

The rules, versioned: a run is held against those of the version that is named with its verdict.

    closed   each method has every prompt of the suite, with the same seeds, no job missing, failed or tried twice
             without a word; each job with the track's own settings, steps, prior, orbit and number of views, its own
             checksum of scene, pictures and scores; all of one commit without changes, one Python, one set of versions,
             one device, one set of judges
    open     whatever is sound, and is not closed, with the reasons
    unsound  a file is damaged, or is not what it was when it was made: nothing can be claimed
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from errors import UserError
from eval.score import SCORES, STAMPS
from eval.views import checksum, has_pictures, job_json, jobs
from files import read_json, sha256
from reports import Frames, judges_of, load
from reports.gate.reference import outcomes
from say import shortened

VERSION = 1  # of the rules
VIEWS = 50
CLOSED, OPEN, UNSOUND = "closed", "open", "unsound"


@dataclass
class Claim:
    """What a run may claim, and why it may not claim more, a sentence a reason."""

    division: str
    reasons: list[str] = field(default_factory=list)
    jobs: int = 0


def verify(
    run: Path,
    prompts: Iterable[str],
    settings: Callable[[str, str], dict[str, Any] | None],
    orbit: Callable[[str, str], dict[str, Any] | None],
    prior: str | None,
    read_scene: Callable[[Path], object],
) -> Claim:
    """Hold a run against the rules. `prompts`: the suite's ids. `settings` and `orbit` say what a method's recipe is in
    a track, None for one that has none there. `prior`: the checksum of the suite's own. `read_scene` raises UserError
    for a scene that is damaged. Raises UserError for a folder without jobs."""
    folders = jobs(run)
    unsound = [f"{folder.relative_to(run)}: {said}" for folder in folders for said in _sound(folder, read_scene)]
    if unsound:
        return Claim(UNSOUND, unsound, len(folders))
    try:
        frames = load(run)
    except UserError as error:
        return Claim(UNSOUND, [str(error)], len(folders))
    reasons = [*_missing(frames, list(prompts)), *_mixed(run, frames), *_recipes(run, frames, settings, orbit)]
    if prior is None:
        reasons.append("the suite's own prior is not here to be compared with")
    elif (frames.jobs["prior"] != prior).any():
        reasons.append(f"the prior is not the suite's own, whose checksum is {prior[:12]}")
    reasons += sorted({f"results are open: {why}" for why in frames.jobs["open"] if why})
    return Claim(OPEN if reasons else CLOSED, reasons, len(folders))


def _sound(folder: Path, read_scene: Callable[[Path], object]) -> Iterable[str]:
    """What of a job's files is damaged, or is not what it was when it was made."""
    try:
        record, stamps = job_json(folder / "record.json"), job_json(folder / STAMPS)
        if (scene := folder / "scene.safetensors").exists():
            read_scene(scene)
            if record.get("scene") and record["scene"] != sha256(scene):
                yield "scene.safetensors is not the one that the job left"
        elif record.get("status") == "finished":
            yield "it finished, and its scene is missing"
        if (folder / SCORES).exists():
            if stamps.get("scores") != sha256(folder / SCORES)[:16]:
                yield "scores.csv is not what was scored: it was edited or cut"
            said = {stamp.get("pictures") for stamp in stamps.get("stamps", {}).values()}
            if has_pictures(folder) and said and said != {checksum(folder)}:
                yield "its pictures are not those that were scored"
    except UserError as error:
        yield str(error)


def _missing(frames: Frames, prompts: list[str]) -> Iterable[str]:
    have, methods = outcomes(frames), list(frames.jobs["method"].unique())
    seeds = sorted(frames.jobs["seed"].unique())
    gone = [f"{m} {p[:2]}/{s}" for m in methods for p in prompts for s in seeds if (m, p, s) not in have]
    if gone:
        yield f"{len(gone)} jobs are missing, failed or without scores: {shortened(gone)}"
    if more := sorted(set(frames.jobs["prompt_id"]) - set(prompts)):
        yield f"prompts that are not the suite's: {shortened(more)}"


def _mixed(run: Path, frames: Frames) -> Iterable[str]:
    """What all jobs must have in common, and be known."""
    found: dict[str, set[str]] = {name: set() for name in ("commits", "Pythons", "versions of libraries")}
    for name in _names(frames):
        config = job_json(run / name / "config.json")
        found["commits"].add(str(config.get("commit") or "unknown"))
        found["Pythons"].add(str(config.get("python", "unknown")))
        found["versions of libraries"].add(json.dumps(config.get("versions", {}), sort_keys=True))
        record = job_json(run / name / "record.json")
        if record.get("tries", 1) > 1:
            yield f"{name} was tried {record['tries']} times"
    found["devices"] = set(map(str, frames.jobs["device"].dropna()))
    for judge, sums in judges_of(frames.jobs).items():
        found[f"models as {judge}"] = set(map(str, sums[frames.jobs["scored"]]))
    for what, values in found.items():
        if len(values) > 1:
            yield f"jobs are of {len(values)} {what}: {', '.join(sorted(values))[:120]}"
    if changed := [c for c in found["commits"] if c.endswith("+") or c == "unknown"]:
        yield f"the commit {changed[0]} is not one that others can check out"


def _recipes(
    run: Path,
    frames: Frames,
    settings: Callable[[str, str], dict[str, Any] | None],
    orbit: Callable[[str, str], dict[str, Any] | None],
) -> Iterable[str]:
    """Settings, steps and orbits against the track's own, each method said once."""
    for method, group in frames.jobs.groupby("method"):
        said = set()
        for name in _names_of(group):
            recipe = job_json(run / name / "config.json").get("recipe", {})
            track = recipe.get("track", "")
            own = {key: value for key, value in recipe.items() if key != "orbit"}
            wanted = settings(str(method), track)
            if wanted is None:
                said.add(f"{method} is no recipe of the track {track!r}")
            elif changed := sorted(k for k in {*own, *wanted} if own.get(k) != wanted.get(k)):
                said.add(f"{method} has other settings than the track's: {', '.join(changed)}")
            seen = read_json(file) if (file := run / name / "views" / "orbit.json").exists() else recipe.get("orbit")
            if wanted is not None and seen != orbit(str(method), track):
                said.add(f"{method} is seen from another orbit than the track's {VIEWS} views")
        yield from sorted(said)


def _names(frames: Frames) -> list[str]:
    return _names_of(frames.jobs)


def _names_of(jobs: pd.DataFrame) -> list[str]:
    return [f"{m}/{p}/{s}" for m, p, s in zip(jobs["method"], jobs["prompt_id"], jobs["seed"], strict=True)]
