"""A page of one or several runs: a folder that opens from the disk, and can be published as it is.

    index.html page.css page.js     tables, charts and turntables; no other address is ever asked
    turntables/*.webp meshes/*.glb  a job's views in one picture; what `export` made
    table.csv jobs.csv              the same numbers for programs

Numbers are `reports.tables` and `reports.uncertainty.statistics`; the script draws, sorts and filters.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from os import cpu_count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pandas as pd
import torch
from rich.progress import track

from errors import UserError
from eval.truth import Truth, over
from files import write_text
from reports.page import models, sheets
from reports.page.content import all_published, content, curves
from reports.page.divisions import Division, divide
from reports.tables import make
from say import Console, say
from scene.background import GREY

HERE = Path(__file__).parent
FILES = ("page.css", "page.js", "models.js")  # as they are
FOLDERS = ("turntables", "meshes")
Seen = dict[str, Any]  # sheets by kind, the name of a mesh; or why they are damaged
Spread = Callable[[Sequence[Path], Path], Iterable[tuple[Path, Seen]]]  # of jobs' folders, with their files into a page


class Live(NamedTuple):
    """A page that is written again every so many `seconds`: when it was, by the clock, and how far the runs are."""

    seconds: float
    at: float
    said: str


def write(
    runs: Sequence[Path],
    out: Path,
    order: Sequence[str],
    truth_of: Callable[[Path], Truth | None],
    console: Console,
    pictures: str = "first",
    common: bool = True,
    live: Live | None = None,
    spread: Spread | None = None,
) -> Path:
    """Write the page of runs into OUT; returns its index.html. Methods come in `order`. `truth_of` gives a run's true
    views; `pictures`: "first" seed, "all" or "none". Rows are over the prompts and seeds that all methods of a division
    have, where `common`. `live`, where it is to be written again. `spread` makes the pictures of jobs, `here` unless
    given.

    Raises UserError for a run without jobs, for damaged scores, and where OUT holds something else."""
    runs = list({run.resolve(): run for run in runs}.values())
    _mine(out)
    divisions = divide(runs)
    tables = [make(division.frames, order, common) for division in divisions]
    told = [content(*both, order) for both in zip(divisions, tables, strict=True)]
    for folder in FOLDERS:
        (out / folder).mkdir(parents=True, exist_ok=True)
    for division, said in zip(divisions, told, strict=True):
        truth = truth_of(next(iter(division.frames.jobs["folder"])).parents[2]) if pictures != "none" else None
        said["pictures"] = _pictures(division, said, pictures, out, truth, console, spread or here)
    _tidy(out, told)
    _csv(out / "table.csv", [t.assign(division=d.title) for d, t in zip(divisions, tables, strict=True)])
    _csv(out / "jobs.csv", [pd.DataFrame(said["jobs"]).assign(division=said["title"]) for said in told])
    for name in FILES:
        shutil.copyfile(HERE / name, out / name)
    suites = {str(suite) for division in divisions for suite in division.frames.jobs["suite"].dropna()}
    return write_text(out / "index.html", rendered(told, curves(suites), live))


def rendered(told: Sequence[dict[str, Any]], judged: Sequence[dict[str, Any]] = (), live: Live | None = None) -> str:
    """The page's HTML, with the response curves of judges. Whatever a prompt, a cause or a folder is called, it is
    text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    room = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    room.policies["json.dumps_kwargs"] = {"sort_keys": False}  # columns in the order of their declaration
    return room.get_template("page.html").render(divisions=told, published=all_published(), curves=judged, live=live)


def _mine(out: Path) -> None:
    """Raises UserError where OUT is a folder of something else."""
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / "turntables").is_dir())):
        raise UserError(f"{out} is no page of before, and would be written over: give --out another folder.")


def _pictures(
    division: Division,
    said: dict[str, Any],
    which: str,
    out: Path,
    truth: Truth | None,
    console: Console,
    spread: Spread,
) -> dict[str, Any]:
    """`jobs`: a dict a job of what there is to see of it, in the order of `said["jobs"]`; `truth` the same a prompt;
    `kinds` what there is at all. A job whose pictures cannot be read says so, and the page is made."""
    facts = said["jobs"]
    folders = division.frames.jobs.set_index(["method", "prompt_id", "seed"])["folder"]
    keys = list(zip(facts["method"], facts["prompt_id"], facts["seed"], strict=True))
    wanted = {"first": said["seeds"][:1], "all": said["seeds"], "none": []}[which]

    shown = list(dict.fromkeys(folders[key] for key in keys if key[2] in wanted))
    bar = track(spread(shown, out), "Turntables", len(shown), console=console, transient=True)
    seen = dict(bar)
    jobs = [dict(seen[folders[key]]) if key[2] in wanted else {} for key in keys]
    if any("mesh" in job for job in jobs):
        models.put_viewer(out)
    for job in jobs:
        if "damaged" in job:
            say(console, job["damaged"], "yellow")
            job["damaged"] = True  # a page to publish names no path of this machine
    true = _truths(division, said, truth, out, console) if truth else []
    kinds = [kind for kind in sheets.KINDS if any(kind in job for job in jobs)]
    return {"jobs": jobs, "truth": true, "kinds": kinds}


def here(jobs: Sequence[Path], out: Path) -> Iterable[tuple[Path, Seen]]:
    """A Spread: by threads of this process."""
    with ThreadPoolExecutor(cpu_count()) as pool:
        yield from zip(jobs, pool.map(lambda job: _seen(job, out), jobs), strict=True)


def unit(there: sheets.Sizes, job: Path, more: None, device: str) -> tuple[Seen, dict[str, bytes]]:
    """What there is to see of a job, made on a node of a cluster: with the files of the page, by name, but for sheets
    that are `there`."""
    with TemporaryDirectory() as aside:
        for folder in FOLDERS:
            Path(aside, folder).mkdir()
        seen = _seen(job, Path(aside), there)
        return seen, {f"{f}/{path.name}": path.read_bytes() for f in FOLDERS for path in Path(aside, f).iterdir()}


def _seen(job: Path, out: Path, there: sheets.Sizes = sheets.NONE) -> Seen:
    """The sheets of a job, by kind, and its mesh."""
    try:
        found: Seen = {kind: sheets.of_job(job, kind, out / "turntables", there) for kind in sheets.KINDS}
    except UserError as error:
        return {"damaged": str(error)}
    found["mesh"] = models.of_job(job, out)
    return {kind: sheet for kind, sheet in found.items() if sheet}


def _truths(
    division: Division, said: dict[str, Any], truth: Truth, out: Path, console: Console
) -> list[dict[str, Any]]:
    """The true views of each prompt; {} for a prompt that is of no known object. None at all where jobs are seen from
    several orbits."""
    orbits = division.frames.jobs["orbit"].dropna().unique()
    if len(orbits) != 1:
        return []
    count, into = json.loads(orbits[0])["views"], out / "turntables"

    @torch.inference_mode()  # a tenth quicker than without gradients alone
    def seen(text: str) -> dict[str, Any]:
        made = {"rgb": lambda: over(truth(text)[0][0], truth(text)[1][0], GREY), "opacity": lambda: truth(text)[1][0]}
        try:
            name = truth.fingerprint(text)
            return {kind: sheets.of_truth(name, kind, into, count, views) for kind, views in made.items()}
        except UserError:
            return {}

    texts = [prompt["text"] for prompt in said["prompts"]]
    with _one_thread_each(), ThreadPoolExecutor(cpu_count()) as pool:
        return list(track(pool.map(seen, texts), "True views", len(texts), console=console, transient=True))


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """torch's threads under the workers of a pool would only wait for each other: each worker does its own sums."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _tidy(out: Path, told: Sequence[dict[str, Any]]) -> None:
    """Remove what no job of the page shows any more."""
    shown = set(_files(told))
    for file in (*(out / "turntables").iterdir(), *(out / "meshes").iterdir()):
        own = file.with_suffix(".glb") if file.suffix == ".js" else file
        if f"{own.parent.name}/{own.name}" not in shown:
            file.unlink()


def _files(told: Sequence[dict[str, Any]]) -> Iterable[str]:
    for said in told:
        for seen in (*said["pictures"]["jobs"], *said["pictures"]["truth"]):
            for found in seen.values():
                if found is not True:
                    yield found if isinstance(found, str) else found.file


def _csv(path: Path, frames: Sequence[pd.DataFrame]) -> None:
    write_text(path, pd.concat(frames, ignore_index=True).to_csv(index=False))
