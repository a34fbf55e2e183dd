"""`run_benchmark.py sweep`: one method at many settings."""

from __future__ import annotations

from argparse import Namespace

from commands.options import Parser, above_zero, add_settings, number, request_of
from engine.request import Request
from errors import UserError
from names import RECIPES, TUNED, is_outside, known
from say import Console, say
from suites import suite_named

DESCRIPTION = """Find a method's guidance scales and learning rate, on prompts kept apart from tables of tuned settings.

Every combination is a row: mean of a metric, its error clustered by prompt, and the gap to the best. In the controlled
track the guidance weight of each scale is measured first."""

EPILOG = """example
  run_benchmark.py sweep sds --cfg 5 7.5 20 101 --lr 0.005 0.01 --select iou
  run_benchmark.py --methods sds --tuned results/runs/sweep-sds-world-controlled/best.json --prompts all
  run_benchmark.py sweep sds --cfg 5 7.5 20 101 --select iou --keep
  run_benchmark.py sweep sdi --cfg 5 7.5 --inversion-cfg -7.5 0 --lr 0.005 0.01
  run_benchmark.py --track tuned --methods sds --prompts all         what was kept, for all methods that have it

results
  results/runs/sweep-METHOD-SUITE-TRACK/sweep.md, sweep.csv, best.json (the best setting and its evidence)

The same command again finishes only what is missing; with more values it adds them."""


def parser() -> Parser:
    made = Parser("sweep", DESCRIPTION, EPILOG)
    made.add_argument("method", metavar="METHOD", help="a name of `list`, or FILE.py:CLASS")
    made.add_argument("--cfg", type=number, nargs="+", metavar="S", help="guidance scales; default: the recipe's")
    made.add_argument("--inversion-cfg", type=number, nargs="+", metavar="S",
                      help="those of DDIM inversion, for rules that have one: sdi, sdi-official, ism")  # fmt: skip
    made.add_argument("--lr", type=above_zero, nargs="+", metavar="R", help="learning rates of the scene, likewise")
    made.add_argument("--select", default="clip_score", metavar="METRIC", help="clip_score (default), iou, ...")
    made.add_argument("--keep", action="store_true",
                      help="put best.json under results/tuned, where --track tuned reads it")  # fmt: skip
    add_settings(made)
    return made


def main(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    if not (options.cfg or options.inversion_cfg or options.lr):
        raise UserError("There is nothing to sweep: give --cfg, --inversion-cfg or --lr some values.")
    name = options.method.rpartition(":")[2]
    if not is_outside(options.method):
        known("method", options.method, RECIPES)
    options.methods, options.tuned = [options.method], []
    options.prompts = [prompt.text for prompt in suite_named(options.suite).tuned_on]
    if options.track == TUNED:
        raise UserError("A sweep finds what the tuned track is: give it another --track.")
    request, console = request_of(options, prefix=f"sweep-{name}-"), Console()
    if options.keep:
        from engine.recipes import tuned

        tuned.refuse_unkept(request.suite, request.track, name, request.scene, not is_outside(options.method))
    from engine.remote.sharing import shared

    return shared(request.out, console, lambda: carried_out(request, options, console))


def carried_out(request: Request, options: Namespace, console: Console) -> int:
    """The exit code of jobs, scores and the table of settings."""
    from commands.shared import results
    from engine import plan
    from engine.recipes import tuned
    from engine.scoring import judges
    from engine.studies import sweep
    from reports import load, terminal
    from reports import sweep as outcome
    from reports.columns import selectable

    chosen = judges.judges_of(request.suite, request.clip, request.clip2)
    known("metric", options.select, selectable(judges.needs_of(request.suite, judges.required(chosen))))
    todo = plan.plan(
        request, console, sweep.rows(options.method, **{key: getattr(options, key) for key in sweep.SWEPT})
    )
    crashed = results.carried_out(todo, console)
    where = request.where.if_there(console)
    scored = results.score_missing(todo.run, request.suite, chosen, where, console)
    frames = outcome.only(load(todo.run), {job.path.parts for job in todo.jobs})
    for line in terminal.troubles(frames):
        say(console, line, "yellow")
    found = outcome.table(frames, sweep.settings(todo), options.select)
    outcome.write(todo.run, found, options.select, sweep.facts(todo, request))
    outcome.show(found, options.select, console)
    for file in ("sweep.md", "sweep.csv", "best.json"):
        say(console, todo.run / file)
    if options.keep and not (crashed or scored.bad):
        say(console, tuned.keep(todo.run / "best.json", request.suite.name, options.method))
    return int(crashed or bool(scored.bad))
