"""The scores of a run: in this process, one job after another, or on the nodes of a cluster, all at once."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from engine import judges
from engine.executors import Where
from engine.executors.units import Lack, Unit, done
from engine.judges import Judges
from engine.remote.mirror import SCORES
from engine.remote.sharing import part_in
from engine.views import depths_of
from errors import UserError
from eval import views
from eval.outside import asked as outside
from eval.outside.process import Lost, OutsideJudge
from eval.score import Scored, Scorer, gathered, score_if_can, score_run
from eval.views import Depths
from files import is_older
from locks import held
from reports import figures
from say import Console, plain, say
from suites import suite_named
from suites.base import Suite

ENVIRONMENTS = "Judges of --judge have environments of their own on this machine: leave out --executor with them."


def here(run: Path, suite: Suite, scorer: Scorer, console: Console) -> tuple[Scored, list[Path]]:
    """Score what is not scored yet; returns the jobs without a depth, too."""
    flat: list[Path] = []
    with console.status("Scoring") as status:

        def told(job: Path, new: bool) -> None:
            status.update(plain(f"Scored {job.relative_to(run)}"))
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


def on_nodes(run: Path, suite: Suite, chosen: Judges, where: Where, console: Console) -> tuple[Scored, list[Path]]:
    """The same by the places of a cluster."""
    folders = views.jobs(run)
    units = [Unit(folder.relative_to(run), (suite.name, chosen)) for folder in folders]
    weights = [str(judge) for judge in (chosen.clip, chosen.iqa, chosen.reward) if judge]
    told: dict[Path, Told] = {}
    for unit, result in done(run, units, scored, where, console, "Scoring", weights):
        told[run / unit.path] = _lacking(unit, result) if isinstance(result, Lack) else result
    part_in(run).bring(SCORES)
    fresh = [folder for folder in folders if told[folder].new]
    bad = {folder: told[folder].why for folder in folders if told[folder].why}
    return gathered(run, folders, fresh, bad), [folder for folder in folders if told[folder].flat]


def _lacking(unit: Unit, lack: Lack) -> Told:
    return Told(False, f"{unit.path.as_posix()}: {lack.why}.", False)


def scored(folder: Path, by: tuple[str, Judges], device: str) -> Told:
    """A unit: a job's scores and the pictures that go with them. The judges are opened once in a process."""
    scorer, truth = _opened(*by, device)
    flat: list[Path] = []
    with held(folder):  # its views stay as they are meanwhile
        new, why = score_if_can(folder, scorer, truth, partial(deep, flat))
        if not why:
            drawn(folder, new)
    return Told(new, why, bool(flat))


@cache
def _opened(suite: str, chosen: Judges, device: str):  # type: ignore[no-untyped-def]
    known = suite_named(suite)
    return judges.scorer_of(known, chosen, device), judges.truths_of(known)
