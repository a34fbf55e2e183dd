"""One step: render, encode, ask the rule for a gradient, step.

    x0 = E(render(theta))                                       of a latent scene, the render itself
    g  = rule(x0)                                               without gradients of its own
    L  = guidance_weight <x0, g> / B + regularisers,   theta <- theta - lr Adam(dL/dtheta)

One generator, on the CPU, makes all random numbers of a job in one order: it is saved with every checkpoint, so that
a job that was killed goes on as if it had not been. Results are equal bit by bit for equal thread counts and devices,
but for scenes of voxels (SJC's in its paper) and of Gaussians on a GPU: CUDA adds up their gradients in any order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from engine.job import Job
from engine.recipes.base import NEED_NORMALS, REGULARIZERS, Recipe
from engine.recipes.outside import Outside
from methods.base import Guidance, Views
from priors.base import Prior
from priors.text import make_text
from scene.cameras import Cameras, Render
from state import flatten, unflatten

OPTIMIZERS: dict[str, Callable[[list[dict]], torch.optim.Optimizer]] = {
    "adam": partial(torch.optim.Adam, betas=(0.9, 0.99), eps=1e-15),
    "adamax": torch.optim.Adamax,
    "adamw": partial(torch.optim.AdamW, betas=(0.9, 0.99), eps=1e-15),
}


COUNTS = ("step", "nfe", "rows", "seconds", "peak")


class NonFinite(Exception):
    """A gradient that is not a number, or infinite."""


class Training:
    """Everything of a job that changes from step to step, and that a checkpoint holds."""

    def __init__(self, job: Job, prior: Prior, device: str):
        recipe = job.recipe
        self.job, self.prior, self.device = job, prior, device
        self.rng = torch.Generator().manual_seed(job.stream)
        self.scene = recipe.scene.build(self.rng).to(device)
        self.optimizer = OPTIMIZERS[recipe.optimizer](self.scene.parameter_groups(recipe.lr))
        self.text = make_text(prior, job.prompt.text, recipe.method.negative, recipe.words)
        rule = recipe.method  # one from a file may draw from generators that all share: they start from the stream
        self.state = rule.start(prior, job.stream) if isinstance(rule, Outside) else rule.start(prior)
        self.step, self.nfe, self.rows, self.seconds, self.peak = 0, 0, 0, 0.0, 0

    @property
    def latent(self) -> bool:
        """Whether the scene is made of latents, so that it needs no encoder."""
        return self.job.recipe.scene.latent

    def tensors(self) -> dict[str, Tensor]:
        """Of a checkpoint, by path: `scene/...`, `adam/...`, `method/...`, `rng`."""
        return flatten(self._kept())[0]

    def facts(self) -> dict[str, Any]:
        """The plain values of a checkpoint, by path; `step` and the other counts by name."""
        return flatten(self._kept())[1]

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        kept = unflatten(tensors, facts)
        self.scene.restore(kept["scene"])
        self.optimizer.load_state_dict(kept["adam"])
        if self.state is not None:
            self.state.load_state_dict(kept["method"])
        self.rng.set_state(kept["rng"])
        for name in COUNTS:
            setattr(self, name, kept[name])

    def _kept(self) -> dict[str, Any]:
        return {
            "scene": self.scene.state_dict(),
            "adam": self.optimizer.state_dict(),
            "method": self.state.state_dict() if self.state is not None else {},
            "rng": self.rng.get_state(),
            **{name: getattr(self, name) for name in COUNTS},
        }

    def advance(self) -> dict[str, float]:
        """One step of optimisation; returns its log. Raises NonFinite, for a gradient before the scene is touched."""
        recipe, scene, rng = self.job.recipe, self.scene, self.rng
        progress = self.step / recipe.steps
        scene.update(progress, rng)
        cameras = recipe.cameras.sample(recipe.batch, rng).to(self.device)
        weights = {name: weight.at(progress) for name, weight in recipe.regularisers if weight.at(progress)}
        render = scene.render(
            cameras,
            self.prior.latent_shape[-1] if self.latent else recipe.resolution_at(progress),
            progress=progress,
            rng=rng,
            shading=recipe.shading.draw(progress, rng),
            normals=bool(weights.keys() & NEED_NORMALS),
        )
        x0 = render.rgb if self.latent else self.prior.encode(render.rgb, rng)
        views = Views(x0.detach(), render.rgb.detach(), self.text, cameras, progress, rng)
        nfe, rows = self.prior.nfe, self.prior.rows
        with torch.no_grad():
            guidance = recipe.method.gradient(views, self.prior, self.state)
        log = {"step": self.step, **guidance.log, **self._descend(x0, render, cameras, guidance, weights)}
        learnt = recipe.method.learn(views, self.prior, self.state)
        if not all(math.isfinite(value) for value in learnt.values()):
            raise NonFinite("what the rule learns is not finite")
        log |= learnt
        self.nfe, self.rows = self.nfe + self.prior.nfe - nfe, self.rows + self.prior.rows - rows
        self.step += 1
        return log | {"nfe": self.nfe}

    def _descend(
        self, x0: Tensor, render: Render, cameras: Cameras, guidance: Guidance, weights: dict[str, float]
    ) -> dict[str, float]:
        """Adam's step on the surrogate loss, whose gradient with respect to x0 is guidance_weight g / B."""
        loss = surrogate(self.job.recipe, x0, render.rgb, guidance)
        log = {
            "opacity": render.opacity.mean().item(),
            "g_rms": guidance.latent.square().mean().sqrt().item(),
        }
        for name, weight in weights.items():
            term = REGULARIZERS[name](render, cameras)
            loss = loss + weight * term
            log[name] = term.item()
        if not guidance.latent.isfinite().all():
            raise NonFinite("the rule's gradient is not finite")
        self.optimizer.zero_grad()
        loss.backward()
        grads = [p.grad for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        if not torch.stack([g.abs().sum() for g in grads]).sum().isfinite():
            raise NonFinite("the scene's gradient is not finite")
        self.optimizer.step()
        self.scene.after_step(render, self.optimizer, self.step / self.job.recipe.steps, self.rng)
        return log


def surrogate(
    recipe: Recipe, x0: Float[Tensor, "B C h w"], image: Float[Tensor, "B D H W"], guidance: Guidance
) -> Float[Tensor, ""]:
    """guidance_weight <x0, g> / B: linear in the latents (and images), so that g is its gradient."""
    loss = (x0 * guidance.latent).sum()
    if guidance.image is not None:
        loss = loss + (image * guidance.image).sum()
    return recipe.guidance_weight * loss / len(x0)
