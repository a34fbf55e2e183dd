"""`run_benchmark.py [run]`: from prompts to a table."""

from __future__ import annotations

from commands.options import Parser, add_settings, request_of
from engine.request import Request
from names import RECIPES, is_outside, known
from say import Console, say

DESCRIPTION = """Take text-to-3D score distillation from prompt to table.

Without arguments: a first look, two methods on four prompts of the world's suite."""

EPILOG = """examples
  run_benchmark.py                                             the first look
  run_benchmark.py --methods sdi sds sds-anneal --prompts all  a table of the world's suite
  run_benchmark.py --prompts "A ripe strawberry" --seeds 0 1 2
  run_benchmark.py doctor                                      what the paper's suite lacks on this machine
  run_benchmark.py fetch                                       fetch the weights that it needs
  run_benchmark.py --suite paper --rehearse                    the paper's suite in small, on whatever there is
  run_benchmark.py --suite paper                               the paper's suite, on a GPU
  run_benchmark.py --methods sds my_rule.py:MyRule             a rule of your own (docs/your-own-rule.md)
  run_benchmark.py --suite paper --methods sdi --external threestudio-sdi=~/threestudio
                                                               an engine of others, in the same table
  run_benchmark.py --budget nfe=2000                           equal calls of the U-Net for all methods
  run_benchmark.py sweep sds --cfg 5 7.5 20 --lr 0.005 0.01    tune a method, on prompts kept apart
  run_benchmark.py list                                        all methods, prompts, suites, tracks, priors
  run_benchmark.py render RUN --views 120                      render a run's scenes again, without training
  run_benchmark.py score RUN                                   score a run's views again
  run_benchmark.py evaluate PATH                               score renders, turntables and meshes made elsewhere
  run_benchmark.py --suite paper --executor ray                its jobs on a Ray cluster (docs/cluster.md)
  run_benchmark.py --out s3://BUCKET/NAME                      shared by all machines that say so (docs/stores.md)
  run_benchmark.py status RUN --watch                          how far a run is, and who works at it
  run_benchmark.py table RUN                                   print and write the tables of a scored run
  run_benchmark.py table RUN --compare published               beside published tables
  run_benchmark.py report RUN                                  a page of it, to look at and to publish
  run_benchmark.py compare RUN theirs.zip table-1              runs, packs and published tables side by side
  run_benchmark.py pack RUN                                    a run as one archive, to hand around
  run_benchmark.py merge RUN theirs --out results/runs/all     several runs of one protocol as one
  run_benchmark.py export RUN                                  its scenes as meshes (GLB) and videos (MP4)
  run_benchmark.py view RUN                                    its scenes live, in this machine's browser
  run_benchmark.py serve results/runs                          the pages of all runs, to this machine's browser
  run_benchmark.py tensorboard RUN                             what its jobs logged, for TensorBoard
  run_benchmark.py bench --quick                               what the kernels are worth here, and where time goes
  run_benchmark.py check RUN --baseline REF                    exit 1 where scores left the reference's margin
  run_benchmark.py verify RUN                                  may it claim closed results, or only open ones
  run_benchmark.py ablate kappa                                one of the paper's ablations: see ablate --help

results
  results/runs/SUITE-TRACK/table.md, table.csv, table.tex, comparison.png, scores.csv
  results/runs/SUITE-TRACK/<method>/<prompt>/<seed>/           scene, views, log, record of a job

The same command again finishes only what is missing. Exit codes: 0 done, 1 a job crashed or a check failed,
2 the command cannot be carried out, 130 stopped."""


def parser() -> Parser:
    made = Parser("[run]", DESCRIPTION, EPILOG)
    made.add_argument("--methods", nargs="+", metavar="NAME",
                      help="names, or FILE.py:CLASS for a rule of your own; default: sdi sds")  # fmt: skip
    made.add_argument("--external", nargs="+", default=[], metavar="SPEC",
                      help="engines that are programs of their own: NAME=FOLDER, of those that `list` names with the "
                      "folder of their checkout, or FILE.toml (docs/external-engines.md)")  # fmt: skip
    made.add_argument("--tuned", nargs="+", default=[], metavar="JSON", help="a row for each best.json of a sweep")
    made.add_argument("--prompts", nargs="+", metavar="TEXT",
                      help="all, texts, ids, texts of your own, a FILE of them (.txt, .json, .csv), or a list's name, "
                      "as dreamfusion (`list` has them); default: the first look's four")  # fmt: skip
    add_settings(made)
    return made


def requested(arguments: list[str]) -> Request:
    """Raises UserError for names nobody knows."""
    options = parser().parse_args(arguments)
    request = request_of(options)
    for method in request.methods:
        if not is_outside(method):
            known("method", method, RECIPES)
    return request


def main(arguments: list[str]) -> int:
    request, console = requested(arguments), Console()
    from engine.remote.sharing import shared

    return shared(request.out, console, lambda: carried_out(request, console))


def carried_out(request: Request, console: Console) -> int:
    """The exit code of jobs, scores and tables."""
    from commands.shared import results
    from engine import plan
    from engine.external import jobs as external
    from engine.remote.mirror import name_of
    from engine.scoring import judges

    chosen = judges.judges_of(request.suite, request.clip, request.clip2)
    for line in judges.warnings(request.suite, chosen, request.prompts):
        say(console, line, "yellow")
    others = external.planned(request)
    crashed = False
    if request.methods or request.tuned:
        crashed = results.carried_out(plan.plan(request, console), console)
    crashed |= results.external_done(request, others, console)
    if chosen.clip is None:
        say(console, judges.UNSCORED)
        return int(crashed)
    where = request.where.if_there(console)
    whole = results.score_and_report(request.out, request.suite, chosen, where, console)
    say(console, f"run_benchmark.py report {name_of(request.out)} makes a page of it, to look at.")
    return int(crashed or not whole)
