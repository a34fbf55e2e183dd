"""The kinds of scenes, and the only list of them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from scene.base import SceneConfig
from scene.canvas import CanvasConfig
from scene.gaussians import GaussiansConfig
from scene.nerf import NeRFConfig
from scene.voxels import VoxelConfig

SCENES: dict[str, type[SceneConfig]] = {
    made.kind: made for made in (NeRFConfig, VoxelConfig, CanvasConfig, GaussiansConfig)
}


def config_of(settings: dict[str, Any]) -> SceneConfig:
    """The sizes that a job's settings state. Raises KeyError for a kind that is not known, TypeError for other fields.

    Jobs of before kinds were written down tell theirs by their fields."""
    values = dict(settings)
    kind = values.pop("kind", None)
    if kind is None:
        kind = next((k for k, made in SCENES.items() if {f.name for f in fields(made)} >= set(values)), None)  # type: ignore[arg-type]
    return SCENES[str(kind)](**values)
