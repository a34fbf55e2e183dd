"""One method at many settings: a job a setting, a prompt kept apart and a seed (`run_benchmark.py sweep METHOD`)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from engine.machine import commit
from engine.plan import Plan
from engine.recipes.base import Recipe
from engine.recipes.tuned import SCALES
from engine.recipes.variants import Variant, recipe_of, source_of
from engine.request import Request
from methods.base import fields_of

SWEPT = {"cfg": "cfg", "inversion_cfg": "inv", "lr": "lr"}  # and what a row's name calls it


def rows(method: str, **values: Sequence[float] | None) -> list[Variant]:
    """The grid of SWEPT settings, in order; a setting's row is called by what is swept."""
    swept = {key: dict.fromkeys(given) for key in SWEPT if (given := values.get(key))}
    grid = [dict(zip(swept, cell, strict=True)) for cell in itertools.product(*swept.values())]
    return [Variant("-".join(f"{SWEPT[key]}{v:g}" for key, v in cell.items()), method, **cell) for cell in grid]


def settings(todo: Plan) -> dict[str, dict[str, float | None]]:
    """CFG, the inversion's, learning rate and guidance weight of each row, as its jobs have them; None where the rule
    has none."""
    recipes: dict[str, Recipe] = {job.recipe.name: job.recipe for job in todo.jobs}
    return {name: _settings(recipe) for name, recipe in recipes.items()}


def _settings(recipe: Recipe) -> dict[str, float | None]:
    scales = {key: fields_of(recipe.method).get(field) for key, field in SCALES.items()}
    return {**scales, "lr": recipe.lr, "guidance_weight": recipe.guidance_weight}


def facts(todo: Plan, request: Request) -> dict[str, Any]:
    """What best.json says beside the scores; `source` is the checksum of a rule's file."""
    (method,) = request.methods
    made, _ = recipe_of(Variant("", method), request.suite.name, request.track)
    return {
        "method": method,
        "source": source_of(made.method),
        "suite": request.suite.name,
        "track": made.track,
        "scene": request.scene,
        "steps": todo.jobs[0].recipe.steps,
        "prior": todo.checksum,
        "prompts": list(dict.fromkeys(job.prompt.text for job in todo.jobs)),
        "commit": commit(),
        "seeds": list(dict.fromkeys(job.seed for job in todo.jobs)),
    }
