"""The options of the official codes: which of them a replay reads, and how their values are given.

A case with another option that is set cannot be replayed, and is skipped with its name.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from methods.sds import WEIGHTS
from tests.parity.recording import Case

Number = float | list[float]

# of how a case was called, of what its scalars hold (the range of t), and of what changes no number
CALL = "mode global_step view_dependent_prompting use_perp_neg min_step_percent max_step_percent trainer_max_steps"
IDLE = """half_precision_weights max_items_eval n_ddim_steps negative_prompt_is_empty max_step_percent_annealed
anneal_start_step is_safe_tensor base_model_key noise_seed vis_interval resolution guidance_eval batch"""
GRADIENT = "guidance_scale grad_clip weighting_strategy use_sjc var_red use_img_loss sqrt_anneal"
STUDENT = """guidance_scale grad_clip guidance_scale_lora lora_cfg_training lora_n_timestamp_samples lora_model
camera_condition_type single_model use_img_loss"""
TABLE = "negative_w front_decay_factor side_decay_factor"
READ = {
    "sds": GRADIENT,
    "sjc": GRADIENT,
    "hifa_threestudio": GRADIENT,
    "sdi": f"""{GRADIENT} inversion_guidance_scale inversion_n_steps inversion_eta enable_sdi t_anneal""",
    "csd": "cond_scale uncond_scale null_scale noise_scale perpneg_scale grad_clip_val grad_normalize",
    "vsd": STUDENT,
    "esd": STUDENT,
    "ism": f"""{TABLE} fix_noise annealing_intervals delta_t delta_t_start xs_delta_t xs_inv_steps xs_eta
    denoise_guidance_scale guidance_scale t_range max_t_range warm_up_rate perp_neg grad_scale""",
    "perp_neg": f"{TABLE} perp_neg_f_sb perp_neg_f_fsb perp_neg_f_fs perp_neg_f_sf",
    "view_dependent_prompting": "overhead_threshold front_threshold back_threshold",
    "timestep_schedule": "sdi sqrt piecewise",
}
VALUES = {
    "mode": ("latents", "rgb", "rgb_as_latents"),
    "weighting_strategy": tuple(WEIGHTS),
    "camera_condition_type": ("extrinsics", "mvp"),
}
# these of the prompts' code are its defaults in the replays of all methods
ELSEWHERE = {
    "overhead_threshold": 60,
    "front_threshold": 45,
    "back_threshold": 45,
    "perp_neg_f_sb": [1, 0.5, -0.606],
    "perp_neg_f_fsb": [1, 0.5, 0.967],
    "perp_neg_f_fs": [4, 0.5, -2.426],
    "perp_neg_f_sf": [4, 0.5, -2.426],
}


def not_replayed(case: Case) -> str:
    """The option of a case that no replay reads, with its value; empty where all are read."""
    known = {*READ[case.method].split(), *CALL.split(), *IDLE.split()}
    for name, value in case.config.items():
        read = name in known and value in VALUES.get(name, (value,))
        if not read and value not in (None, False, 0, "", []) and value != ELSEWHERE.get(name):
            return f"{name} = {value!r}"
    return ""


def ramp(value: Number, step: int, epoch: int = 0) -> float:
    """threestudio's numbers that may be schedules: [start, v0, v1, end] is linear in the step (in the epoch, where
    the end is not an integer) and clamped; a start of 0 may be left out, and pairs v, end go on from the last."""
    if not isinstance(value, list):
        return value
    start, v0, *rest = value if len(value) != 3 else [0, *value]
    while len(rest) > 2 and step >= rest[1]:
        v0, start, *rest = rest
    v1, end = rest[:2]
    now = step if isinstance(end, int) else epoch
    return v0 + (v1 - v0) * max(min(1.0, (now - start) / (end - start)), 0.0)


def latest_percent(value: Number) -> float:
    """Where t is annealed, a schedule of its upper end stands for its first value alone."""
    return value[1] if isinstance(value, list) else value


def annealed_range(case: Case) -> tuple[float, float]:
    """Where an annealed t starts and ends, as fractions."""
    first, last = option(case, "max_step_percent", 0.98), option(case, "min_step_percent", 0.02)
    return latest_percent(first), ramp(last, option(case, "global_step", 0))


def clip_of(case: Case) -> float | None:
    """What threestudio clips gradients to: its `update_step` sets it, so never in a case without a step."""
    recorded = case.scalars.get("grad_clip_val")
    if case.config.get("grad_clip") is None or case.config.get("global_step") is None:
        return recorded
    return ramp(case.config["grad_clip"], case.config["global_step"])


def clipped(g: Tensor, clip: float | None) -> Tensor:
    return g if clip is None else g.clamp(-clip, clip)


def option(case: Case, name: str, default: Any) -> Any:
    """Of options that a case does not list the official default holds; so it does where null is listed."""
    value = case.config.get(name)
    return default if value is None else value
