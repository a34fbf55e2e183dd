"""A recipe: a rule with everything around it.

Times are fractions of progress in [0, 1], so that a recipe of another length keeps its shape. `guidance_weight`
multiplies the rule's gradient on the latents: 1 is DreamFusion's loss, a sum over latents; 1 / (C h w) is the official
SDI's, a mean. In the controlled track it is 1 / RMS(g), measured by `engine.calibrate` and frozen in the tables, so
that rules are compared and not their balance with the regularisers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from methods.base import Method, phi_of, with_fields
from priors.text import ViewWords
from scene import regularizers
from scene.base import SceneConfig
from scene.cameras import CameraRange, Cameras, Render, orbit
from scene.nerf import NeRFConfig
from scene.shading import draw_shading


@dataclass(frozen=True)
class Weight:
    """A weight over progress: `first` until `begin`, linear to `last` at `end`, and 0 after `until`. Where `begin` is
    `end` it steps there: `last` from that very progress on."""

    first: float
    last: float
    begin: float = 0.0
    end: float = 1.0
    until: float = 1.0

    def at(self, progress: float) -> float:
        if progress > self.until:
            return 0.0
        if self.begin == self.end:
            return self.last if progress >= self.end else self.first
        share = min(max((progress - self.begin) / (self.end - self.begin), 0.0), 1.0)
        return self.first + (self.last - self.first) * share


@dataclass(frozen=True)
class Shading:
    """How a training view is lit: albedo alone until a fraction of progress, then at random, with these odds."""

    albedo_until: float = 1.0
    diffuse: float = 0.0
    textureless: float = 0.0

    def draw(self, progress: float, rng: torch.Generator) -> str:
        return "albedo" if progress < self.albedo_until else draw_shading(self.diffuse, self.textureless, rng)


@dataclass(frozen=True)
class Orbit:
    """The views a job is scored from. Angles in degrees, distance in scene units."""

    views: int = 50
    elevation: float = 15.0
    distance: float = 2.0
    fov: float = 40.0
    resolution: int = 64

    def cameras(self) -> Cameras:
        return orbit(self.views, self.elevation, self.distance, self.fov)


# what a recipe calls them, and what of a training view they read
REGULARIZERS: dict[str, Callable[[Render, Cameras], Tensor]] = {
    "orient": lambda render, cameras: regularizers.orient(render),
    "sparsity": lambda render, cameras: regularizers.sparsity(render.opacity),
    "opaque": lambda render, cameras: regularizers.opaque(render.opacity),
    "z-variance": lambda render, cameras: regularizers.z_variance(render),
    "convexity": lambda render, cameras: regularizers.convexity(render),
    "convexity-official": regularizers.convexity_official,
    "emptiness": lambda render, cameras: regularizers.emptiness(render),
}
NEED_NORMALS = {"orient", "convexity", "convexity-official"}


@dataclass(frozen=True)
class Recipe:
    """All settings of a job but its prompt, its seed and its prior. Frozen: equal recipes compute the same."""

    name: str
    method: Method
    guidance_weight: float
    suite: str = "world"
    track: str = "controlled"
    steps: int = 300
    lr: float = 1e-2
    optimizer: str = "adam"  # or "adamax", "adamw"
    batch: int = 1
    resolution: int = 64  # of training renders at last; of a latent scene, they have the prior's
    coarse: tuple[tuple[float, float], ...] = ()  # before a progress, renders have this share of `resolution`
    half: bool = False  # the prior's network in float16 on a GPU
    scene: SceneConfig = field(default_factory=NeRFConfig)
    cameras: CameraRange = field(default_factory=CameraRange)
    words: ViewWords = field(default_factory=ViewWords)  # by which prompts say where cameras stand
    orbit: Orbit = field(default_factory=Orbit)
    shading: Shading = field(default_factory=Shading)
    regularisers: tuple[tuple[str, Weight], ...] = ()

    @cached_property
    def settings(self) -> dict[str, Any]:
        """All of it, as JSON has it: made once, for a run's thousands of jobs share few recipes."""
        settings = asdict(self) | {"rule": type(self.method).__name__}
        settings["scene"]["kind"] = self.scene.kind
        return json.loads(json.dumps(settings))

    @cached_property
    def decides(self) -> str:
        """What of it decides a scene, in JSON: all but the orbit, from where the scene is seen."""
        return json.dumps({name: value for name, value in self.settings.items() if name != "orbit"}, sort_keys=True)

    def resolution_at(self, progress: float) -> int:
        """Of training renders, in pixels along an edge."""
        share = next((share for until, share in self.coarse if progress < until), 1.0)
        return max(round(share * self.resolution), 1)

    def changed(
        self, steps: int | None = None, resolution: int | None = None, views: int | None = None, phi: str | None = None
    ) -> Recipe:
        """The recipe with what the command line overrides; `phi` where a rule has it."""
        around = replace(self.orbit, views=views or self.orbit.views, resolution=resolution or self.orbit.resolution)
        rule = with_fields(self.method, phi=phi) if phi and phi_of(self.method) is not None else self.method
        return replace(
            self, method=rule, steps=steps or self.steps, resolution=resolution or self.resolution, orbit=around
        )
