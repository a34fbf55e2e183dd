"""Replays of the rules without a network of their own: ISM, SJC, HiFA and CSD."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch.nn import functional

from methods.base import Views
from methods.csd import CSD
from methods.hifa import HiFA
from methods.ism import ISM
from methods.sds import WEIGHTS
from methods.sjc import SJC
from priors.base import Text
from priors.guidance import guided_eps
from priors.schedule import per_item
from scene.cameras import Cameras
from tests.parity import shims
from tests.parity.options import annealed_range, clip_of, clipped, option, ramp
from tests.parity.prior import RecordedPrior
from tests.parity.recording import Case, Recording, Replayed
from tests.parity.shared import (
    Pairs,
    _prior,
    calls_pairs,
    cameras_of,
    gradient_pairs,
    latents_of,
    prior_of,
    range_of,
    scale_of,
    shared_pairs,
    views_of,
)


def replay_sjc(recording: Recording, case: Case, shimmed: bool) -> Pairs:
    prior, cameras, config = prior_of(recording, case, shimmed), cameras_of(case), case.config
    scale, perp_neg = scale_of(case, "guidance_scale", 100.0), bool(config.get("use_perp_neg"))
    sjc = SJC(scale, range_of(case, prior), option(case, "var_red", True), perp_neg)
    with Replayed(case) as draws:
        x0, rgb = latents_of(case, prior)
        views = views_of(case, cameras, x0, 0.0)
        with torch.no_grad():
            g = sjc.gradient(views, prior, None).latent
    draws.all_used()
    t, y, s = case["out.t"], views.x0, prior.schedule.s(case["out.t"])
    pairs = calls_pairs(case, prior, x0)
    z = y + s.float().view(-1, 1, 1, 1) * case["out.noise"]
    pairs["out.zs"] = (z, case["out.zs"])
    g = clipped(g, clip_of(case))
    pairs["out.sigma_sjc"] = (s, case["out.sigma_sjc"].reshape(-1))
    pairs["out.Ds"] = (sjc.denoised(views, prior, case["out.zs"], t), case["out.Ds"])
    pairs["out.grad"] = (g, case["out.grad"])
    return pairs | gradient_pairs(case, g, x0, rgb, 0.5 * g.square().sum() / len(g), 1.0)


def replay_hifa(recording: Recording, case: Case, shimmed: bool) -> Pairs:
    prior, cameras, config = prior_of(recording, case, shimmed), cameras_of(case), case.config
    scale, perp_neg = scale_of(case, "guidance_scale", 100.0), bool(config.get("use_perp_neg"))
    with_image = bool(config.get("use_img_loss")) and config.get("mode") == "rgb"
    hifa = HiFA(scale, annealed_range(case), 1.0 if with_image else 0.0, perp_neg)
    progress = option(case, "global_step", 0) / option(case, "trainer_max_steps", 25_000)
    annealed = config.get("sqrt_anneal") and config.get("global_step") is not None
    with Replayed(case) as draws:
        x0, rgb = latents_of(case, prior)
        views = views_of(case, cameras, x0, progress)
        if with_image:
            views = replace(views, image=case["in.rgb"].permute(0, 3, 1, 2))
        with torch.no_grad():
            guidance = hifa.gradient(views, prior, None) if annealed else hifa.pull(views, prior, case["out.t"])
    draws.all_used()
    abar, clip = prior.schedule.at(case["out.t"]), clip_of(case)
    w = WEIGHTS[option(case, "weighting_strategy", "sds")](abar)
    other = (w / (1 - abar)).float().view(-1, 1, 1, 1)  # 1, unless the case has another weight than HiFA's
    g = clipped(other * guidance.latent, clip)
    pairs = shared_pairs(case, prior, views, scale, x0)
    pairs["mean of out.t"] = (guidance.log["t"], case["out.t"].float().mean())
    pairs["out.w"] = (w, case["out.w"].reshape(-1).expand(len(w)))
    pairs["out.grad"] = (g, case["out.grad"])
    if guidance.image is not None:
        goal = prior.decode(case["out.latents_denoised"])
        pairs["out.image_denoised"] = (goal, case["out.image_denoised"])
        assert rgb is not None
        resized = functional.interpolate(rgb.permute(0, 3, 1, 2), goal.shape[-2:], mode="bilinear", align_corners=False)
        g_img = clipped(per_item(w / prior.schedule.s(case["out.t"]), goal) * (resized.detach() - goal), clip)
        image = (other * guidance.image).permute(0, 2, 3, 1)
        if clip is not None:  # the official code clips before the resizing's gradient
            (image,) = torch.autograd.grad((g_img * resized).sum(), rgb, retain_graph=True)
        pairs["out.grad_rgb_img_loss"] = (image / len(g), case["out.grad_rgb_img_loss"])
        pairs["out.loss_img"] = (0.5 * g_img.square().sum().reshape(1) / len(g), case["out.loss_img"])
    return pairs | gradient_pairs(case, g, x0, rgb, 0.5 * g.square().sum() / len(g), 1.0)


def replay_csd(recording: Recording, case: Case, shimmed: bool) -> Pairs:
    prior, cameras, config = prior_of(recording, case, shimmed), cameras_of(case), case.config
    names = ("cond_scale", "uncond_scale", "null_scale", "noise_scale", "perpneg_scale")
    defaults = (1.0, 0.0, -1.0, 0.0, 0.0)
    step = option(case, "global_step", 0)
    c, u, n, k, p = (float(ramp(option(case, *pair), step)) for pair in zip(names, defaults, strict=True))
    clip, normalised = config.get("grad_clip_val"), bool(config.get("grad_normalize"))
    # the official code clips before it normalises, and normalises the batch as one: ours, each item
    ours = normalised and not (shimmed and (clip is not None or len(cameras) > 1))
    away = (p or 1e-30) if config.get("use_perp_neg") else 0.0  # it interpolates the positive text, even at weight 0
    csd = CSD(c, k=k, p=away, t_range=range_of(case, prior), unit_norm=ours)
    with Replayed(case) as draws:
        x0, rgb = latents_of(case, prior)
        views = views_of(case, cameras, x0, 0.0)
        with torch.no_grad():
            g = csd.pull(views, prior, u, n).latent
    draws.all_used()
    if shimmed and clip is not None:
        g = clipped(g, ramp(clip, step))
    if normalised and not ours:
        g = g / (g.norm() + 1e-8)
    pairs = calls_pairs(case, prior, x0)
    w = 1 - prior.schedule.at(case["out.t"])
    pairs["out.w"] = (w, case["out.w"].reshape(-1).expand(len(w)))
    for name, weight in zip(names, (c, u, n, k, p), strict=True):
        if f"effective_{name}" in case.scalars and (name != "perpneg_scale" or config.get("use_perp_neg")):
            pairs[name] = (weight, torch.tensor(float(case.scalars[f"effective_{name}"])))
    pairs["out.grad"] = (g, case["out.grad"])
    return pairs | gradient_pairs(case, g, x0, rgb, 0.5 * g.square().sum() / len(g), 1.0)


def intervals_of(case: Case, warm: float, shimmed: bool) -> tuple[float, float, int]:
    """delta_t at a warm-up of 1, of 0, and at the case's. The official Perp-Neg rounds what it adds up."""
    last = option(case, "delta_t", 80)
    first = option(case, "delta_t_start", 100) if option(case, "annealing_intervals", True) else last
    more = warm * (first - last)
    if shimmed and case.config.get("perp_neg"):
        interval = int(last + math.ceil(more))
        return interval, interval, interval
    return first, last, int(last + more)


def replay_ism(recording: Recording, case: Case, shimmed: bool) -> Pairs:
    prior, config = prior_of(recording, case, shimmed), case.config
    index, before = int(case["out.ind_t"]), int(case["out.ind_prev_t"])
    eta, warm = option(case, "xs_eta", 0.0), float(option(case, "warm_up_rate", 0.0))
    velocity = _prior(RecordedPrior, recording.model(case)).predicts
    prior.schedule = shims.LucidSteps(prior.schedule.abar, eta, index + 1, velocity)
    length, reverse = len(prior.schedule), option(case, "denoise_guidance_scale", 1.0)
    first, last, interval = intervals_of(case, warm, shimmed)
    stride = option(case, "xs_delta_t", interval)
    steps = option(case, "xs_inv_steps", math.ceil(before / stride))
    low, high = option(case, "t_range", [0.02, 0.5])
    latest = option(case, "max_t_range", 0.98)
    if not int(length * low) <= index < int(length * high) + int(int(length * (latest - high)) * warm):
        low, high = min(low, index / length), max(high, (index + 1) / length)  # a fixed index, not one drawn
        latest = max(latest, high)
    ism = ISM(
        scale=option(case, "guidance_scale", 7.5),
        weight=float(option(case, "grad_scale", 1.0)),
        t_range=(low, high),
        t_max_early=latest,
        delta=(first / length, last / length),
        stride=stride / length,
        steps=steps,
        inversion_scale=reverse if reverse > 1 else 0.0,
        perp_neg=bool(config.get("perp_neg")),
    )
    texts, (_, empty) = case["in.text_embeddings"], case["in.embedding_inverse"].split(1)
    weights = case["in.perp_neg_weights"].reshape(len(texts) - 1, -1) if ism.perp_neg else None
    plain = texts[1, :1]
    text = Text(texts[0], plain, plain, plain, plain, plain, null=empty)
    with Replayed(case) as draws, shims.given_texts(texts[1:], weights):
        moves = list(zip(case.series("step", "from_t"), case.series("step", "to_t"), strict=True))
        idle = tuple(k for k, (now, later) in enumerate(moves) if now == later)  # a call that moves nothing
        draws.left["normal"] = shims.offset_noise(draws.left["normal"], len(idle) if eta > 0 else 0)
        used = draws.left["normal"][1 if config.get("mode") == "rgb" else 0]
        x0, rgb = shims.mirrored_latents(case, prior) if config.get("mode") == "rgb" else latents_of(case, prior)
        image = x0.new_zeros(len(x0), 3, *x0.shape[-2:])
        cameras = Cameras(torch.eye(4).repeat(len(x0), 1, 1), *torch.zeros(4, len(x0)))  # their texts are given
        views = Views(x0.detach(), image, text, cameras, 0.0, torch.Generator())
        with torch.no_grad():
            g = ism.pull(views, prior, warm).latent
        draws.all_used()
        pairs = calls_pairs(case, prior, x0, skip=idle if shimmed else ())
        s, t = (torch.full((len(x0),), i + 1) for i in (before, index))
        eps_s = ism.interval_eps(views, prior, case["out.prev_latents_noisy"], s)
        eps_t = guided_eps(prior, case["out.latents_noisy"], t, text, cameras, ism.scale, ism.perp_neg)
    if "current_delta_t" in case.scalars:
        pairs["current_delta_t"] = (float(interval), torch.tensor(float(case.scalars["current_delta_t"])))
    pairs["out.noise"] = (used, case["out.noise"])
    pairs["out.target"] = (eps_s, case["out.target"])
    pairs["out.pred_noise"] = (eps_t, case["out.pred_noise"])
    pairs["out.t"] = (torch.tensor([index + 1, before + 1]), torch.cat([case["out.t"], case["out.prev_t"]]))
    pairs["out.grad"] = (g, case["out.grad"])
    return pairs | gradient_pairs(case, g, x0, rgb, torch.ones(()), float(len(g)))  # not divided by the batch
