"""Replay one case with the product's code on the recorded inputs and draws, and compare every number recorded.

Errors are max |ours - recorded| / max |recorded|, the worst over the tensors of a case.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from errors import UserError
from methods import timesteps
from methods.base import Views
from methods.sdi import SDI, leading_grid
from methods.sds import SDS, WEIGHTS
from priors.base import Prior, Text
from priors.guidance import Decay, guided_eps, perp_neg_texts, perp_neg_weights, perpendicular
from priors.schedule import Schedule
from priors.text import COARSE, view_index, wrapped
from scene.cameras import Cameras
from tests.parity import shims
from tests.parity.prior import RecordedPrior
from tests.parity.recording import Case, DrawsDiffer, Recording, Replayed, error_of

LIMITS = {"sdi": 1e-4, "every other method": 1e-5}
SKIPPED = {
    "ism": "interval score matching is not built yet",
    "vsd": "variational score distillation is not built yet",
    "esd": "entropic score distillation is not built yet",
    "hifa_threestudio": "HiFA is not built yet",
    "sjc": "score Jacobian chaining is not built yet",
    "csd": "classifier score distillation is not built yet",
    "hifa": "HiFA's own repository weighs its losses otherwise; recorded for reference only",
    "sds_luciddreamer": "LucidDreamer's SDS is outside this project",
    "unified_sds": "threestudio's unified guidance is outside this project",
    "unified_vsd": "threestudio's unified guidance is outside this project",
    "esd_toy_gaussian": "the authors' 2-D script is outside this project",
}
Pairs = dict[str, tuple[Any, Tensor]]


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
    try:
        pairs = REPLAYS[case.method](recording, case.load(), shimmed)
    except DrawsDiffer as error:
        return Result(case.name, case.method, f"FAILS: the product draws {error}")
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise UserError(f"Case {case.name} cannot be replayed ({error!r}); restore its entry and file.") from error
    if not pairs:
        return Result(case.name, case.method, "FAILS: nothing in this case could be replayed")
    errors = {name: error_of(*pair) for name, pair in pairs.items()}
    worst = max(errors, key=lambda name: errors[name])
    limit = limit_of(case.method)
    verdict = "agrees" if errors[worst] <= limit else "DIFFERS"
    return Result(case.name, case.method, f"{verdict}, worst in {worst}", errors[worst], limit)


def limit_of(method: str) -> float:
    return LIMITS.get(method, LIMITS["every other method"])


@cache
def _prior(kind: type[RecordedPrior], folder: Path) -> RecordedPrior:
    return kind(folder)


def prior_of(recording: Recording, case: Case, shimmed: bool) -> RecordedPrior:
    """The case's model, as the official code would misuse it where it does."""
    folder = recording.model(case)
    tiled = shimmed and bool(case.config.get("use_perp_neg"))
    kind = shims.TiledNegatives if tiled else RecordedPrior
    if shimmed and case.method == "sds" and _prior(kind, folder).predicts == "v_prediction":
        kind = shims.UnconvertedTiled if tiled else shims.UnconvertedVelocity
    prior = _prior(kind, folder)
    prior.schedule = Schedule(prior.schedule.abar)
    prior.listen_to(case, limit_of(case.method))
    if shimmed and case.method == "sdi" and not case.config.get("enable_sdi", True):
        return shims.first_items_time(prior)
    return prior


def cameras_of(case: Case) -> Cameras:
    azimuth = case["in.azimuth"]
    n, one = len(azimuth), torch.ones(len(azimuth))
    elevation = case["in.elevation"] if "in.elevation" in case else 0 * one
    return Cameras(torch.eye(4).repeat(n, 1, 1), 40 * one, elevation, azimuth, one)


def text_of(case: Case, cameras: Cameras) -> Text:
    """The recorded embeddings. The recordings' unconditional ones depend on the view: a row a camera."""
    plain, uncond = case["in.text_embeddings"], case["in.uncond_text_embeddings"]
    if not case.config.get("view_dependent_prompting", True):
        return Text(uncond, plain, plain, plain, plain, plain)
    side, front, back, overhead = case["in.text_embeddings_vd"].split(1)
    uncond = case["in.uncond_text_embeddings_vd"][view_index(cameras)]
    return Text(uncond, plain, front, side, back, overhead)


def latents_of(case: Case, prior: Prior) -> tuple[Tensor, Tensor | None]:
    """The latents, and the image they come from as a leaf where the case starts from one."""
    mode = case.config.get("mode", "latents")
    if mode == "latents":
        return case["in.latents"], None
    rgb = case["in.rgb"].clone().requires_grad_()
    image = rgb.permute(0, 3, 1, 2)
    if mode == "rgb_as_latents":
        return functional.interpolate(image, prior.latent_shape[-2:], mode="bilinear", align_corners=False), rgb
    return prior.encode(image, torch.Generator()), rgb


def views_of(case: Case, cameras: Cameras, x0: Tensor, progress: float) -> Views:
    image = x0.new_zeros(len(x0), 3, *x0.shape[-2:])  # SDS and SDI read the latents alone
    return Views(x0.detach(), image, text_of(case, cameras), cameras, progress, torch.Generator())


def scale_of(case: Case, key: str, default: float) -> float:
    """threestudio's scale without Perp-Neg is that of eps_c + s (eps_c - eps_u): ours is one more."""
    return case.config.get(key, default) + (0 if case.config.get("use_perp_neg") else 1)


def shared_pairs(case: Case, prior: RecordedPrior, views: Views, scale: float, x0: Tensor) -> Pairs:
    """What SDS and SDI recordings have in common: the network's inputs, and the guided prediction at the last."""
    pairs: Pairs = {}
    samples, times = case.series("unet", "sample"), case.series("unet", "timestep")
    pairs["number of calls"] = (float(len(prior.calls)), torch.tensor(float(len(samples))))
    for k, ((x_t, t), sample, time) in enumerate(zip(prior.calls, samples, times, strict=False)):
        pairs[f"unet.{k:02}.sample"] = (x_t[: len(x0)], sample[: len(x0)])
        pairs[f"unet.{k:02}.timestep"] = (t[: len(x0)], time[: len(x0)])
    t = case["out.t"]
    perp_neg = bool(case.config.get("use_perp_neg"))
    eps = guided_eps(prior, case["out.latents_noisy"], t, views.text, views.cameras, scale, perp_neg)
    if prior.predicts == "v_prediction":  # recorded as the network gives it: v = (eps - sigma x_t) / a
        v = prior.schedule.x0_of(eps, case["out.latents_noisy"], t)
        pairs["out.noise_pred"] = (v, case["out.noise_pred"])
    else:
        pairs["out.noise_pred"] = (eps, case["out.noise_pred"])
    if "out.neg_guidance_weights" in case:
        pairs["out.neg_guidance_weights"] = (perp_neg_weights(views.cameras), case["out.neg_guidance_weights"])
    if "out.latents_denoised" in case:
        pairs["out.latents_denoised"] = (
            prior.schedule.x0_of(case["out.latents_noisy"], eps, t),
            case["out.latents_denoised"],
        )
    if prior.errors:
        pairs["unet.*.out"] = (1 + max(prior.errors), torch.ones(()))
    if "in.latents" in case:
        pairs["in.latents"] = (x0, case["in.latents"])
    return pairs


def gradient_pairs(case: Case, g: Tensor, x0: Tensor, rgb: Tensor | None, loss: Tensor, weight: float) -> Pairs:
    """The official loss and its gradients, from our g: d loss / d latents = weight * g / B."""
    pairs: Pairs = {"out.loss": (loss.reshape(1), case["out.loss"])}
    pairs["out.grad_latents"] = (
        (weight * g / len(g), case["out.grad_latents"]) if "out.grad_latents" in case else (0, torch.zeros(()))
    )
    if rgb is not None:
        (grad,) = torch.autograd.grad((weight * x0 * g).sum() / len(g), rgb)
        pairs["out.grad_rgb"] = (grad, case["out.grad_rgb"])
    return pairs


def replay_sds(recording: Recording, case: Case, shimmed: bool) -> Pairs:
    prior, cameras = prior_of(recording, case, shimmed), cameras_of(case)
    length = len(prior.schedule)
    low, high = (case.scalars[k] / length + 1e-9 for k in ("min_step", "max_step"))
    weight = case.config.get("weighting_strategy", "sds")
    sds = SDS(scale_of(case, "guidance_scale", 100.0), (low, high), weight, bool(case.config.get("use_perp_neg")))
    with Replayed(case) as draws:
        x0, rgb = latents_of(case, prior)
        views = views_of(case, cameras, x0, 0.0)
        with torch.no_grad():
            g = sds.gradient(views, prior, None).latent
    if draws.left["normal"]:
        raise DrawsDiffer(f"{len(draws.left['normal'])} normal tensors fewer than the official code")
    pairs = shared_pairs(case, prior, views, sds.scale, x0)
    clip = case.config.get("grad_clip")
    if clip is not None:
        clip = shims.ramp(clip, case.config.get("global_step") or 0)
        g = g.clamp(-clip, clip)
    pairs["out.grad"] = (g, case["out.grad"])
    w = WEIGHTS[weight](prior.schedule.at(case["out.t"]))
    pairs["out.w"] = (w, case["out.w"].reshape(-1).expand(len(w)))
    return pairs | gradient_pairs(case, g, x0, rgb, 0.5 * g.square().sum() / len(g), 1.0)


def replay_sdi(recording: Recording, case: Case, shimmed: bool) -> Pairs:
    prior, cameras, config = prior_of(recording, case, shimmed), cameras_of(case), case.config
    length, steps = len(prior.schedule), config.get("inversion_n_steps", 10)
    inverted = config.get("enable_sdi", True) and "in.call_with_defined_noise" not in case
    sdi = replace(
        SDI.official(),
        scale=scale_of(case, "guidance_scale", 7.5),
        inversion_scale=scale_of(case, "inversion_guidance_scale", -7.5),
        perp_neg=bool(config.get("use_perp_neg")),
        t_range=(config.get("max_step_percent", 0.98), config.get("min_step_percent", 0.25)),
        tau=1 / steps,
        steps=steps,
        first=1 - length // steps,
        eta=config.get("inversion_eta", 0.3),
        kappa="ddim" if inverted else "random",
    )
    annealed = config.get("t_anneal") and config.get("global_step") is not None
    progress = min((config.get("global_step") or 0) / config.get("trainer_max_steps", 10_000), 1.0)
    t = (case["out.t"].double() + 1e-6) / length

    def run(act: Callable[[Views], Any]) -> tuple[Any, Views, Tensor, Tensor | None]:
        with Replayed(case) as draws:
            x0, rgb = latents_of(case, prior)
            views = views_of(case, cameras, x0, progress)
            with torch.no_grad():
                out = act(views)
        if draws.left["normal"] and sdi.eta > 0:  # at eta 0 the official code draws noise and multiplies it by 0
            raise DrawsDiffer(f"{len(draws.left['normal'])} normal tensors fewer than the official code")
        return out, views, x0, rgb

    _, kappa_at, kappa = run(lambda views: sdi.noise_of(views, prior, t))[0]
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
        constants = [float(case.config[k]) for k in ("negative_w", "front_decay_factor", "side_decay_factor")]
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
            at = [min(s / c["trainer_max_steps"], 1.0) for s in steps]
            t = torch.tensor([int(length * rule(p, c["max_step_percent"], c["min_step_percent"])) for p in at])
            pairs[f"out.{name}_minmax"] = (torch.stack([t, t], 1), case[f"out.{name}_minmax"])
    if "out.piecewise_max_percent" in case:
        ramp = case.config["piecewise"]["max_step_percent"]
        ours = torch.tensor([shims.ramp(ramp, s) for s in steps], dtype=torch.float64)
        pairs["out.piecewise_max_percent (shim)"] = (ours, case["out.piecewise_max_percent"])
    for k, grid in enumerate(case.scalars.get("inversion_grids", [])):
        n = grid["n_steps"]
        t, tau = (torch.tensor([v], dtype=torch.float64) for v in ((grid["t"] + 1e-6) / length, grid["u"] / n))
        _, ours = leading_grid(t, tau, 1 - length // n, n, length)
        pairs[f"inversion grid {k}"] = (ours[0], torch.tensor(grid["timesteps"]))
    return pairs


REPLAYS: dict[str, Callable[[Recording, Case, bool], Pairs]] = {
    "sds": replay_sds,
    "sdi": replay_sdi,
    "perp_neg": replay_perp_neg,
    "view_dependent_prompting": replay_view_words,
    "timestep_schedule": replay_schedules,
}
