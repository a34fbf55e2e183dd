"""The recipes, as tables that read down. A recipe's name is what `--methods` takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import names
from engine.recipes.base import Orbit, Recipe, Shading, Weight
from errors import UserError
from methods.base import Method
from methods.csd import CSD
from methods.esd import ESD
from methods.hifa import HiFA
from methods.ism import ISM
from methods.nfsd import NFSD
from methods.sdi import SDI
from methods.sdi_kappas import SDIKappa
from methods.sdi_official import SDIOfficial
from methods.sds import SDS
from methods.sjc import SJC
from methods.vsd import VSD
from scene.cameras import CameraRange
from scene.nerf import NeRFConfig
from scene.voxels import VoxelConfig

# name            rule, at its published CFG
RULES: dict[str, Method] = {
    "sdi":          SDI(),
    "sdi-official": SDIOfficial(),
    "sds":          SDS(),
    "sds-cfg7.5":   SDS(scale=7.5),
    "sds-anneal":   SDIKappa("random"),
    "sjc":          SJC(),
    "vsd":          VSD(),
    "esd":          ESD(),
    "hifa":         HiFA(),
    "ism":          ISM(),
    "nfsd":         NFSD(),
    "csd":          CSD.stage1(),
}  # fmt: skip

# phi has 300 steps to learn in the world, where it has 25,000 in its papers, and the world's U-Net has attention at its
# lowest resolution alone
WORLD_PHI: dict[str, Any] = {"lr": 3e-3, "samples": 4, "adapt": "everywhere"}

# the same, where the prior's view words take the place of Perp-Neg, and no word is known for a bad picture: without a
# negative prompt NFSD's delta_D is 0 above t = 200, and CSD is its pure form
WORLD_RULES: dict[str, Method] = {
    "sdi":          SDI(perp_neg=False),
    "sdi-official": SDIOfficial(perp_neg=False),
    "sds":          SDS(),
    "sds-cfg7.5":   SDS(scale=7.5),
    "sds-anneal":   SDIKappa("random", perp_neg=False),
    "sjc":          SJC(),
    "vsd":          VSD(**WORLD_PHI),
    "esd":          ESD(**WORLD_PHI),
    "hifa":         HiFA(),
    "ism":          ISM(negative=""),
    "nfsd":         NFSD(negative=""),
    "csd":          CSD(),
}  # fmt: skip

# name            1 / RMS(g) over the first 50 steps of "A ripe strawberry", seed 0, with the world's prior
WORLD_WEIGHTS = {
    "sdi":           0.401,
    "sdi-official":  0.425,
    "sds":           0.101,
    "sds-cfg7.5":    1.38,
    "sds-anneal":    0.216,
    "sjc":           0.0534,
    "vsd":           1.10,
    "esd":           1.10,
    "hifa":          0.104,
    "ism":           3.48,
    "nfsd":          1.34,
    "csd":           10.1,
}  # fmt: skip

WORLD_LIGHT = (("sparsity", Weight(0.01, 0.01)), ("opaque", Weight(0.01, 0.01)))

# threestudio's dreamfusion-sd and sdi: steps of 10,000 as fractions
DREAMFUSION = (("orient", Weight(10.0, 1000.0, end=0.5)), ("sparsity", Weight(1.0, 1.0)))
OFFICIAL_SDI = (
    ("orient", Weight(0.1, 0.1)),
    ("sparsity", Weight(0.15, 0.0, end=0.3)),
    ("opaque", Weight(0.1, 0.1)),
    ("z-variance", Weight(1.0, 1.0)),
)
CONVEX_PAPER = ("convexity", Weight(0.1, 0.1, until=0.4))
CONVEX_CODE = ("convexity-official", Weight(1.0, 0.1, end=0.4))
SHADING_SDS = Shading(albedo_until=0.2, diffuse=0.375, textureless=0.375)
SHADING_SDI = Shading(albedo_until=0.1, diffuse=0.075, textureless=0.225)

# VSD's own losses, HiFA's, SJC's, and those of CSD's first stage; NFSD publishes none: DreamFusion's
VSD_COARSE = (("sparsity", Weight(10.0, 10.0)), ("opaque", Weight(0.0, 1000.0, begin=0.3999, end=0.4)))
HIFA = (("sparsity", Weight(1.0, 1.0)), ("z-variance", Weight(100.0, 100.0)))
EMPTINESS = (("emptiness", Weight(1e4, 2e5, begin=0.4999, end=0.5)),)
CSD_COARSE = (("orient", Weight(1.0, 100.0, end=0.5)), ("sparsity", Weight(10.0, 1.0, end=0.5)))
SHADING_CSD = Shading(albedo_until=0.5, textureless=0.5)
UNLIT = Shading()

PAPER_CAMERAS = CameraRange(
    distance=(1.5, 2.0), fov=(40.0, 70.0), position_jitter=0.1, target_jitter=0.2, up_jitter=0.02
)
NEAR_CAMERAS = CameraRange(distance=(1.0, 1.5), fov=(40.0, 70.0))
SJC_CAMERAS = CameraRange(distance=(1.5, 1.5), fov=(40.0, 70.0))
PAPER_SCENE = NeRFConfig.paper()
NEAR_SCENE = replace(PAPER_SCENE, radius=1.0, start_levels=16)
VSD_SCENE = replace(NEAR_SCENE, mlp_lr=0.1)


@dataclass(frozen=True)
class Published:
    """What the authors of a rule put around it. `loss` is the weight of a gradient that is a sum over latents and a
    mean over the batch: "sum", or "mean" over latents as well, or "batch": a sum over both."""

    loss: Literal["sum", "mean", "batch"]
    shading: Shading
    resolution: int
    regularisers: tuple[tuple[str, Weight], ...]
    steps: int = 10_000
    batch: int = 1
    lr: float = 1e-2
    optimizer: str = "adam"
    half: bool = True
    cameras: CameraRange = PAPER_CAMERAS
    scene: NeRFConfig | VoxelConfig = PAPER_SCENE

    def weight(self, latents: int, batch: int) -> float:
        return {"sum": 1.0, "mean": 1 / latents, "batch": float(batch)}[self.loss]


# name            loss, shading, render, regularisers, and what else is not DreamFusion's
PUBLISHED = {
    "sdi":          Published("mean", SHADING_SDI, 512, (*OFFICIAL_SDI, CONVEX_PAPER)),
    "sdi-official": Published("mean", SHADING_SDI, 512, (*OFFICIAL_SDI, CONVEX_CODE)),
    "sds":          Published("sum", SHADING_SDS, 64, DREAMFUSION),
    "sds-cfg7.5":   Published("sum", SHADING_SDS, 64, DREAMFUSION),
    "sds-anneal":   Published("mean", SHADING_SDI, 512, (*OFFICIAL_SDI, CONVEX_PAPER)),
    "sjc":          Published("sum", UNLIT, 64, EMPTINESS, lr=0.05, optimizer="adamax", cameras=SJC_CAMERAS,
                              scene=VoxelConfig()),
    "vsd":          Published("sum", UNLIT, 512, VSD_COARSE, steps=25_000, optimizer="adamw", half=False,
                              cameras=NEAR_CAMERAS, scene=VSD_SCENE),
    "esd":          Published("sum", UNLIT, 512, VSD_COARSE, steps=25_000, optimizer="adamw", half=False,
                              cameras=NEAR_CAMERAS, scene=VSD_SCENE),
    "hifa":         Published("sum", UNLIT, 512, HIFA, steps=25_000, cameras=NEAR_CAMERAS, scene=NEAR_SCENE),
    "ism":          Published("batch", UNLIT, 512, (), steps=5_000, batch=4),
    "nfsd":         Published("sum", SHADING_SDS, 64, DREAMFUSION),
    "csd":          Published("sum", SHADING_CSD, 64, CSD_COARSE),
}  # fmt: skip
LATENTS = {"world": 8 * 16 * 16, "paper": 4 * 64 * 64}

# SJC's at the world's size. Its emptiness is a mean over samples, of which there are 50 times fewer; what lies behind
# moves as far in 300 steps as in 10,000.
WORLD_VOXELS = VoxelConfig(channels=8, size=32, radius=0.6, background_lr=0.07)
WORLD_EMPTINESS = (("emptiness", Weight(200.0, 4000.0, begin=0.4999, end=0.5)),)


def world_controlled(name: str) -> Recipe:
    return Recipe(name, WORLD_RULES[name], WORLD_WEIGHTS[name], regularisers=WORLD_LIGHT)


def world_paper(name: str) -> Recipe:
    """Each rule's published loss, shading and regularisers, at the world's size and length, without words for a bad
    picture, which the world's prior has not learnt."""
    rule, published = RULES[name], PUBLISHED[name]
    rule = replace(rule, **WORLD_PHI) if isinstance(rule, VSD | ESD) else rule
    voxels = isinstance(published.scene, VoxelConfig)
    return Recipe(
        name,
        replace(rule, **{"negative": ""}) if rule.negative else rule,
        guidance_weight=published.weight(LATENTS["world"], batch=1),
        track="paper",
        lr=published.lr,
        optimizer=published.optimizer,
        scene=WORLD_VOXELS if voxels else NeRFConfig(),
        shading=published.shading,
        regularisers=WORLD_EMPTINESS if voxels else published.regularisers,
    )


def paper_paper(name: str) -> Recipe:
    published = PUBLISHED[name]
    return Recipe(
        name,
        RULES[name],
        guidance_weight=published.weight(LATENTS["paper"], published.batch),
        suite="paper",
        track="paper",
        steps=published.steps,
        lr=published.lr,
        optimizer=published.optimizer,
        batch=published.batch,
        resolution=published.resolution,
        half=published.half,
        scene=published.scene,
        cameras=published.cameras,
        orbit=Orbit(distance=published.cameras.distance[1], fov=70.0, resolution=512),
        shading=published.shading,
        regularisers=published.regularisers,
    )


TABLES: dict[tuple[str, str], Callable[[str], Recipe]] = {
    ("world", "controlled"): world_controlled,
    ("world", "paper"): world_paper,
    ("paper", "paper"): paper_paper,
}


def recipe(suite: str, track: str, name: str) -> Recipe:
    """The recipe of that name in a suite's track. Raises UserError with the nearest names."""
    names.known("suite", suite, names.SUITES)
    names.known("track", track, names.TRACKS)
    names.known("method", name, RULES)
    if (suite, track) not in TABLES:
        raise UserError(
            f"The {suite} suite has no {track} track: its gradients have not been measured; use --track paper."
        )
    return TABLES[suite, track](name)
