"""A recipe on another kind of scene than its own (`--scene`): what else changes there, a row a kind and a family."""

from __future__ import annotations

from dataclasses import replace
from math import degrees
from typing import Any

import names
from engine.recipes.base import Orbit, Recipe, Shading
from errors import UserError
from scene.cameras import CameraRange
from scene.gaussians import GaussiansConfig
from suites import suite_named

# LucidDreamer's (2311.11284), in whose code ISM and SDI were run for Table 2 (2405.15891): the paper's 5,000 steps; the
# gradient is a tenth of the rule's, a sum over the batch; cameras are those of its first 500 steps
BATCH = 4
LUCIDDREAMER: dict[str, Any] = {
    "scene": GaussiansConfig.paper(),
    "guidance_weight": 0.1 * BATCH,
    "steps": 5_000,
    "lr": 0.005,
    "optimizer": "adam",
    "batch": BATCH,
    "resolution": 512,
    "coarse": (),
    "cameras": CameraRange(
        elevation=(-15.0, 45.0), distance=(5.2, 5.5), fov=(degrees(0.32), degrees(0.60)),
        position_jitter=0.05, target_jitter=0.05, up_jitter=0.01,
    ),
    "orbit": Orbit(distance=3.5, fov=degrees(0.55), resolution=512),
    "shading": Shading(),
    "regularisers": (),
}  # fmt: skip

# by kind of scene and family of recipes; Gaussians have no surface to be lit, and no samples along rays to be regular
AROUND: dict[str, dict[str, dict[str, Any]]] = {
    "gaussians": {
        "controlled": {"scene": GaussiansConfig()},
        "published-small": {
            "scene": GaussiansConfig(), "lr": 1e-2, "optimizer": "adam", "shading": Shading(), "regularisers": (),
        },
        "published": LUCIDDREAMER,
    },
}  # fmt: skip


def on_scene(recipe: Recipe, kind: str | None) -> Recipe:
    """The recipe on a kind of scene; as it is where it has that of its own, or None is asked for.

    Raises UserError where nobody says what is around a rule there."""
    if kind in (None, recipe.scene.kind):
        return recipe
    names.known("scene", str(kind), names.SCENES)
    family = suite_named(recipe.suite).family(recipe.track)
    changes = AROUND.get(str(kind), {}).get(family)
    if changes is None:
        raise UserError(
            f"{recipe.name} of the {recipe.track} track is made for the scene {recipe.scene.kind}, not for {kind}: "
            f"leave --scene away, or give --scene {' or '.join(k for k in AROUND if family in AROUND[k])}."
        )
    return replace(recipe, **changes)
