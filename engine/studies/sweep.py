"""One method at many settings: a job a setting, a prompt kept apart and a seed (`run_benchmark.py sweep METHOD`)."""

from __future__ import annotations

import itertools
from argparse import Namespace
from typing import Any

from engine.plan import Plan, default_name, track_of
from engine.recipes.base import Recipe
from engine.recipes.variants import Variant, name_of, recipe_of, source_of
from errors import UserError
from files import ROOT
from methods.base import fields_of
from names import SUITES, known
from prompts import held_out


def rows(options: Namespace) -> list[Variant]:
    """The grid of `--cfg` and `--lr`, in order; a setting's row is called by what is swept."""
    chosen = {"cfg": dict.fromkeys(options.cfg or ()), "lr": dict.fromkeys(options.lr or ())}
    swept = {key: values for key, values in chosen.items() if values}
    grid = [dict(zip(swept, values, strict=True)) for values in itertools.product(*swept.values())]
    return [Variant("-".join(f"{key}{v:g}" for key, v in cell.items()), options.method, **cell) for cell in grid]


def complete(options: Namespace) -> None:
    """Fill in what the sweep decides: its prompts, and its folder unless given. Raises UserError for an empty grid."""
    if not (options.cfg or options.lr):
        raise UserError("There is nothing to sweep: give --cfg or --lr some values.")
    known("suite", options.suite, SUITES)
    options.methods, options.tuned = [options.method], []
    options.prompts = [prompt.text for prompt in held_out(options.suite)]
    track = track_of(options)
    parts = ("sweep", name_of(options.method), default_name(options, track))
    options.out = options.out or str(ROOT / "results" / "runs" / "-".join(parts))


def settings(todo: Plan) -> dict[str, dict[str, float | None]]:
    """CFG, learning rate and guidance weight of each row, as its jobs have them."""
    recipes: dict[str, Recipe] = {job.recipe.name: job.recipe for job in todo.jobs}
    return {name: {"cfg": scale(r), "lr": r.lr, "guidance_weight": r.guidance_weight} for name, r in recipes.items()}


def scale(recipe: Recipe) -> float | None:
    """The rule's CFG; None where it has none."""
    return fields_of(recipe.method).get("scale")


def facts(todo: Plan, options: Namespace) -> dict[str, Any]:
    """What best.json says beside the scores; `source` is the checksum of a rule's file."""
    made, _ = recipe_of(Variant("", options.method), options.suite, track_of(options))
    return {
        "method": options.method,
        "source": source_of(made.method),
        "suite": options.suite,
        "track": made.track,
        "steps": todo.jobs[0].recipe.steps,
        "prior": todo.checksum,
        "prompts": list(dict.fromkeys(job.prompt.text for job in todo.jobs)),
        "seeds": list(dict.fromkeys(job.seed for job in todo.jobs)),
    }
