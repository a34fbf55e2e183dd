"""What several commands do with a run: its jobs, its scores, its tables."""

from __future__ import annotations

from pathlib import Path

from commands.shared import tables
from engine import judges
from engine.external import jobs as external
from engine.external import launch as programs
from engine.judges import Judges
from engine.plan import Plan
from engine.queue import launch
from engine.remote.mirror import name_of
from engine.remote.sharing import part_in
from engine.request import Request
from engine.store import FINAL, tidy
from engine.views import depths_of, renew
from errors import UserError
from eval import views
from eval.outside import asked as outside
from eval.outside.process import Lost, OutsideJudge
from eval.score import Scored, score_run
from eval.views import Depths
from files import is_older
from reports import figures
from say import Console, plain, say
from suites.base import Suite

NO_DEPTH = "Warp error needs depth, which the views of {} lack: pictures alone, or a flat scene."


def carried_out(todo: Plan, console: Console) -> bool:
    """Do what is missing; returns whether a job crashed, or was left."""
    done = len(todo.jobs) - len(todo.missing)
    say(console, f"{len(todo.jobs)} jobs, {done} of them done, in {name_of(todo.run)}")
    records = launch(todo.run, todo.missing, todo.configs, todo.setup, todo.slots, console, todo.policy, todo.executor)
    tidy(todo.run, todo.jobs)
    part_in(todo.run).bring()
    renew({todo.run / job.path: job.recipe.orbit for job in todo.jobs}, todo.here, console)
    return len(records) < len(todo.missing) or any(record["status"] == "crashed" for record in records.values())


def external_done(request: Request, jobs: list[external.ExternalJob], console: Console) -> bool:
    """Do what is missing of the jobs of external engines; returns whether one came to no result."""
    if not jobs:
        return False
    missing = external.left(request.out, jobs, request.overwrite)
    say(console, f"{len(jobs)} jobs of external engines, {len(jobs) - len(missing)} of them done, in {request.out}")
    records = programs.launch(request, missing, console)
    return any(record["status"] not in FINAL for record in records.values())


def score_and_report(run: Path, suite: Suite, chosen: Judges, device: str, console: Console) -> bool:
    """Score what is not scored yet, then write and print the tables; returns whether all could be scored."""
    scored = score_missing(run, suite, chosen, device, console)
    tables.report(run, console, lambda: judges.truth_of(run, suite, figures.SIDES), bool(scored.fresh))
    return not scored.bad


def score_missing(run: Path, suite: Suite, chosen: Judges, device: str, console: Console) -> Scored:
    """Score what is not scored yet, draw each job's views, and say what could not be scored."""
    part_in(run).bring()
    scorer = judges.scorer_of(suite, chosen, device)
    own = judges.own_prompts(run)
    for line in (*judges.remarks(chosen, scorer, own), *judges.unknown(suite, own)):
        say(console, line, "yellow")
    flat: list[Path] = []

    def deep(job: Path) -> Depths | None:
        found = depths_of(job)
        flat.extend([] if found or not views.has_pictures(job) else [job])
        return found

    with console.status("Scoring") as status:

        def told(job: Path, new: bool) -> None:
            status.update(plain(f"Scored {job.relative_to(run)}"))
            if views.has_pictures(job) and (new or is_older(job / "turntable.gif", job / "scores.csv")):
                figures.contact_sheet(job)
                figures.turntable(job)

        others = [judge for judge in scorer.judges.values() if isinstance(judge, OutsideJudge)]
        try:
            outside.open_needed(run, scorer, others)
            scored = score_run(run, scorer, told, judges.truths_of(suite), deep)
        except Lost as error:
            raise UserError(f"A judge of --judge gave up: {error}; what was scored is kept.") from error
        finally:
            for judge in others:
                judge.close()
    for line in outside.beside_ours(run, scorer, others):
        say(console, line)
    if flat:
        say(console, NO_DEPTH.format("1 job" if len(flat) == 1 else f"{len(flat)} jobs"), "yellow", wrap=True)
    for reason in scored.bad.values():
        say(console, reason, "red")
    return scored
