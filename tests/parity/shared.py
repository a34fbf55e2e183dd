"""What the replays of several methods have in common: a case's prior, views and texts, and the numbers every recording
holds."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from methods.base import Views
from priors.base import Prior, Text
from priors.guidance import guided_eps, perp_neg_weights
from priors.schedule import Schedule
from priors.text import view_index
from scene.cameras import Cameras
from tests.parity import shims
from tests.parity.options import option
from tests.parity.prior import RecordedPrior
from tests.parity.recording import Case, Recording

LIMITS = {"sdi": 1e-4, "every other method": 1e-5}
UNCONVERTED = ("sds", "sjc", "hifa_threestudio", "csd", "ism")  # whose official code knows no v-prediction
Pairs = dict[str, tuple[Any, Tensor]]


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
    if shimmed and case.method in UNCONVERTED and _prior(kind, folder).predicts == "v_prediction":
        kind = shims.UnconvertedTiled if tiled else shims.UnconvertedVelocity
    prior = _prior(kind, folder)
    prior.schedule = Schedule(prior.schedule.abar)
    prior.listen_to(case, limit_of(case.method))
    if shimmed and case.method == "sdi":
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
    null = case.tensors.get("in.null_text_embeddings")
    if not case.config.get("view_dependent_prompting", True):
        return Text(uncond, plain, plain, plain, plain, plain, null=null)
    side, front, back, overhead = case["in.text_embeddings_vd"].split(1)
    uncond = case["in.uncond_text_embeddings_vd"][view_index(cameras)]
    return Text(uncond, plain, front, side, back, overhead, null=null)


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
    return option(case, key, default) + (0 if case.config.get("use_perp_neg") else 1)


def range_of(case: Case, prior: Prior) -> tuple[float, float]:
    """The timesteps the official code draws from, as fractions that round down to them."""
    low, high = (case.scalars[k] / len(prior.schedule) + 1e-9 for k in ("min_step", "max_step"))
    return low, high


def calls_pairs(case: Case, prior: RecordedPrior, x0: Tensor, skip: tuple[int, ...] = ()) -> Pairs:
    """The inputs of all calls of the network so far, and its outputs, but for some calls of the official code."""
    pairs: Pairs = {"in.latents": (x0, case["in.latents"])} if "in.latents" in case else {}
    both = list(zip(case.series("unet", "sample"), case.series("unet", "timestep"), strict=True))
    both = [pair for k, pair in enumerate(both) if k not in skip]
    pairs["number of calls"] = (float(len(prior.calls)), torch.tensor(float(len(both))))
    for k, ((x_t, t), (sample, time)) in enumerate(zip(prior.calls, both, strict=False)):
        pairs[f"unet.{k:02}.sample"] = (x_t[: len(x0)], sample[: len(x0)])
        pairs[f"unet.{k:02}.timestep"] = (t[: len(x0)], time[: len(x0)].expand(len(x0)))
    if prior.errors:
        pairs["unet.*.out"] = (1 + max(prior.errors), torch.ones(()))
    return pairs


def shared_pairs(case: Case, prior: RecordedPrior, views: Views, scale: float, x0: Tensor) -> Pairs:
    """What SDS and SDI recordings have in common: the network's calls, and the guided prediction at the last."""
    pairs = calls_pairs(case, prior, x0)
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
