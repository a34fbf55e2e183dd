"""Replay one case with the product's code on the recorded inputs and draws, and compare every number recorded.

Errors are max |ours - recorded| / max |recorded|, the worst over the tensors of a case.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from errors import UserError
from methods import timesteps
from methods.base import Views
from methods.sdi_kappas import SDIKappa
from methods.sdi_official import SDIOfficial, leading_grid
from methods.sds import SDS, WEIGHTS
from priors.guidance import Decay, perp_neg_texts, perp_neg_weights, perpendicular
from priors.schedule import Schedule
from priors.text import COARSE, view_index, wrapped
from tests.parity import shims, untrained
from tests.parity.options import annealed_range, clip_of, clipped, latest_percent, not_replayed, option, ramp
from tests.parity.recording import Case, DrawsDiffer, Recording, Replayed, error_of
from tests.parity.shared import (
    Pairs,
    cameras_of,
    gradient_pairs,
    latents_of,
    limit_of,
    prior_of,
    range_of,
    scale_of,
    shared_pairs,
    text_of,
    views_of,
)
from tests.parity.students import replay_vsd

SKIPPED = {
    "hifa": "HiFA's own repository weighs its losses otherwise; recorded for reference only",
    "sds_luciddreamer": "LucidDreamer's SDS is outside this project",
    "unified_sds": "threestudio's unified guidance is outside this project",
    "unified_vsd": "threestudio's unified guidance is outside this project",
    "esd_toy_gaussian": "the authors' 2-D script is outside this project",
}


@dataclass(frozen=True)
class Result:
    """What became of a case: its largest error, or why it has none."""

    case: str
    method: str
    verdict: str
    error: float | None = None
    limit: float = 0.0
    skipped: bool = False

    @property
    def failed(self) -> bool:
        return not self.skipped and not (self.error is not None and self.error <= self.limit)


def replay(recording: Recording, case: Case, shimmed: bool = True) -> Result:
    """Replay a case, or say why not. Without `shimmed` the product's own behaviour is compared."""
    if case.method in SKIPPED:
        return Result(case.name, case.method, f"skipped: {SKIPPED[case.method]}", skipped=True)
    if case.method not in REPLAYS:
        return Result(case.name, case.method, "FAILS: unknown method, neither replayed nor skipped")
    if case.entry.get("raises"):
        return Result(case.name, case.method, f"skipped: the official code raises {case.entry['raises']}", skipped=True)
    option = not_replayed(case)
    if option:
        return Result(case.name, case.method, f"skipped: no replay reads the option {option}", skipped=True)
    try:
        pairs = REPLAYS[case.method](recording, case.load(), shimmed)
    except DrawsDiffer as error:
        return Result(case.name, case.method, f"FAILS: the product draws {error}")
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError, StopIteration) as error:
        raise UserError(f"Case {case.name} cannot be replayed ({error!r}); restore its entry and file.") from error
    if not pairs:
        return Result(case.name, case.method, "FAILS: nothing in this case could be replayed")
    errors = {name: error_of(*pair) for name, pair in pairs.items()}
    worst = max(errors, key=lambda name: errors[name])
    limit = limit_of(case.method)
    verdict = "agrees" if errors[worst] <= limit else "DIFFERS"
    return Result(case.name, case.method, f"{verdict}, worst in {worst}", errors[worst], limit)


def replay_sds(recording: Recording, case: Case, shimmed: bool) -> Pairs:
    """threestudio's one class for SDS, SJC and HiFA."""
    config = case.config
    if config.get("use_sjc") or case.method == "sjc":
        return untrained.replay_sjc(recording, case, shimmed)
    if config.get("use_img_loss") or config.get("sqrt_anneal"):
        return untrained.replay_hifa(recording, case, shimmed)
    prior, cameras, clip = prior_of(recording, case, shimmed), cameras_of(case), clip_of(case)
    weight = option(case, "weighting_strategy", "sds")
    sds = SDS(
        scale_of(case, "guidance_scale", 100.0), range_of(case, prior), weight, bool(case.config.get("use_perp_neg"))
    )
    with Replayed(case) as draws:
        x0, rgb = latents_of(case, prior)
        views = views_of(case, cameras, x0, 0.0)
        with torch.no_grad():
            g = sds.gradient(views, prior, None).latent
    draws.all_used()
    pairs = shared_pairs(case, prior, views, sds.scale, x0)
    g = clipped(g, clip)
    pairs["out.grad"] = (g, case["out.grad"])
    w = WEIGHTS[weight](prior.schedule.at(case["out.t"]))
    pairs["out.w"] = (w, case["out.w"].reshape(-1).expand(len(w)))
    return pairs | gradient_pairs(case, g, x0, rgb, 0.5 * g.square().sum() / len(g), 1.0)


def replay_sdi(recording: Recording, case: Case, shimmed: bool) -> Pairs:
    prior, cameras, config = prior_of(recording, case, shimmed), cameras_of(case), case.config
    length, steps = len(prior.schedule), option(case, "inversion_n_steps", 10)
    inverted = option(case, "enable_sdi", True) and "in.call_with_defined_noise" not in case
    scale, perp_neg = scale_of(case, "guidance_scale", 100.0), bool(config.get("use_perp_neg"))
    inversion_scale, eta = scale_of(case, "inversion_guidance_scale", -7.5), option(case, "inversion_eta", 0.3)
    official = SDIOfficial(scale, inversion_scale, perp_neg, annealed_range(case), 1 / steps, steps, eta)
    sdi = official if inverted else SDIKappa("random", scale, perp_neg)  # which rounds t: it is given
    annealed = inverted and option(case, "t_anneal", True) and config.get("global_step") is not None
    progress = option(case, "global_step", 0) / option(case, "trainer_max_steps", 10_000)
    t = (case["out.t"].double() + 1e-6) / length

    def run(act: Callable[[Views], Any]) -> tuple[Any, Views, Tensor, Tensor | None]:
        with Replayed(case) as draws:
            x0, rgb = latents_of(case, prior)
            views = views_of(case, cameras, x0, progress)
            with torch.no_grad():
                out = act(views)
        if eta > 0:  # at eta 0 the official code draws noise and multiplies it by 0
            draws.all_used()
        return out, views, x0, rgb

    *_, kappa_at, kappa = run(lambda views: sdi.noise_of(views, prior, t))[0]
    prior.calls.clear()
    act = (lambda v: sdi.gradient(v, prior, None)) if annealed else (lambda v: sdi.pull(v, prior, t))
    guidance, views, x0, rgb = run(act)
    g = guidance.latent
    pairs = shared_pairs(case, prior, views, sdi.scale, x0)
    pairs["out.noise"] = (kappa, case["out.noise"])
    pairs["out.target"] = (views.x0 - g, case["out.target"])
    if "out.inversion_timesteps" in case:
        grid = torch.cat([now[:1] for _, now in prior.calls[: len(case["out.inversion_timesteps"]) - 1]] + [kappa_at])
        pairs["out.inversion_timesteps"] = (grid, case["out.inversion_timesteps"])
    loss = 0.5 * g.square().mean() / len(g)
    return pairs | gradient_pairs(case, g, x0, rgb, loss, 1 / g.numel())


def replay_perp_neg(recording: Recording, case: Case, shimmed: bool) -> Pairs:
    """One of three recordings: the projection, threestudio's table, or the table of LucidDreamer and HiFA."""
    if "out.perpendicular" in case:
        return {"out.perpendicular": (perpendicular(case["in.x"], case["in.y"]), case["out.perpendicular"])}
    cameras = cameras_of(case)
    if "out.neg_guidance_weights" in case:
        keys = {name: case.config.get(f"perp_neg_f_{name}") for name in Decay._fields}
        decay = Decay(**{name: tuple(map(float, value)) for name, value in keys.items() if value is not None})
        text = text_of(case, cameras)
        positive, first, second = perp_neg_texts(text, cameras)
        rows = torch.cat([positive, text.uncond, torch.stack([first, second], 1).flatten(0, 1)])
        return {
            "out.neg_guidance_weights": (perp_neg_weights(cameras, decay), case["out.neg_guidance_weights"]),
            "out.text_embeddings": (rows, case["out.text_embeddings"]),
        }
    if "out.weights" in case and shimmed:
        defaults = {"negative_w": -2.0, "front_decay_factor": 2.0, "side_decay_factor": 10.0}
        constants = [float(option(case, name, value)) for name, value in defaults.items()]
        views = [case[f"in.{side}"] for side in ("front", "side", "back")]
        texts, weights = zip(
            *(shims.exponential_perp_neg(*views, a, *constants) for a in cameras.azimuth.tolist()), strict=True
        )
        return {
            "out.weights (shim)": (torch.stack(weights), case["out.weights"]),
            "out.text_embeddings (shim)": (torch.stack(texts), case["out.text_embeddings"]),
        }
    return {}


def replay_view_words(recording: Recording, case: Case, shimmed: bool) -> Pairs:
    cameras = cameras_of(case)
    limits = {k: case.config.get(f"{k}_threshold", d) for k, d in (("front", 45.0), ("back", 45.0), ("overhead", 60.0))}
    pairs: Pairs = {
        "out.direction_index": (view_index(cameras, **limits), case["out.direction_index"]),
        "out.shifted_azimuth": (wrapped(cameras.azimuth), case["out.shifted_azimuth"]),
    }
    for k, (ours, official) in enumerate(zip(COARSE.values(), case.scalars.get("prompts_vd", []), strict=False)):
        same = official.endswith(ours) and case.scalars.get(f"idx_{ours.split()[1]}", k) == k
        pairs[f"words {k}"] = (float(same), torch.ones(()))
    return pairs


def replay_schedules(recording: Recording, case: Case, shimmed: bool) -> Pairs:
    """Tables of annealed timesteps, and grids of inversion."""
    length, steps = 1000, case["in.global_step"].tolist()
    pairs: Pairs = {}
    if "out.alphas_cumprod" in case:
        length = len(case["out.alphas_cumprod"])
        pairs["out.alphas_cumprod"] = (Schedule.scaled_linear(steps=length).abar, case["out.alphas_cumprod"])
    for name, rule in (("sdi", timesteps.linear), ("sqrt", timesteps.sqrt)):
        if f"out.{name}_minmax" in case:
            c = case.config[name]
            first, last = latest_percent(c["max_step_percent"]), c["min_step_percent"]
            t = torch.tensor([int(length * rule(s / c["trainer_max_steps"], first, ramp(last, s))) for s in steps])
            pairs[f"out.{name}_minmax"] = (torch.stack([t, t], 1), case[f"out.{name}_minmax"])
    if "out.piecewise_max_percent" in case:
        percent = case.config["piecewise"]["max_step_percent"]
        ours = torch.tensor([ramp(percent, s) for s in steps], dtype=torch.float64)
        pairs["out.piecewise_max_percent (shim)"] = (ours, case["out.piecewise_max_percent"])
    for k, grid in enumerate(case.scalars.get("inversion_grids", [])):
        n = grid["n_steps"]
        t, tau = (torch.tensor([v], dtype=torch.float64) for v in ((grid["t"] + 1e-6) / length, grid["u"] / n))
        _, ours = leading_grid(t, tau, n, length)
        pairs[f"inversion grid {k}"] = (ours[0], torch.tensor(grid["timesteps"]))
    return pairs


REPLAYS: dict[str, Callable[[Recording, Case, bool], Pairs]] = {
    "sds": replay_sds,
    "sdi": replay_sdi,
    "sjc": replay_sds,
    "hifa_threestudio": replay_sds,
    "csd": untrained.replay_csd,
    "ism": untrained.replay_ism,
    "vsd": replay_vsd,
    "esd": replay_vsd,
    "perp_neg": replay_perp_neg,
    "view_dependent_prompting": replay_view_words,
    "timestep_schedule": replay_schedules,
}
