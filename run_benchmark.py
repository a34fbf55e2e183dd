#!/usr/bin/env python
"""The command line: plan, generate, score, report."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

import names
from commands.options import (
    Parser,
    ablate_parser,
    check_parser,
    run_parser,
    score_parser,
    sweep_parser,
    table_parser,
)  # fmt: skip
from engine.rehearsal import rehearsed
from errors import UserError
from prompts import load, select
from say import say

if TYPE_CHECKING:
    from engine.judges import Judges
    from engine.plan import Plan
    from eval.score import Scored
    from eval.truth import Truth


def run(arguments: list[str]) -> int:
    options = rehearsed(run_parser().parse_args(arguments))
    options.prompts = options.prompts or (list(names.FIRST_LOOK) if options.suite == "world" else ["all"])
    from engine import judges as scoring
    from engine import plan

    plan.check_names(options)
    judges, console = scoring.judges_of(options.suite, options.clip, options.clip2), Console()
    todo = plan.plan(options, console)
    crashed = carried_out(todo, console)
    if judges.clip is None:
        console.print(scoring.UNSCORED, highlight=False, soft_wrap=True)
    else:
        crashed |= not score_and_report(todo.run, options.suite, judges, options.device, console)
    return int(crashed)


def carried_out(todo: Plan, console: Console) -> bool:
    """Do what is missing; returns whether a job crashed."""
    from engine.executors.local import launch

    done = len(todo.jobs) - len(todo.missing)
    console.print(f"{len(todo.jobs)} jobs, {done} of them done, in {todo.run}", highlight=False, soft_wrap=True)
    records = launch(todo.run, todo.missing, todo.configs, todo.setup, todo.slots, console)
    return any(record["status"] == "crashed" for record in records.values())


def sweep(arguments: list[str]) -> int:
    options = rehearsed(sweep_parser().parse_args(arguments))
    from engine import judges as scoring
    from engine import plan
    from engine.studies import sweep as sweeping
    from reports import load, terminal
    from reports import sweep as outcome
    from reports.columns import selectable

    sweeping.complete(options)
    plan.check_names(options)
    judges, console = scoring.judges_of(options.suite, options.clip, options.clip2), Console()
    names.known("metric", options.select, selectable(scoring.needs_of(options.suite, scoring.required(judges))))
    todo = plan.plan(options, console, sweeping.rows(options))
    crashed = carried_out(todo, console)
    _, scored = score_missing(todo.run, options.suite, judges, options.device, console)
    frames = outcome.only(load(todo.run), {job.path.parts for job in todo.jobs})
    for line in terminal.troubles(frames):
        console.print(line, style="yellow", highlight=False, markup=False)
    found = outcome.table(frames, sweeping.settings(todo), options.select)
    outcome.write(todo.run, found, options.select, sweeping.facts(todo, options))
    outcome.show(found, options.select, console)
    for name in ("sweep.md", "sweep.csv", "best.json"):
        console.print(str(todo.run / name), highlight=False, soft_wrap=True)
    return int(crashed or bool(scored.bad))


def score(arguments: list[str]) -> int:
    options = score_parser().parse_args(arguments)
    from engine import judges as scoring

    suite = scoring.suite_of(options.run, options.suite)
    judges = scoring.judges_of(suite, options.clip, options.clip2)
    return int(not score_and_report(options.run, suite, judges, options.device, Console()))


def score_and_report(run: Path, suite: str, judges: Judges, device: str, console: Console) -> bool:
    """Score what is not scored yet, then write and print the tables; returns whether all could be scored."""
    truth, scored = score_missing(run, suite, judges, device, console)
    report(run, console, truth, bool(scored.fresh))
    return not scored.bad


def score_missing(run: Path, suite: str, judges: Judges, device: str, console: Console) -> tuple[Truth | None, Scored]:
    """Score what is not scored yet, draw each job's views, and say what could not be scored; returns the true views,
    and what was scored."""
    from engine import judges as scoring
    from eval import views
    from eval.score import score_run
    from reports.figures import contact_sheet, turntable

    truth = scoring.truth_of(run, suite)
    scorer = scoring.scorer_of(suite, judges, truth, device)
    for line in scoring.remarks(judges, scorer):
        console.print(line, style="yellow", highlight=False, soft_wrap=True)
    with console.status("Scoring") as status:
        scored = score_run(run, scorer, lambda job, _: status.update(f"Scored {job.relative_to(run)}"))
        for job in filter(views.has_pictures, scored.fresh):
            contact_sheet(job)
            turntable(job)
    for reason in scored.bad.values():
        say(console, reason, "red")
    return truth, scored


def report(run: Path, console: Console, truth: Truth | None, new: bool) -> None:
    """Write the tables and, where something is new, the figure of a run; print the table and where it all lies."""
    import reports
    from reports import figures, terminal, write
    from reports.measures import measures

    frames, order = reports.load(run), list(names.RECIPES)
    table = write.tables(run, frames, order)
    figure = run / "comparison.png"
    if new or not figure.exists():
        figures.comparison(run, frames, order, truth)
    glance = measures(run, frames, order)
    terminal.show(frames, table, console)
    for file in (figure, glance, run / "table.md", run / "table.csv", run / "table.tex", run / "scores.csv"):
        console.print(str(file), highlight=False, soft_wrap=True)


def table(arguments: list[str]) -> int:
    options = table_parser().parse_args(arguments)
    run = options.run
    if options.compare is not None:
        names.known("comparison", options.compare, ("published",))
        from reports import compare

        compare.report(run, list(names.RECIPES), Console())
        return 0
    from engine import judges as scoring

    report(run, Console(), scoring.truth_of(run, scoring.recipe_of(run).get("suite", "")), new=False)
    return 0


def check(arguments: list[str]) -> int:
    options = check_parser().parse_args(arguments)
    from reports import gate

    if options.update:
        gate.save_reference(options.run, options.baseline, gate.margins(options.baseline))
        print(options.baseline)
        return 0
    rows, passed = gate.check(options.run, options.baseline)
    gate.show(rows, passed, Console())
    return int(not passed)


def ablate(arguments: list[str]) -> int:
    options = ablate_parser().parse_args(arguments)
    names.known("ablation", options.name, names.ABLATIONS)
    if options.prompts:
        select("world", options.prompts)
    from engine import judges as scoring
    from engine.studies import ablate
    from reports import ablations

    console = Console()
    run, labels, whole = ablate.run(options, console)
    files, table = ablations.write(options.name, run, labels, scoring.WORLD_CLIP)
    ablations.show(table, console)
    for file in files:
        console.print(str(file), highlight=False, soft_wrap=True)
    return int(not whole)


def list_names(arguments: list[str]) -> int:
    Parser("run_benchmark.py list", description="All names that the command line knows.").parse_args(arguments)
    tables = {
        "suites": names.SUITES,
        "tracks": names.TRACKS,
        "methods": names.RECIPES,
        "priors": names.PRIORS,
        "ablations": names.ABLATIONS,
    }
    for title, table in tables.items():
        print(title, *(f"  {name:16}{line}" for name, line in table.items()), "", sep="\n")
    for suite in names.SUITES:
        print(f"prompts of {suite}", *(f"  {prompt.id:45}{prompt.text}" for prompt in load(suite)), "", sep="\n")
    return 0


def fetch(arguments: list[str]) -> int:
    from engine.weights import fetch

    return fetch.main(arguments, Parser, Console())


def doctor(arguments: list[str]) -> int:
    from commands import doctor

    return doctor.main(arguments, Parser, Console())


def bench(arguments: list[str]) -> int:
    from engine import bench

    return bench.main(arguments, Parser, Console())


COMMANDS = {
    "run": run,
    "sweep": sweep,
    "list": list_names,
    "score": score,
    "table": table,
    "check": check,
    "ablate": ablate,
    "fetch": fetch,
    "doctor": doctor,
    "bench": bench,
}


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    command, rest = "run", arguments
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # the bars here are of jobs, not of files
    try:
        if arguments and not arguments[0].startswith("-"):
            command, rest = names.known("command", arguments[0], COMMANDS), arguments[1:]
        return COMMANDS[command](rest)
    except UserError as error:
        print(f"run_benchmark.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. Nothing is lost: the same command goes on from here.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
