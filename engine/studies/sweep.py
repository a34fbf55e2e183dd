"""One method at many settings: a job a setting, a prompt kept apart and a seed (`run_benchmark.py sweep METHOD`)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from engine.machine import commit
from engine.plan import Plan
from engine.recipes.base import Recipe
from engine.recipes.variants import Variant, recipe_of, source_of
from engine.request import Request
from methods.base import fields_of


def rows(method: str, cfg: Sequence[float] | None, lr: Sequence[float] | None) -> list[Variant]:
    """The grid of guidance scales and learning rates, in order; a setting's row is called by what is swept."""
    chosen = {"cfg": dict.fromkeys(cfg or ()), "lr": dict.fromkeys(lr or ())}
    swept = {key: values for key, values in chosen.items() if values}
    grid = [dict(zip(swept, values, strict=True)) for values in itertools.product(*swept.values())]
    return [Variant("-".join(f"{key}{v:g}" for key, v in cell.items()), method, **cell) for cell in grid]


def settings(todo: Plan) -> dict[str, dict[str, float | None]]:
    """CFG, learning rate and guidance weight of each row, as its jobs have them."""
    recipes: dict[str, Recipe] = {job.recipe.name: job.recipe for job in todo.jobs}
    return {name: {"cfg": scale(r), "lr": r.lr, "guidance_weight": r.guidance_weight} for name, r in recipes.items()}


def scale(recipe: Recipe) -> float | None:
    """The rule's CFG; None where it has none."""
    return fields_of(recipe.method).get("scale")


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
