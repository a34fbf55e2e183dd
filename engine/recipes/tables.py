"""The recipes: one table that reads down, a row a recipe, and the families that make recipes of its rows.

controlled        one scene, light and length for all rules, at the world's size: only the rule and its weight differ
published-small   each rule's published loss, shading and regularisers, at the world's size and length
published         each rule as its authors run it
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, Literal

import names
from engine.recipes.base import Orbit, Recipe, Shading, Weight
from engine.recipes.tuned import settled
from methods.base import Method, phi_of, with_fields
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
from priors.text import ViewWords
from scene.cameras import CameraRange
from scene.nerf import NeRFConfig
from scene.voxels import VoxelConfig
from suites import suite_named

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
SHADING_SDS = Shading(albedo_until=2_001 / 10_000, diffuse=0.375, textureless=0.375)
SHADING_SDI = Shading(albedo_until=0.1, diffuse=0.075, textureless=0.225)

# VSD's own losses, HiFA's, SJC's, and those of CSD's first stage; NFSD publishes none: DreamFusion's
# (threestudio's [5000, a, b, 5001] is a at step 5,000, and b from step 5,001 on)
LATE, OPAQUE_FROM = 5_001 / 25_000, 10_001 / 25_000  # of VSD
HALF = 5_001 / 10_000  # of SJC, and of CSD
VSD_COARSE = (("sparsity", Weight(10.0, 10.0)), ("opaque", Weight(0.0, 1000.0, begin=OPAQUE_FROM, end=OPAQUE_FROM)))
HIFA = (("sparsity", Weight(1.0, 1.0)), ("z-variance", Weight(100.0, 100.0)))
EMPTINESS = (("emptiness", Weight(1e4, 2e5, begin=HALF, end=HALF)),)
CSD_COARSE = (("orient", Weight(1.0, 100.0, end=0.5)), ("sparsity", Weight(10.0, 1.0, end=0.5)))
SHADING_CSD = Shading(albedo_until=HALF, textureless=0.5)
UNLIT = Shading()

PAPER_CAMERAS = CameraRange(
    distance=(1.5, 2.0), fov=(40.0, 70.0), position_jitter=0.1, target_jitter=0.2, up_jitter=0.02
)
NEAR_CAMERAS = CameraRange(distance=(1.0, 1.5), fov=(40.0, 70.0))
SJC_CAMERAS = CameraRange(distance=(1.5, 1.5), fov=(40.0, 70.0))
CSD_CAMERAS = CameraRange(distance=(1.5, 2.0), fov=(40.0, 70.0))
PAPER_SCENE = NeRFConfig.paper()
NEAR_SCENE = replace(PAPER_SCENE, radius=1.0, start_levels=16, coloured=0.5, mlp_lr=0.1)
CSD_SCENE = replace(PAPER_SCENE, radius=1.0, levels=12, start_levels=12, finest=512, coloured=0.5, background_lr=1.0)
BEHIND, BEFORE, NARROW = ViewWords(), ViewWords(before=True), ViewWords(front=30.0, back=30.0)


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
    coarse: tuple[tuple[float, float], ...] = ()
    cameras: CameraRange = PAPER_CAMERAS
    words: ViewWords = BEHIND
    elevation: float = 15.0  # of the scored views
    scene: NeRFConfig | VoxelConfig = PAPER_SCENE

    def weight(self, latents: int, batch: int) -> float:
        return {"sum": 1.0, "mean": 1 / latents, "batch": float(batch)}[self.loss]


MEASURED_ON = "6fbaa781233f7111"  # begins the checksum of the world's prior


@dataclass(frozen=True)
class Row:
    """A recipe in words (which `names` reads without torch), its rule at its published settings, what its authors put
    around it; its guidance weight in the world, and what the rule's settings are there.

    The weight is 1 / RMS(g) over the first 50 steps of "A ripe strawberry", seed 0, with the prior MEASURED_ON."""

    words: str
    rule: Method
    published: Published
    weight: float
    world: dict[str, Any] = field(default_factory=dict)


PROLIFICDREAMER = Published(
    "sum", UNLIT, 512, VSD_COARSE, steps=25_000, optimizer="adamw",
    coarse=((5_000 / 25_000, 64 / 512),), cameras=NEAR_CAMERAS, words=NARROW, scene=NEAR_SCENE,
)  # fmt: skip

# phi has 300 steps to learn in the world, where it has 25,000 in its papers, and the world's U-Net has attention at its
# lowest resolution alone
WORLD_PHI: dict[str, Any] = {"lr": 3e-3, "samples": 4, "adapt": "everywhere", "late_from": 0.2}

# SJC's at the world's size. Its emptiness is a mean over samples, of which there are 50 times fewer; what lies behind
# moves as far in 300 steps as in 10,000.
WORLD_VOXELS = VoxelConfig(channels=8, size=32, radius=0.6, step=0.5, background_lr=0.07)
WORLD_EMPTINESS = (("emptiness", Weight(110.0, 2200.0, begin=0.5, end=0.5)),)

# in the world the prior's view words take the place of Perp-Neg, and no word is known for a bad picture: without a
# negative prompt NFSD's delta_D is 0 above t = 200, and CSD is its pure form
NO_PERP_NEG, NO_NEGATIVE, PURE = {"perp_neg": False}, {"negative": ""}, vars(CSD())

# name: words; rule, at its published CFG; loss, shading, render, regularisers, and what else is not DreamFusion's
TABLE: dict[str, Row] = {
    "sdi": Row(
        "score distillation via inversion, the paper's algorithm 2 (2405.15891)",
        SDI(),
        Published("mean", SHADING_SDI, 512, (*OFFICIAL_SDI, CONVEX_PAPER)),
        0.943, NO_PERP_NEG,
    ),
    "sdi-official": Row(
        "the same as its official code computes it",
        SDIOfficial(),
        Published("mean", SHADING_SDI, 512, (*OFFICIAL_SDI, CONVEX_CODE)),
        0.904, NO_PERP_NEG,
    ),
    "sds": Row(
        "DreamFusion's score distillation at its published CFG of 100, 101 in this project's form (2209.14988)",
        SDS(),
        Published("sum", SHADING_SDS, 64, DREAMFUSION),
        0.362,
    ),
    "sds-cfg7.5": Row(
        "the same at SDI's CFG of 7.5",
        SDS(scale=7.5),
        Published("sum", SHADING_SDS, 64, DREAMFUSION),
        4.82,
    ),
    "sds-anneal": Row(
        "SDI with random noise instead of inverted noise: its schedule, its target",
        SDIKappa("random"),
        Published("mean", SHADING_SDI, 512, (*OFFICIAL_SDI, CONVEX_PAPER)),
        0.698, NO_PERP_NEG,
    ),
    "sjc": Row(
        "score Jacobian chaining: SDS with weight 1, in its paper on a voxel grid of latents (2212.00774)",
        SJC(scale=101.0),
        Published(
            "sum", UNLIT, 64, EMPTINESS, lr=0.05, optimizer="adamax",
            cameras=SJC_CAMERAS, words=BEFORE, elevation=20.0, scene=VoxelConfig(),
        ),
        0.211, {"scale": 100.0},
    ),
    "vsd": Row(
        "variational score distillation, ProlificDreamer's rule: a student learns the renders' scores (2305.16213)",
        VSD(late_from=LATE),
        PROLIFICDREAMER,
        4.23, WORLD_PHI,
    ),
    "esd": Row(
        "entropic score distillation: VSD that keeps the views apart (2401.00909)",
        ESD(late_from=LATE),
        PROLIFICDREAMER,
        4.26, WORLD_PHI,
    ),
    "hifa": Row(
        "HiFA: SDS with root-annealed times and an image-space term (2305.18766)",
        HiFA(),
        Published("sum", UNLIT, 512, HIFA, steps=25_000, cameras=NEAR_CAMERAS, scene=NEAR_SCENE),
        0.367,
    ),
    "ism": Row(
        "interval score matching, LucidDreamer's rule (2311.11284)",
        ISM(),
        Published("batch", UNLIT, 512, (), steps=5_000, batch=4),
        11.1, NO_NEGATIVE,
    ),
    "nfsd": Row(
        "noise-free score distillation (2310.17590)",
        NFSD(),
        Published("sum", SHADING_SDS, 64, DREAMFUSION),
        4.51, NO_NEGATIVE,
    ),
    "csd": Row(
        "classifier score distillation, its first stage, on Stable Diffusion where its authors have IF (2310.19415)",
        CSD.stage1(),
        Published(
            "sum", SHADING_CSD, 64, CSD_COARSE, lr=1e-3, cameras=CSD_CAMERAS, words=NARROW, scene=CSD_SCENE
        ),
        36.2, PURE,
    ),
}  # fmt: skip


def controlled(name: str, latents: int) -> Recipe:
    row = TABLE[name]
    return Recipe(name, replace(row.rule, **row.world), row.weight, regularisers=WORLD_LIGHT)


def published_small(name: str, latents: int) -> Recipe:
    """Without words for a bad picture, which the world's prior has not learnt."""
    rule, published = TABLE[name].rule, TABLE[name].published
    rule = with_fields(rule, **WORLD_PHI) if phi_of(rule) is not None else rule
    voxels = isinstance(published.scene, VoxelConfig)
    return Recipe(
        name,
        with_fields(rule, **NO_NEGATIVE) if rule.negative else rule,
        guidance_weight=published.weight(latents, batch=1),
        lr=published.lr if voxels else 1e-2,
        optimizer=published.optimizer,
        scene=WORLD_VOXELS if voxels else NeRFConfig(),
        shading=published.shading,
        regularisers=WORLD_EMPTINESS if voxels else published.regularisers,
    )


def published(name: str, latents: int) -> Recipe:
    row = TABLE[name].published
    return Recipe(
        name,
        TABLE[name].rule,
        guidance_weight=row.weight(latents, row.batch),
        steps=row.steps,
        lr=row.lr,
        optimizer=row.optimizer,
        batch=row.batch,
        resolution=row.resolution,
        coarse=row.coarse,
        half=True,
        scene=row.scene,
        cameras=row.cameras,
        words=row.words,
        orbit=Orbit(elevation=row.elevation, distance=row.cameras.distance[1], fov=70.0, resolution=512),
        shading=row.shading,
        regularisers=row.regularisers,
    )


# by the names that suites give their tracks; of a recipe's name and the number of a latent's values
FAMILIES: dict[str, Callable[[str, int], Recipe]] = {
    "controlled": controlled,
    "published-small": published_small,
    "published": published,
}


def recipe(suite: str, track: str, name: str) -> Recipe:
    """The recipe of that name in a suite's track. Raises UserError with the nearest names."""
    names.known("track", track, names.TRACKS)
    names.known("method", name, TABLE)
    of = suite_named(suite)
    made = replace(FAMILIES[of.family(track)](name, prod(of.latents)), suite=suite, track=track)
    return settled(made, of) if track == names.TUNED else made
