"""A short descent of each rule on the exact denoiser of two prompts' latents: it ends where its prompt is."""

from dataclasses import replace

import pytest
import torch

from methods.base import Views
from priors.analytic import ExactPrior
from priors.text import make_text
from tests.helpers import all_methods, cameras_at

STEPS = 40


def exact() -> tuple[ExactPrior, torch.Tensor]:
    """Twelve views each of "a mug" and "a toy": opposite latents, and what tells a view from another."""
    rng = torch.Generator().manual_seed(0)
    means = torch.randn(1, 2, 4, 4, generator=rng) * torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)
    azimuth = torch.arange(12) * 30.0
    side = torch.stack([torch.deg2rad(azimuth).cos(), torch.deg2rad(azimuth).sin()], 1)
    turn = torch.einsum("kd,dchw->kchw", side, 0.3 * torch.randn(2, 2, 4, 4, generator=rng))
    latents = (means[:, None] + turn).flatten(0, 1)
    prior = ExactPrior(
        latents, torch.arange(2).repeat_interleave(12), azimuth.repeat(2), ["a mug", "a toy"],
        encode=lambda image, rng: image, decode=lambda latent: latent[:, [0, 1, 1]], image_size=4, h=0.3,
    )  # fmt: skip
    return prior, means


@pytest.mark.parametrize("name", all_methods)
def test_ends_at_its_prompt(name):
    prior, means = exact()
    text, method = make_text(prior, "a mug"), all_methods[name]
    if hasattr(method, "lr"):
        method = replace(method, **{"lr": 1e-2})  # of a student
    if name == "csd-stage1":  # Perp-Neg thrice as strong as the prompt moves views, too: without it, as other rules
        method = replace(method, **{"p": 0.0})
    state = method.start(prior)
    steps = STEPS if state is None else 2 * STEPS  # phi learns meanwhile
    x = torch.zeros(2, 2, 4, 4, requires_grad=True)
    optimizer = torch.optim.Adam([x], lr=0.1)
    rng = torch.Generator().manual_seed(0)
    for k in range(steps):
        x0 = x.detach()
        views = Views(x0, x0[:, [0, 1, 1]], text, cameras_at([0.0, 120.0]), k / steps, rng)
        with torch.no_grad():
            x.grad = method.gradient(views, prior, state).latent
        optimizer.step()
        method.learn(views, prior, state)
    along = (x.detach() * means[0]).flatten(1).sum(1) / means[0].square().sum()  # 1 at the mug, -1 at the toy
    assert (along > 0.5).all(), along
