"""The tuned track: each rule at the setting that its sweep found best, on prompts that no table of tuned settings has.

results/tuned/SUITE/METHOD.json is a sweep's best.json, committed: the setting, and where it comes from (the grid with
its scores, prompts, seeds, steps, the prior's checksum). All else is the recipe of the suite's first track.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.recipes.base import Recipe
from errors import UserError
from files import ROOT, read_json, write_json
from methods.base import with_fields
from names import TUNED
from suites.base import Suite

FOLDER = ROOT / "results" / "tuned"
SCALES = {"cfg": "scale", "inversion_cfg": "inversion_scale"}  # and the rule's field
SETTINGS = (*SCALES, "lr", "guidance_weight")


def place(suite: str, method: str) -> Path:
    return FOLDER / suite / f"{method}.json"


def best_of(path: Path) -> dict[str, Any]:
    """A best.json: of its `best`, SETTINGS; method, suite, track. Raises UserError where it is none."""
    found = read_json(path)
    try:
        found["best"].setdefault("inversion_cfg", None)  # sweeps of before do not say it
        for key in SETTINGS:
            found["best"][key]
        for key in ("method", "suite", "track"):
            found[key]
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is no best.json of a sweep: it lacks {error}.") from error
    return found


def scales_of(settings: Mapping[str, Any]) -> dict[str, float]:
    """The guidance scales of some settings that are stated, by the rule's field."""
    return {field: settings[key] for key, field in SCALES.items() if settings[key] is not None}


def settled(base: Recipe, suite: Suite) -> Recipe:
    """A recipe of the suite's first track, at its tuned setting. Raises UserError where it has none, and where that was
    found for another recipe or on prompts that are not kept apart."""
    path = place(suite.name, base.name)
    if not path.is_file():
        raise UserError(
            f"{base.name} has no tuned settings in the {suite.name} suite: run_benchmark.py sweep {base.name} "
            f"--suite {suite.name} --lr 0.005 0.01 0.02 --keep finds some, or run it on another --track."
        )
    found = best_of(path)
    if (found["method"], found["suite"], found["track"]) != (base.name, suite.name, suite.track):
        raise UserError(f"{path} is of {found['method']} in the {found['suite']} suite's {found['track']} track.")
    if not {*found.get("prompts", "?")} <= {prompt.text for prompt in suite.tuned_on}:
        raise UserError(f"{path} was not found on the prompts that are kept apart: sweep {base.name} again.")
    best = found["best"]
    rule = with_fields(base.method, **scales_of(best))
    return replace(base, method=rule, lr=best["lr"], guidance_weight=best["guidance_weight"], track=TUNED)


def refuse_other_prior(suite: str, methods: tuple[str, ...], checksum: str) -> None:
    """Raise UserError where a rule was tuned with another prior than the one of that checksum."""
    for method in methods:
        if best_of(place(suite, method)).get("prior") != checksum:
            raise UserError(f"{method} was tuned with another prior: give the suite's own, or another --track.")


def refuse_unkept(suite: Suite, track: str, method: str, scene: str | None, built_in: bool) -> None:
    """Raise UserError where a sweep's outcome could not be the tuned track's."""
    if not built_in or track != suite.track or scene:
        raise UserError(
            f"--keep takes what was found for a method of `list` on its own scene in the {suite.track} track: "
            "give the others' best.json to --tuned."
        )


def keep(best: Path, suite: str, method: str) -> Path:
    """Put a sweep's best.json where the tuned track reads it."""
    path = place(suite, method)
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_json(path, best_of(best))
