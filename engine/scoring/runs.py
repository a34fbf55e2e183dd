"""The scores of a run: by processes of this machine or the nodes of a cluster, as many jobs at once as there is room
for, or, where judges of other packages are asked, in this process, one after another."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

from rich.progress import Progress, track

from engine.executors import Where
from engine.executors.units import WORTH, Lack, Unit, done
from engine.machine import device_of
from engine.remote.mirror import SCORES
from engine.remote.sharing import part_in
from engine.scoring import judges
from engine.scoring.judges import Judges
from engine.views import depths_of
from errors import UserError
from eval import views
from eval.outside import asked as outside
from eval.outside.process import Lost, OutsideJudge
from eval.score import Scored, Scorer, due_of, gathered, score_if_can, score_run
from eval.truth import Truth
from eval.views import Depths
from files import is_older
from locks import held
from reports import figures
from say import Console, say
from suites import suite_named
from suites.base import Suite

ENVIRONMENTS = "Judges of --judge have environments of their own on this machine: leave out --executor with them."


def by_others(run: Path, suite: Suite, scorer: Scorer, console: Console) -> tuple[Scored, list[Path]]:
    """Score what is not scored yet in this process, which holds the judges of other packages; returns the jobs without
    a depth, too."""
    flat: list[Path] = []
    with Progress(console=console, transient=True) as bars:
        bar = bars.add_task("Scoring", total=len(views.jobs(run)))

        def told(job: Path, new: bool) -> None:
            bars.advance(bar)
            drawn(job, new)

        others = [judge for judge in scorer.judges.values() if isinstance(judge, OutsideJudge)]
        try:
            outside.open_needed(run, scorer, others)
            scored = score_run(run, scorer, told, judges.truths_of(suite), partial(deep, flat))
        except Lost as error:
            raise UserError(f"A judge of --judge gave up: {error}; what was scored is kept.") from error
        finally:
            for judge in others:
                judge.close()
    for line in outside.beside_ours(run, scorer, others):
        say(console, line)
    return scored, flat


def deep(flat: list[Path], job: Path) -> Depths | None:
    """The depths of a job's views. A job whose views have none joins `flat`."""
    found = depths_of(job)
    flat.extend([] if found or not views.has_pictures(job) else [job])
    return found


def drawn(job: Path, new: bool) -> None:
    """The pictures of a job, where its scores are `new` or later than they."""
    if views.has_pictures(job) and (new or is_older(job / "turntable.gif", job / "scores.csv")):
        figures.contact_sheet(job)
        figures.turntable(job)


class Told(NamedTuple):
    """Of a job: whether it was scored now, why it cannot be, and whether its views lack a depth."""

    new: bool
    why: str
    flat: bool


def at_once(run: Path, suite: Suite, chosen: Judges, where: Where, console: Console) -> tuple[Scored, list[Path]]:
    """Score what is not scored yet, many jobs at once; returns the jobs without a depth, too. What other commands have
    is asked for once more at the end, so that several share the work."""
    folders, by = views.jobs(run), (suite.name, chosen)
    told = _as_they_are(folders, by, device_of(where.here), console) if where.is_here else {}
    weights = [str(judge) for judge in (chosen.clip, chosen.iqa, chosen.reward) if judge]
    for wait in (False, True):
        units = [Unit(folder.relative_to(run), (by, wait)) for folder in folders if folder not in told]
        for unit, result in done(run, units, scored, where, console, "Scoring", weights):
            if result is not None:
                told[run / unit.path] = _lacking(unit, result) if isinstance(result, Lack) else result
    part_in(run).bring(SCORES)
    fresh = [folder for folder in folders if told[folder].new]
    bad = {folder: told[folder].why for folder in folders if told[folder].why}
    return gathered(run, folders, fresh, bad), [folder for folder in folders if told[folder].flat]


def _as_they_are(folders: list[Path], by: tuple[str, Judges], device: str, console: Console) -> dict[Path, Told]:
    """Jobs that are scored already: no process has to begin for them. Where so many are not that some do begin, these
    look at the rest."""
    scorer, truth = opened(*by, device)
    told: dict[Path, Told] = {}
    for k, folder in enumerate(track(folders, "Looking at what is scored", console=console, transient=True)):
        if k - len(told) == WORTH:
            break
        flat: list[Path] = []
        with contextlib.suppress(UserError):  # is said by whoever is to score it
            if due_of(folder, scorer.knowing(truth(folder)), deep(flat, folder)) is None:
                drawn(folder, False)
                told[folder] = Told(False, "", bool(flat))
    return told


def _lacking(unit: Unit, lack: Lack) -> Told:
    return Told(False, f"{unit.path.as_posix()}: {lack.why}.", False)


def scored(folder: Path, how: tuple[tuple[str, Judges], bool], device: str) -> Told | None:
    """A unit: a job's scores and the pictures that go with them; None where another command has it, and is not waited
    for. The judges are opened once in a process."""
    by, wait = how
    scorer, truth = opened(*by, device)
    flat: list[Path] = []
    with held(folder, wait) as ours:  # its views stay as they are meanwhile
        if not ours:
            return None
        new, why = score_if_can(folder, scorer, truth, partial(deep, flat))
        if not why:
            drawn(folder, new)
    return Told(new, why, bool(flat))


@lru_cache(1)
def opened(suite: str, chosen: Judges, device: str) -> tuple[Scorer, Callable[[Path], Truth | None]]:
    """The judges of a suite at work on a device, and what gives a job's true views."""
    known = suite_named(suite)
    return judges.scorer_of(known, chosen, device), judges.truths_of(known)
