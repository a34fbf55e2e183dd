"""The rows of a run: a method as the command line names it, and what of its recipe is set otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import names
from engine.recipes import outside
from engine.recipes.base import Recipe
from engine.recipes.tables import TABLE, recipe
from engine.recipes.tuned import SCALES, SETTINGS, best_of, scales_of
from errors import UserError
from methods.base import Method, fields_of, phi_of, with_fields


@dataclass(frozen=True)
class Variant:
    """`name` is its row's and its folder's, `method` what `--methods` takes; None leaves the recipe's own."""

    name: str
    method: str
    cfg: float | None = None
    inversion_cfg: float | None = None  # of DDIM inversion
    lr: float | None = None  # of the scene
    guidance_weight: float | None = None


def named(
    methods: Sequence[str], tuned: Sequence[str], suite: str, track: str, scene: str | None = None
) -> list[Variant]:
    """Those of `--methods`, then those of `--tuned`. Raises UserError for rules that would share a row."""
    chosen = [Variant(name_of(method), method) for method in methods]
    chosen += [read_best(Path(path), suite, track, scene) for path in tuned]
    rows: dict[str, str] = {name.lower(): name for name in names.RECIPES}
    for variant in dict.fromkeys(chosen):
        other = rows.setdefault(variant.name.lower(), variant.method)  # a folder's name may not know case
        if other != variant.method:
            raise UserError(f"The rule {variant.method} would share its row with {other}: rename its class.")
    return list(dict.fromkeys(chosen))


def name_of(method: str) -> str:
    return method.rpartition(":")[2] if names.is_outside(method) else method


def recipe_of(variant: Variant, suite: str, track: str) -> tuple[Recipe, bool]:
    """The recipe, at its own learning rate, and whether its guidance weight is still to be measured: where nobody
    states that of a rule from a file, and where the controlled track's is of another CFG.

    A rule from a file gets what all rules have in the controlled track, and DreamFusion's settings in the paper's.
    Raises UserError for a CFG where the rule has no field of it."""
    if names.is_outside(variant.method):
        if track == names.TUNED:
            raise UserError(f"A rule from a file has no settings in the {track} track: sweep it, and give --tuned.")
        rule = outside.load(variant.method)
        made = replace(recipe(suite, track, "sds"), method=taught(rule, suite, track))
        made = replace(made, guidance_weight=rule.guidance_weight or 1.0)
        unknown = rule.guidance_weight is None
    else:
        made, unknown = recipe(suite, track, variant.method), False
    other = scaled(made.method, variant)
    unknown = unknown or (other != made.method and made.track == "controlled")
    made = replace(made, method=other)
    if variant.guidance_weight is not None:
        made, unknown = replace(made, guidance_weight=variant.guidance_weight), False
    return replace(made, name=variant.name), unknown


def taught(rule: Method, suite: str, track: str) -> Method:
    """A rule with a student, with what the suite changes of VSD's published settings where the rule has these."""
    if phi_of(rule) is None:
        return rule
    own, published, here = fields_of(rule), fields_of(TABLE["vsd"].rule), fields_of(recipe(suite, track, "vsd").method)
    changes = {k: v for k, v in here.items() if v != published[k]}
    return with_fields(rule, **{k: v for k, v in changes.items() if own.get(k) == published[k]})


def scaled(rule: Method, variant: Variant) -> Method:
    """The rule with other guidance scales."""
    wanted = scales_of(vars(variant))
    for key, field in SCALES.items():
        if field in wanted and field not in fields_of(rule):
            option = f"--{key.replace('_', '-')}"
            raise UserError(f"The rule of {variant.method} has no field `{field}`, which {option} sets: sweep what it "
                            "has, as --lr.")  # fmt: skip
    return with_fields(rule, **wanted) if wanted else rule


def source_of(rule: Method) -> str | None:
    """The checksum of the file of a rule that is not built in."""
    return rule.source if isinstance(rule, outside.Outside) else None


def read_best(path: Path, suite: str, track: str, scene: str | None = None) -> Variant:
    """What a sweep found best, from its best.json. Raises UserError where it was of another suite, track, scene or
    source."""
    if not path.is_file():
        raise UserError(f"There is no {path}: --tuned takes the best.json of a sweep.")
    found = best_of(path)
    made = (found["suite"], found["track"])
    variant = Variant(
        f"{name_of(found['method'])}-tuned", found["method"], **{key: found["best"][key] for key in SETTINGS}
    )
    if made != (suite, track):
        raise UserError(f"{path} was found in the {made[0]} suite's {made[1]} track, not in this run's.")
    if found.get("scene") != scene:
        here, there = (s or "the recipe's own scene" for s in (scene, found.get("scene")))
        raise UserError(f"{path} was found on {there}, and this run is on {here}: give the sweep the same --scene.")
    if found.get("source") != source_of(recipe_of(Variant(variant.name, variant.method), suite, track)[0].method):
        raise UserError(f"{variant.method} was edited after the sweep of {path}: sweep it again.")
    return variant
