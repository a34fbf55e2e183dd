"""What several commands do with a run: its jobs, its scores, its tables."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path

from commands.shared import tables
from engine.executors import Where
from engine.external import jobs as external
from engine.external import launch as programs
from engine.machine import device_of
from engine.plan import Plan
from engine.queue import launch
from engine.remote.mirror import ALL, SCORES, name_of
from engine.remote.sharing import part_in
from engine.request import Request
from engine.scoring import judges, runs
from engine.scoring.judges import Judges
from engine.store import FINAL, tidy
from engine.views import renew
from eval.score import Scored
from eval.views import orbit_beside
from reports import figures
from say import Console, say
from suites.base import Suite

NO_DEPTH = "Warp error needs depth, which the views of {} lack: pictures alone, or a flat scene."


def carried_out(todo: Plan, console: Console) -> bool:
    """Do what is missing; returns whether a job crashed, or was left."""
    done = len(todo.jobs) - len(todo.missing)
    say(console, f"{len(todo.jobs)} jobs, {done} of them done, in {name_of(todo.run)}")
    records = launch(todo.run, todo.missing, todo.configs, todo.setup, todo.slots, console, todo.policy, todo.executor)
    tidy(todo.run, todo.jobs)
    wanted = {todo.run / job.path: job.recipe.orbit for job in todo.jobs}
    part_in(todo.run).bring(SCORES)
    if any(orbit_beside(job) not in ({}, asdict(orbit)) for job, orbit in wanted.items()):
        part_in(todo.run).bring()
    renew(wanted, todo.here, console)
    return len(records) < len(todo.missing) or any(record["status"] == "crashed" for record in records.values())


def external_done(request: Request, jobs: list[external.ExternalJob], console: Console) -> bool:
    """Do what is missing of the jobs of external engines; returns whether one came to no result."""
    if not jobs:
        return False
    missing = external.left(request.out, jobs, request.overwrite)
    say(console, f"{len(jobs)} jobs of external engines, {len(jobs) - len(missing)} of them done, in {request.out}")
    records = programs.launch(request, missing, console)
    return any(record["status"] not in FINAL for record in records.values())


def score_and_report(run: Path, suite: Suite, chosen: Judges, where: Where, console: Console) -> bool:
    """Score what is not scored yet, then write and print the tables; returns whether all could be scored."""
    scored = score_missing(run, suite, chosen, where, console)
    tables.report(run, console, lambda: judges.truth_of(run, suite, figures.SIDES), bool(scored.fresh))
    return not scored.bad


def score_missing(run: Path, suite: Suite, chosen: Judges, where: Where, console: Console) -> Scored:
    """Score what is not scored yet, draw each job's views, and say what could not be scored."""
    part_in(run).bring(ALL if where.is_here else SCORES)
    device = device_of(where.here)
    if chosen.outside:  # whose programs end with the scores
        scorer = judges.scorer_of(suite, chosen, device)
        score = partial(runs.by_others, run, suite, scorer, console)
    else:
        scorer, _ = runs.opened(suite.name, chosen, device)
        score = partial(runs.at_once, run, suite, chosen, where, console)
    own = judges.own_prompts(run)
    for line in (*judges.remarks(chosen, scorer, own), *judges.unknown(suite, own)):
        say(console, line, "yellow")
    scored, flat = score()
    if flat:
        say(console, NO_DEPTH.format("1 job" if len(flat) == 1 else f"{len(flat)} jobs"), "yellow", wrap=True)
    for reason in scored.bad.values():
        say(console, reason, "red")
    return scored
