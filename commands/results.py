"""What several commands do with a run: its jobs, its scores, its tables."""

from __future__ import annotations

from pathlib import Path

import reports
from engine import judges
from engine.executors.local import launch
from engine.judges import Judges
from engine.plan import Plan
from engine.views import renew
from eval import views
from eval.score import Truth, score_run
from names import RECIPES
from reports import figures, terminal, write
from reports.measures import measures
from say import Console, say
from suites.base import Suite


def carried_out(todo: Plan, console: Console) -> bool:
    """Do what is missing; returns whether a job crashed."""
    done = len(todo.jobs) - len(todo.missing)
    say(console, f"{len(todo.jobs)} jobs, {done} of them done, in {todo.run}")
    records = launch(todo.run, todo.missing, todo.configs, todo.setup, todo.slots, console)
    renew({todo.run / job.path: job.recipe.orbit for job in todo.jobs}, todo.setup.device, console)
    return any(record["status"] == "crashed" for record in records.values())


def score_and_report(run: Path, suite: Suite, chosen: Judges, device: str, console: Console) -> bool:
    """Score what is not scored yet, then write and print the tables; returns whether a job could not be scored."""
    truth, new = score_missing(run, suite, chosen, device, console)
    report(run, console, truth, new)
    return False


def score_missing(run: Path, suite: Suite, chosen: Judges, device: str, console: Console) -> tuple[Truth | None, bool]:
    """Score what is not scored yet, and draw each job's views; returns the true views, and whether there was any."""
    truth = judges.truth_of(run, suite)
    scorer = judges.scorer_of(suite, chosen, truth, device)
    for line in judges.remarks(chosen, scorer):
        say(console, line, "yellow")
    with console.status("Scoring") as status:
        fresh = score_run(run, scorer, lambda job, _: status.update(f"Scored {job.relative_to(run)}"))
        for job in filter(views.has_pictures, fresh):
            figures.contact_sheet(job)
            figures.turntable(job)
    return truth, bool(fresh)


def report(run: Path, console: Console, truth: Truth | None, new: bool) -> None:
    """Write the tables and, where something is new, the figure of a run; print the table and where it all lies."""
    frames, order = reports.load(run), list(RECIPES)
    table = write.tables(run, frames, order)
    figure = run / "comparison.png"
    if new or not figure.exists():
        figures.comparison(run, frames, order, truth)
    glance = measures(run, frames, order)
    terminal.show(frames, table, console)
    for file in (figure, glance, run / "table.md", run / "table.csv", run / "table.tex", run / "scores.csv"):
        say(console, file)
