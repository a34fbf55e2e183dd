"""The settings of the official code of each rule, where each is in a recipe of ours, and what it is there.

official.csv has every key of the configurations: those that Table 1 of 2405.15891 was made with (threestudio's own are
equal), CSD's first stage, what ESD changes of ProlificDreamer's, and, as `defaults`, what a configuration leaves to the
code and a recipe has. A key is mapped to fields of a recipe, or has a reason why it is none: no key has neither.
"""

from __future__ import annotations

import ast
import csv
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from math import prod
from pathlib import Path
from typing import Any

from engine.recipes.base import Recipe, Shading, Weight
from engine.training import OPTIMIZERS
from suites.paper import PAPER

Settings = dict[str, Any]
CONFIGS = {  # a recipe's; later ones go before
    "sdi": ("sdi",),
    "sdi-official": ("sdi",),
    "sds": ("dreamfusion-sd",),
    "sjc": ("sjc",),
    "vsd": ("prolificdreamer",),
    "esd": ("prolificdreamer", "esd"),
    "hifa": ("hifa",),
    "csd": ("csd-if",),
}
RULES = {"stable-diffusion-sdi-guidance": "SDIOfficial", "stable-diffusion-vsd-guidance": "VSD"}
RULES |= {"stable-diffusion-guidance": "SDS", "deep-floyd-simple-guidance": "CSD"}


def read() -> dict[str, Settings]:
    """By configuration, the values by their keys."""
    found: dict[str, Settings] = {}
    with (Path(__file__).parent / "official.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            found.setdefault(row["config"], {})[row["key"]] = _value(row["value"])
    return found


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def settings_of(name: str) -> Settings:
    """All of a recipe's, with the defaults of what its configuration leaves out."""
    found = read()
    merged = dict(found["defaults"])
    for config in CONFIGS[name]:
        merged |= found[config]
    return merged


# ---- conversions: of a value, and of all settings


def same(value: Any, of: Settings) -> Any:
    return tuple(value) if isinstance(value, list) else value


def last(value: Any, of: Settings) -> Any:
    return value[-1] if isinstance(value, list) else value


def steps(of: Settings) -> int:
    return of["trainer.max_steps"]


def progress(value: int, of: Settings) -> float:
    return value / steps(of)


def coarse(value: Any, of: Settings) -> Any:
    """64 until step 5,000, then 512: an eighth of the last until .2."""
    return tuple((progress(step, of), of["data.width"][k] / of["data.width"][-1]) for k, step in enumerate(value))


def weight(value: Any, of: Settings) -> Weight | None:
    """[first step, first value, last value, last step], linear between; None for one that is always 0."""
    if not isinstance(value, list):
        return Weight(float(value), float(value)) if value else None
    begin, first, end_value, end = value
    return Weight(first, end_value, begin=progress(end if end == begin + 1 else begin, of), end=progress(end, of))


def pair(value: Any, of: Settings) -> tuple[float, float]:
    """A rule's scale that turns from the first to the last."""
    return (float(value[1]), float(value[2])) if isinstance(value, list) else (float(value), float(value))


def f0(value: float, of: Settings) -> float:
    """eps_c + s (eps_c - eps_u), which the one class of SDS, SJC and HiFA has without Perp-Neg, is s + 1 here."""
    f1 = of["system.guidance_type"] == "stable-diffusion-guidance"
    return value + 1 if f1 and not of["system.prompt_processor.use_perp_neg"] else value


def rule(value: str, of: Settings) -> str:
    if of.get("system.guidance.use_sjc"):
        return "SJC"
    if of.get("system.guidance.use_img_loss"):
        return "HiFA"
    return "ESD" if of.get("system.guidance.guidance_scale_lora", 1.0) != 1.0 else RULES[value]


def times(value: Any, of: Settings) -> tuple[float, float]:
    """From the first time to the last where it falls with progress, else from the least to the greatest."""
    low, high = of["system.guidance.min_step_percent"], of["system.guidance.max_step_percent"]
    high = high[1] if isinstance(high, list) else high
    falls = of.get("system.guidance.t_anneal") or of.get("system.guidance.sqrt_anneal")
    return (high, low) if falls else (low, high)


def loss(value: float, of: Settings) -> float:
    """SDI's is a mean over latents, the others' a sum."""
    return value / prod(PAPER.latents) if of["system_type"] == "sdi-system" else value


def shading(value: str, of: Settings) -> Shading:
    """Unlit, or lit from `ambient_only_steps` on: textureless or diffuse with the two odds' products."""
    if value == "no-material":
        return Shading()
    lit, textureless = of["system.material.diffuse_prob"], of["system.material.textureless_prob"]
    until = progress(of["system.material.ambient_only_steps"], of)
    return Shading(until, lit * (1 - textureless), lit * textureless)


def finest(value: float, of: Settings) -> int:
    grid = "system.geometry.pos_encoding_config."
    return int(of[grid + "base_resolution"] * value ** (of[grid + "n_levels"] - 1) + 1e-6)


def start_levels(value: str, of: Settings) -> int:
    grid = "system.geometry.pos_encoding_config."
    return of[grid + ("start_level" if value == "ProgressiveBandHashGrid" else "n_levels")]


def share(value: float, of: Settings) -> float:
    """A rate as a multiple of the recipe's."""
    params = "system.optimizer.params.geometry."
    return value / of.get(params + "encoding.lr", of.get(params + "lr"))


def one(value: Any, of: Settings) -> float:
    return 1.0


def cells(value: int, of: Settings) -> float:
    """A step along a ray, so many of which are the cube's diagonal, in cells of the grid."""
    return 3**0.5 * of["system.geometry.grid_size"][0] / value


def _of(names: dict[str, str]) -> Callable[[Any, Settings], Any]:
    return lambda value, of: names[value]


@dataclass(frozen=True)
class Field:
    """A field of a recipe by its path, and what the official value is there."""

    path: str
    convert: Callable[[Any, Settings], Any] = same


GRID = "system.geometry.pos_encoding_config."
MAPPED: dict[str, tuple[Field, ...]] = {
    "data.batch_size": (Field("batch", last),),
    "data.width": (Field("resolution", last),),
    "data.height": (Field("resolution", last),),
    "data.resolution_milestones": (Field("coarse", coarse),),
    "data.camera_distance_range": (Field("cameras.distance"),),
    "data.fovy_range": (Field("cameras.fov"),),
    "data.elevation_range": (Field("cameras.elevation"),),
    "data.azimuth_range": (Field("cameras.azimuth"),),
    "data.camera_perturb": (Field("cameras.position_jitter"),),
    "data.center_perturb": (Field("cameras.target_jitter"),),
    "data.up_perturb": (Field("cameras.up_jitter"),),
    "data.eval_camera_distance": (Field("orbit.distance"),),
    "data.eval_fovy_deg": (Field("orbit.fov"),),
    "data.eval_elevation_deg": (Field("orbit.elevation"),),
    "data.eval_height": (Field("orbit.resolution"),),
    "data.eval_width": (Field("orbit.resolution"),),
    "system.geometry_type": (Field("scene.kind", _of({"implicit-volume": "nerf", "volume-grid": "voxels"})),),
    "system.geometry.radius": (Field("scene.radius"),),
    "system.geometry.density_blob_scale": (Field("scene.blob_strength"),),
    "system.geometry.density_blob_std": (Field("scene.blob_radius"),),
    "system.geometry.mlp_network_config.n_neurons": (Field("scene.hidden"),),
    GRID + "otype": (Field("scene.start_levels", start_levels),),
    GRID + "n_levels": (Field("scene.levels"),),
    GRID + "n_features_per_level": (Field("scene.features"),),
    GRID + "log2_hashmap_size": (Field("scene.log2_table"),),
    GRID + "base_resolution": (Field("scene.base"),),
    GRID + "per_level_scale": (Field("scene.finest", finest),),
    GRID + "start_level": (Field("scene.start_levels"),),
    GRID + "start_step": (Field("scene.grow_from", progress),),
    GRID + "update_steps": (Field("scene.grow_every", progress),),
    "system.material_type": (Field("shading", shading),),
    "system.material.ambient_only_steps": (Field("shading.albedo_until", progress),),
    "system.background_type": (Field("scene.background", _of({"neural-environment-map-background": "learned"})),),
    "system.background.random_aug": (Field("scene.coloured", lambda on, of: of[AUGMENTED] if on else 0.0),),
    "system.renderer.radius": (Field("scene.radius", lambda _, of: of["system.geometry.radius"]),),
    "system.renderer.num_samples_per_ray": (Field("scene.samples"),),
    "system.prompt_processor.use_perp_neg": (Field("method.perp_neg"),),
    "system.prompt_processor.front_threshold": (Field("words.front"),),
    "system.prompt_processor.back_threshold": (Field("words.back"),),
    "system.prompt_processor.view_dependent_prompt_front": (Field("words.before"),),
    "system.prompt_processor.negative_prompt": (Field("method.negative"),),
    "system.guidance_type": (Field("rule", rule),),
    "system.guidance.guidance_scale": (Field("method.scale", f0),),
    "system.guidance.guidance_scale_lora": (Field("method.entropy", lambda scale, of: 1 - scale),),
    "system.guidance.half_precision_weights": (Field("half"),),
    "system.guidance.min_step_percent": (Field("method.t_range", times),),
    "system.guidance.max_step_percent": (Field("method.t_range", times),),
    "system.guidance.inversion_guidance_scale": (Field("method.inversion_scale"),),
    "system.guidance.inversion_n_steps": (Field("method.steps"),),
    "system.guidance.inversion_eta": (Field("method.eta"),),
    "system.guidance.use_sjc": (Field("rule", lambda on, of: "SJC"),),
    "system.guidance.use_img_loss": (Field("rule", lambda on, of: "HiFA"),),
    "system.guidance.var_red": (Field("method.variance_reduction"),),
    "system.guidance.cond_scale": (Field("method.c"),),
    "system.guidance.uncond_scale": (Field("method.u", pair), Field("method.until", lambda v, of: progress(v[3], of))),
    "system.guidance.null_scale": (Field("method.n", pair), Field("method.until", lambda v, of: progress(v[3], of))),
    "system.guidance.noise_scale": (Field("method.k"),),
    "system.guidance.perpneg_scale": (Field("method.p"),),
    "system.loss.lambda_sdi": (Field("guidance_weight", loss),),
    "system.loss.lambda_sds": (Field("guidance_weight", loss),),
    "system.loss.lambda_vsd": (Field("guidance_weight", loss),),
    "system.loss.lambda_sds_img": (Field("method.image_weight"),),
    "system.loss.lambda_orient": (Field("regularisers.orient", weight),),
    "system.loss.lambda_sparsity": (Field("regularisers.sparsity", weight),),
    "system.loss.lambda_opaque": (Field("regularisers.opaque", weight),),
    "system.loss.lambda_z_variance": (Field("regularisers.z-variance", weight),),
    "system.loss.lambda_convex": (Field("regularisers.convexity-official", weight),),
    "system.loss.lambda_emptiness": (Field("regularisers.emptiness", weight),),
    "system.optimizer.name": (Field("optimizer", lambda name, of: name.lower()),),
    "system.optimizer.args.lr": (Field("lr"),),
    "system.optimizer.args.betas": (Field("optimizer.betas"),),
    "system.optimizer.args.eps": (Field("optimizer.eps"),),
    "system.optimizer.params.geometry.lr": (Field("lr"), Field("scene.mlp_lr", one)),
    "system.optimizer.params.geometry.encoding.lr": (Field("lr"),),
    "system.optimizer.params.geometry.density_network.lr": (Field("scene.mlp_lr", share),),
    "system.optimizer.params.geometry.feature_network.lr": (Field("scene.mlp_lr", share),),
    "system.optimizer.params.background.lr": (Field("scene.background_lr", share),),
    "system.optimizer.params.guidance.lr": (Field("method.lr"),),
    "trainer.max_steps": (Field("steps"),),
}
AUGMENTED = "system.background.random_aug_prob"

# what a key is for some recipes, where it is something else than for the others
LATE = (Field("method.t_range", times), Field("method.late_from", lambda v, of: progress(v[3], of)),
        Field("method.late_max", lambda v, of: v[2]))  # fmt: skip
FOR: dict[str, dict[str, tuple[Field, ...] | str]] = {
    "sjc": {
        "system.geometry.grid_size": (Field("scene.size", lambda size, of: size[0]),),
        "system.geometry.n_feature_dims": (Field("scene.channels"),),
        "system.geometry.density_bias": (Field("scene.density_bias"),),
        "system.geometry.mlp_network_config.n_neurons": "a voxel grid has no network",
        "system.material.n_output_dims": (Field("scene.channels"),),
        "system.background_type": "the one that voxels have",
        "system.background.n_output_dims": (Field("scene.channels"),),
        "system.background.height": (Field("scene.background"),),
        "system.background.width": (Field("scene.background"),),
        "system.background.random_aug": "voxels lie on a picture of their own",
        "system.renderer.num_samples_per_ray": (Field("scene.step", cells),),
        "system.optimizer.params.geometry.lr": (Field("lr"),),
    },
    "vsd": {"system.guidance.max_step_percent": LATE},
    "esd": {"system.guidance.max_step_percent": LATE},
    "csd": {
        "system.guidance.max_step_percent": LATE,
        "system.guidance.weighting_strategy": "without effect: the gradient of a view is scaled to unit norm",
        "system.optimizer.args.lr": (Field("lr"), Field("scene.mlp_lr", one), Field("scene.background_lr", one)),
        "system.optimizer.args.betas": "all recipes have .99, CSD's authors the default of Adam, .999",
        "system.prompt_processor.use_perp_neg": "its weight, perpneg_scale, is",
        "system.prompt_processor.pretrained_model_name_or_path": "IF-I-XL; here on the suite's prior, as is said",
        "system.guidance.pretrained_model_name_or_path": "IF-I-XL; here on the suite's prior, as is said",
    },
    "sds": {"system.guidance.weighting_strategy": (Field("method.weight"),)},
    "sdi": {  # the paper's algorithm, where the configuration is its code's
        "system.guidance_type": "algorithm 2, not the code's",
        "system.guidance.min_step_percent": "t falls from 1 to .2 in algorithm 2",
        "system.guidance.max_step_percent": "t falls from 1 to .2 in algorithm 2",
        "system.loss.lambda_convex": "the paper has .1 for the first 40 %, of the loss with the right sign",
    },
}

ABSENT: dict[str, tuple[str, ...]] = {
    "of the command line": (
        "seed", "system.prompt_processor.prompt", "data.n_test_views", "data.n_val_views",
    ),
    "how it is told and checked on the way": (
        "trainer.log_every_n_steps", "trainer.num_sanity_val_steps", "trainer.val_check_interval",
        "trainer.enable_progress_bar",
    ),
    "the scene is in single precision here, the networks are in half": ("trainer.precision",),
    "the only one there is": (
        "data_type", "system_type", "data.light_sample_strategy", "system.geometry.normal_type",
        "system.geometry.density_activation", "system.material.albedo_activation", "system.material.color_activation",
        "system.background.color_activation", "system.renderer_type", "system.renderer.estimator",
        "system.prompt_processor_type", "system.prompt_processor.overhead_threshold", "system.guidance.enable_sdi",
        "system.guidance.t_anneal",
    ),
    "a blob for a NeRF, a number for voxels: a kind of scene has one": ("system.geometry.density_bias",),
    "three colours": ("system.material.n_output_dims",),
    "normals where a term or a light needs them": ("system.renderer.return_comp_normal",),
    "voxels are never pruned, a NeRF always is": ("system.renderer.grid_prune",),
    "the authors' later stages are of meshes": ("system.stage",),
    "in the odds of `shading`": ("system.material.diffuse_prob", "system.material.textureless_prob"),
    "in `coloured`": (AUGMENTED,),
    "off in all": (
        "system.material.soft_shading", "system.loss.lambda_depth", "system.loss.lambda_normal_smoothness_2d",
        "system.prompt_processor.use_view_dependent_negative_prompt",
    ),
    "of a loss that is off": ("system.loss.center_ratio",),
    "in the loss itself": ("system.loss.emptiness_scale",),
    "views are scored by their albedo": ("system.material.eval_show_albedo",),
    "not built: textureless views are white, under a light drawn alike for all": (
        "system.material.textureless_normal", "data.light_position_perturb", "data.light_distance_range",
    ),
    "not built: all azimuths from the first step on": ("data.front_back_only_iters",),
    "one view a step": ("data.batch_uniform_azimuth",),
    "of the suite": (
        "system.prompt_processor.pretrained_model_name_or_path", "system.guidance.pretrained_model_name_or_path",
        "system.guidance.pretrained_model_name_or_path_lora",
    ),
    "in the rule's own code": ("system.guidance.weighting_strategy", "system.guidance.sqrt_anneal"),
    "phi has an optimiser of its own, to which a factor is nothing": ("system.loss.lambda_lora",),
}  # fmt: skip
REASONS = {key: reason for reason, keys in ABSENT.items() for key in keys}

# fields that no official key decides: why, and what they are
OURS: dict[str, Settings] = {
    "labels": {"suite": "paper", "track": "paper"},
    "the paper's 50": {"orbit.views": 50},
    "nerfacc's, in its code": {
        "scene.occupancy": 32, "scene.occupancy_every": 16, "scene.occupancy_decay": 0.95,
        "scene.occupancy_threshold": 0.01,
    },
    "what matters in a picture: docs/reproduce-table-1.md": {"scene.min_weight": 1e-4},
    "without effect where all levels of a grid are there at first": {"scene.grow_from": 0.2, "scene.grow_every": 0.05},
    "the suite's": {"method.phi": ""},
    "of the official code: its defaults": {
        "method.rank": 4, "method.adapt": "attention", "method.updates": 1, "method.samples": 1, "method.drop": 0.1,
    },
    "grad_normalize, which is CSD's default": {"method.unit_norm": True},
}  # fmt: skip
OWN: dict[str, Settings] = {  # of one recipe
    "sdi": {"method.t_range": (1.0, 0.2), "method.tau": 1 / 30,  # algorithm 2, and section 5
            "regularisers.convexity": Weight(0.1, 0.1, until=0.4)},
    "sdi-official": {"method.tau": 0.1},  # delta, in the code
    "sjc": {"scene.min_weight": 0.0},  # a volume grid weighs all of its samples
}  # fmt: skip


def mapping(name: str, key: str) -> tuple[Field, ...] | str | None:
    """The fields of a recipe that a key decides, or the reason why it decides none; None for a key nobody knows."""
    own = FOR.get(name, {}).get(key)
    return own if own is not None else MAPPED.get(key, REASONS.get(key))


def look(recipe: Recipe, path: str) -> Any:
    """What is at a path; Weight or None for a regulariser."""
    if path == "rule":
        return type(recipe.method).__name__
    first, _, rest = path.partition(".")
    if first == "regularisers":
        return dict(recipe.regularisers).get(rest)
    if first == "optimizer" and rest:
        return OPTIMIZERS[recipe.optimizer].keywords[rest]  # type: ignore[attr-defined]
    value: Any = recipe
    for part in path.split("."):
        value = getattr(value, part)
    return value


def equal(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, float) and isinstance(theirs, float | int):
        return abs(ours - theirs) <= 1e-9 * abs(theirs)
    if is_dataclass(ours) and is_dataclass(theirs):
        return type(ours) is type(theirs) and equal(tuple(vars(ours).values()), tuple(vars(theirs).values()))
    if isinstance(ours, tuple) and isinstance(theirs, tuple):
        return len(ours) == len(theirs) and all(map(equal, ours, theirs))
    return ours == theirs


def decided(name: str) -> list[tuple[str, str, Any]]:
    """(key, path, value) of each field that a key decides. Only defaults may name a field that the recipe lacks."""
    of, found = settings_of(name), []
    for key, value in of.items():
        fields = mapping(name, key)
        found += [(key, f.path, f.convert(value, of)) for f in fields or () if isinstance(f, Field)]
    return found


def undecided(name: str, fields: set[str]) -> list[tuple[str, str, Any]]:
    """The same of those of a recipe's fields that no key decides."""
    theirs, own = {path for _, path, _ in decided(name)}, OWN.get(name, {})
    rest = {path: value for values in OURS.values() for path, value in values.items() if path in fields - theirs}
    return [("without a key it", path, value) for path, value in (rest | own).items()]
