"""Replays of VSD and ESD: both call a student beside the prior, and train it on the same latents.

threestudio's phi is a LoRA of the v-prediction model, or of the prior's own U-Net ("single_model"); its mixture
eps_phi(no camera) + s (eps_phi(camera) - eps_phi(no camera)) is ESD's with lambda = 1 - s, and VSD's for s = 1.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from methods.base import Views
from methods.esd import ESD
from methods.vsd import VSD
from priors.guidance import guided_eps
from priors.schedule import per_item
from priors.student import ADAPTER, LoRAStudent
from scene.cameras import Cameras
from tests.parity.options import clip_of, clipped, option
from tests.parity.prior import RecordedPrior
from tests.parity.recording import Case, DrawsDiffer, Recording, Replayed, error_of
from tests.parity.shared import (
    Pairs,
    _prior,
    cameras_of,
    gradient_pairs,
    latents_of,
    limit_of,
    prior_of,
    views_of,
)

LORA, CAMERA = "phi.lora.", "phi.camera_embedding.module."


def name_in_ours(key: str) -> str:
    """The parameter of our student that a recorded one is: `phi.lora.X.processor.to_q_lora.down.weight`, and `up`;
    `phi.camera_embedding.module.Y`."""
    if key.startswith(CAMERA):
        return key.replace(CAMERA, "class_embedding.")
    path, projection = key.removeprefix(LORA).split(".processor.")
    name, side, _ = projection.split(".")
    layer = {"to_out_lora": "to_out.0"}.get(name, name.removesuffix("_lora"))
    return f"{path}.{layer}.{ {'down': 'lora_A', 'up': 'lora_B'}[side] }.{ADAPTER}.weight"


class RecordedStudent(LoRAStudent):
    """Has the recorded weights and remembers its calls. Where its output agrees with the recorded one, that goes on,
    as in RecordedPrior; but not while it learns, since what is recorded has no gradient."""

    def __init__(self, recording: Recording, case: Case, prior: RecordedPrior):
        folder = recording.model(case, case.config.get("lora_model", ""))
        source = _prior(RecordedPrior, folder)
        rank = next(len(case[k]) for k in case.tensors if k.endswith("_lora.down.weight") and k.startswith("phi."))
        super().__init__(prior, source.unet, source.predicts, rank)
        self.names = {k: name_in_ours(k) for k in case.tensors if k.startswith("phi.")}
        if set(self.names.values()) != set(self.parameters):
            raise KeyError("the recorded phi has other weights than ours")
        with torch.no_grad():
            for key, name in self.names.items():
                self.parameters[name].copy_(case[key])
        self.limit, self.errors, self.calls = limit_of(case.method), [], []
        self.known = []
        for k in range(len(case.series("unet", "out"))):
            if f"unet.{k:02}.class_labels" in case:
                keys = ("sample", "timestep", "encoder_hidden_states", "class_labels", "out")
                x, t, text, labels, out = (case[f"unet.{k:02}.{key}"] for key in keys)
                tiled = (y.repeat(len(out) // len(y), *[1] * (y.ndim - 1)) for y in (x, t, text, labels))
                self.known += zip(*tiled, out, strict=True)

    def predict(self, x_t: Tensor, t: Tensor, text: Tensor, camera: Tensor) -> Tensor:
        self.calls.append((x_t, t, text, camera))
        out = super().predict(x_t, t, text, camera)
        rows = zip(x_t, t, text, camera.flatten(1), out.detach(), strict=True)
        recorded = torch.stack([self._as_recorded(*row) for row in rows])
        return out if torch.is_grad_enabled() else recorded

    def _as_recorded(self, x: Tensor, t: Tensor, text: Tensor, labels: Tensor, out: Tensor) -> Tensor:
        for x_known, t_known, text_known, labels_known, out_known in self.known:
            near = error_of(text, text_known) < 1e-5 and error_of(x, x_known) <= self.limit
            if t == t_known and near and error_of(labels, labels_known) < 1e-5:
                self.errors.append(error_of(out, out_known))
                return out_known if self.errors[-1] <= self.limit else out
        return out


def rule_of(case: Case, length: int) -> VSD | ESD:
    kind = {"vsd": VSD(), "esd": ESD()}[case.method]
    mixed = 1 - option(case, "guidance_scale_lora", 1.0)
    if isinstance(kind, ESD) or mixed != 0:
        kind = replace(ESD(), entropy=float(mixed))
    low, high = (case.scalars[k] / length + 1e-9 for k in ("min_step", "max_step"))
    return replace(
        kind,
        scale=float(option(case, "guidance_scale", 7.5)),
        t_range=(low, high),
        samples=option(case, "lora_n_timestamp_samples", 1),
        drop=0.1 if option(case, "lora_cfg_training", True) else 0.0,
    )


def seen_by_phi(case: Case, cameras: Cameras) -> Cameras:
    """The matrix that phi reads stands in the place of ours."""
    key = {"extrinsics": "in.c2w", "mvp": "in.mvp_mtx"}[option(case, "camera_condition_type", "extrinsics")]
    return replace(cameras, c2w=case[key])


def replay_vsd(recording: Recording, case: Case, shimmed: bool) -> Pairs:
    prior = prior_of(recording, case, shimmed)
    cameras, student = seen_by_phi(case, cameras_of(case)), RecordedStudent(recording, case, prior)
    rule = rule_of(case, len(prior.schedule))
    with Replayed(case) as draws:
        x0, rgb = latents_of(case, prior)
        views = views_of(case, cameras, case.tensors.get("in.latents", x0), 0.0)  # with which ours agree
        with torch.no_grad():
            g = rule.gradient(views, prior, student).latent
        pairs = _called(case, prior.calls[0], student.calls[0], views.cameras.c2w)
        pairs |= _predicted(case, prior, student, rule, views)
        student.calls.clear()
        log = rule.learn(views, prior, student)
    if any(draws.left.values()):
        raise DrawsDiffer("fewer numbers than the official code")
    g = clipped(g, clip_of(case))
    pairs |= gradient_pairs(case, g, x0, rgb, 0.5 * g.square().sum() / len(g), 1.0)
    pairs |= {"in.latents": (x0, views.x0), "out.grad": (g, case["out.grad"])}
    pairs |= _learned(case, student, log["phi_loss"])
    errors = prior.errors + student.errors
    pairs["unet.*.out"] = (1 + max(errors), torch.ones(()))
    if case.config.get("use_img_loss") and rgb is not None:
        pairs |= _image_loss(case, prior, rgb)
    return pairs


def _called(case: Case, of_prior: tuple[Tensor, ...], of_student: tuple[Tensor, ...], c2w: Tensor) -> Pairs:
    """Inputs of the two networks in the gradient: the first rows, which are repeated for the other branches."""
    n = len(c2w)
    pairs: Pairs = {}
    for k, call in enumerate((of_prior, of_student)):
        pairs[f"unet.{k:02}.sample"] = (call[0][:n], case[f"unet.{k:02}.sample"][:n])
        pairs[f"unet.{k:02}.timestep"] = (call[1][:n], case[f"unet.{k:02}.timestep"][:n])
    pairs["unet.01.class_labels"] = (c2w.flatten(1), case["unet.01.class_labels"][:n])
    pairs["unet.01.encoder_hidden_states"] = (of_student[2][:n], case["unet.01.encoder_hidden_states"][:n])
    return pairs


def _predicted(case: Case, prior: RecordedPrior, student: RecordedStudent, rule: VSD | ESD, views: Views) -> Pairs:
    """Both networks' predictions at the recorded x_t. threestudio's text for phi is without view words."""
    x_t, t, camera = case["out.latents_noisy"], case["out.t"], views.cameras.c2w
    text = views.text.plain.expand(len(x_t), -1, -1)
    fresh = {
        "out.noise_pred_pretrain": guided_eps(prior, x_t, t, views.text, views.cameras, rule.scale, rule.perp_neg),
        "out.noise_pred_est_camera": student.eps(x_t, t, text, camera),
        "out.noise_pred_est_uncond": student.eps(x_t, t, text, torch.zeros_like(camera)),
    }
    if isinstance(rule, ESD):
        fresh["out.noise_pred_est"] = rule.eps_phi(views, student, x_t, t)
    pairs: Pairs = {key: (value, case[key]) for key, value in fresh.items() if key in case}
    return pairs | {"out.w": ((1 - prior.schedule.at(t)).reshape(case["out.w"].shape), case["out.w"])}


def _learned(case: Case, student: RecordedStudent, loss: float) -> Pairs:
    """The inputs of the call that was trained, the loss, and its gradient in every weight of phi."""
    x_t, t, text, camera = student.calls[0]
    pairs: Pairs = {
        "out.loss_lora": (torch.tensor([loss]), case["out.loss_lora"]),
        "unet.02.sample": (x_t, case["unet.02.sample"]),
        "unet.02.timestep": (t, case["unet.02.timestep"]),
        "unet.02.encoder_hidden_states": (text, case["unet.02.encoder_hidden_states"]),
        "unet.02.class_labels": (camera.flatten(1), case["unet.02.class_labels"]),
    }
    for key, name in student.names.items():
        grad, key = student.parameters[name].grad, key.removeprefix("phi.")
        if key in case.scalars.get("grad_phi_norms", {}):
            norm = torch.tensor(case.scalars["grad_phi_norms"][key])
            pairs[f"norm of out.grad_phi.{key}"] = (grad.norm(), norm)
        if f"out.grad_phi.{key}" in case:
            pairs[f"out.grad_phi.{key}"] = (grad, case[f"out.grad_phi.{key}"])
    return pairs


def _image_loss(case: Case, prior: RecordedPrior, rgb: Tensor) -> Pairs:
    """threestudio's second loss, which is no part of the rule: the pull between both decoded x0."""
    t, x_t, schedule = case["out.t"], case["out.latents_noisy"], prior.schedule
    with torch.no_grad():
        pretrained, phi = (
            prior.decode(schedule.x0_of(x_t, case[f"out.noise_pred_{k}"], t)) for k in ("pretrain", "est")
        )
    image = functional.interpolate(rgb.permute(0, 3, 1, 2), phi.shape[-2:], mode="bilinear", align_corners=False)
    g = per_item((1 - schedule.at(t)) / schedule.s(t), phi) * (phi - pretrained)
    (grad,) = torch.autograd.grad((image * g).sum() / len(g), rgb)
    return {
        "out.image_denoised_pretrain": (pretrained, case["out.image_denoised_pretrain"]),
        "out.image_denoised_est": (phi, case["out.image_denoised_est"]),
        "out.loss_img": (0.5 * g.square().sum().reshape(1) / len(g), case["out.loss_img"]),
        "out.grad_rgb_img_loss": (grad, case["out.grad_rgb_img_loss"]),
    }
