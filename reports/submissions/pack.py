"""A run as one archive to hand around: scores, provenance, a few views, each with its checksum; no path of a machine.

    pack.json                                 format, version, the run's name, commits, and SHA-256 of every other file
    <method>/<prompt-id>/<seed>/              config.json record.json scores.csv scores.json samples/rgb_000.png
    table.csv table.md scores.csv differences.csv comparison.png

Unpacked, it is a run that `reports.load` reads. Equal runs make archives that are equal in their bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from errors import UserError
from eval.score import SCORES, STAMPS
from eval.views import job_json, jobs, orbit_of
from files import ROOT, read_json, replaced, sha256

PACK, VERSION = "pack.json", 1
OVER_ALL = ("table.csv", "table.md", "scores.csv", "differences.csv", "comparison.png")
SIDES, LARGEST = 4, 256  # views of a job, evenly around it; pixels along their longer edge
PATH = re.compile(r"(?<![\w.:/\\])(?:[A-Za-z]:[\\/]|~?[\\/])(?:[^\s'\"<>|:*?\\/]+[\\/])*([^\s'\"<>|:*?\\/]*)")
WORDS = ("prompt", "prompt_id")  # texts that are as they are, whatever strokes they have
WHEN = (1980, 1, 1, 0, 0, 0)  # of every member: no clock is in the archive


def write(run: Path, target: Path, each: Callable[[Path], None] = lambda job: None) -> int:
    """Pack a run; returns how many jobs are in it. Raises UserError for one that has no scores."""
    folders = jobs(run)
    scored = [job for job in folders if (job / SCORES).is_file()]
    if not scored:
        raise UserError(f"The run {run} has no scores: score it first, by run_benchmark.py score {run}.")

    def packed(aside: Path) -> None:
        sums: dict[str, str] = {}
        with zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in _members(run, folders, each):
                sums[name] = hashlib.sha256(content).hexdigest()
                archive.writestr(zipfile.ZipInfo(name, WHEN), content, zipfile.ZIP_DEFLATED)
            archive.writestr(zipfile.ZipInfo(PACK, WHEN), _json(_about(run, folders) | {"files": sums}))

    replaced(target, packed)
    return len(folders)


def _members(run: Path, folders: list[Path], each: Callable[[Path], None]) -> Iterator[tuple[str, bytes]]:
    for name in OVER_ALL:
        if (run / name).is_file():
            yield name, (run / name).read_bytes()
    for job in folders:
        at = job.relative_to(run).as_posix()
        for name, content in (*texts(job), *_samples(job)):
            yield f"{at}/{name}", content
        each(job)


def texts(job: Path) -> Iterator[tuple[str, bytes]]:
    """What a job's row of a table is made of: its files' names and contents, without paths of a machine."""
    config = job_json(job / "config.json")
    if orbit := orbit_of(job):
        config = config | {"recipe": config.get("recipe", {}) | {"orbit": orbit}}
    yield "config.json", _json(bare(config))
    yield "record.json", _json(bare(job_json(job / "record.json")))
    for name in (SCORES, STAMPS):
        if (job / name).is_file():
            yield name, (job / name).read_bytes()


def _samples(job: Path) -> Iterator[tuple[str, bytes]]:
    """A few views, by name, as PNG; of a job out of a pack those that it has."""
    views = sorted((job / "views").glob("rgb_*.png")) or sorted((job / "samples").glob("rgb_*.png"))
    for file in views[:: max(len(views) // SIDES, 1)][:SIDES]:
        with Image.open(file) as image:
            image.thumbnail((LARGEST, LARGEST))
            stream = io.BytesIO()
            image.save(stream, "PNG")
        yield f"samples/{file.name}", stream.getvalue()


def _about(run: Path, folders: list[Path]) -> dict[str, Any]:
    commits = {str(job_json(job / "config.json").get("commit")) for job in folders} - {"None"}
    return {
        "format": "score-distillation-run",
        "version": VERSION,
        "name": run.resolve().name,
        "commits": sorted(commits),
    }


def bare(value: Any, key: str = "") -> Any:
    """JSON without paths of a machine: of each, what it ends with; a path in the checkout is as from there."""
    if isinstance(value, dict):
        return {k: bare(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [bare(v) for v in value]
    if not isinstance(value, str) or key in WORDS:
        return value
    return PATH.sub(lambda path: path[1] or "...", value.replace(f"{ROOT}/", ""))


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()


def verified(folder: Path, archive: Path) -> str:
    """The name of the run in an unpacked pack. Raises UserError where it is none, or not as it was packed."""
    if not (folder / PACK).is_file():
        raise UserError(f"The archive {archive} is no pack: make one by run_benchmark.py pack RUN.")
    about = read_json(folder / PACK, "pack the run again")
    if about.get("format") != "score-distillation-run" or about.get("version") != VERSION:
        raise UserError(f"The pack {archive} is of another format or version: pack the run again.")
    sums = about.get("files", {})
    found = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    changed = {name for name in sums if name not in found or sha256(found[name]) != sums[name]}
    changed |= found.keys() - sums.keys() - {PACK}
    if changed:
        raise UserError(f"The pack {archive} was changed after it was made, in {min(changed)}: pack the run again.")
    return str(about.get("name", archive.stem))
