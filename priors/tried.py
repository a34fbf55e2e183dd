"""A prior tried once before any work: a picture, two texts, noise at both ends of time.

Priors that cannot be right show it here, whatever the reason: numbers that are not finite (a network that overflows
half precision), shapes that do not fit, and parts that answer the same to unlike questions (weights of zeros).

Alphabet: x0, x_t, t, eps as in priors/base.py.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from errors import UserError, first_line, is_out_of_memory
from priors.base import Prior

TEXTS = ["a", "b"]
SCALE = (0.02, 50.0)  # RMS of latents that unit noise can be added to


@torch.no_grad()
def refuse_unsound(prior: Prior, name: str) -> None:
    """Raises UserError, which begins with `name`, where the prior cannot be right."""
    device = prior.device  # type: ignore[attr-defined]
    images = torch.rand(2, 3, *[prior.image_size] * 2, generator=_rng()).to(device)
    channels, height, width = prior.latent_shape
    last = len(prior.schedule) - 1
    t = torch.tensor([0, last, last], device=device)
    part = "text encoder"
    try:
        text = _sound(prior.embed(TEXTS), len(TEXTS))
        part = "VAE"
        x0 = _sound(torch.cat([prior.encode(image[None], _rng()) for image in images]), 2, channels, height, width)
        _sound(prior.decode(x0), 2, 3, prior.image_size, prior.image_size)
        rms = x0.square().mean().sqrt().item()
        if not SCALE[0] < rms < SCALE[1]:
            raise _Unsound(f"writes latents of size {rms:.2g} where noise has 1, so that its scaling_factor is wrong")
        part = "U-Net"
        noise = torch.randn(x0[:1].shape, generator=_rng()).to(device)
        x_t = prior.schedule.noised(x0[:1].expand(3, -1, -1, -1), noise.expand(3, -1, -1, -1), t)
        with prior.untraced():
            _sound(prior.network(x_t, t, text[[0, 0, 1]]), 3, channels, height, width)
    except _Unsound as error:
        raise UserError(f"{name} cannot be right: its {part} {error}; take another.") from error
    except Exception as error:  # a library's own words for sizes that do not fit
        if is_out_of_memory(error):
            raise
        raise UserError(f"{name} cannot be right: its {part} fails ({first_line(error)}); take another.") from error


class _Unsound(Exception):
    """What a part does."""


def _rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _sound(answers: Tensor, *shape: int) -> Tensor:
    """Answers to unlike questions, a row each. Raises _Unsound."""
    if answers.shape[: len(shape)] != shape:
        raise _Unsound(f"gives {tuple(answers.shape)} where {shape} is needed")
    if not answers.isfinite().all():
        raise _Unsound("gives numbers that are not finite")
    if any(torch.equal(a, b) for a, b in pairwise(answers)):
        raise _Unsound("gives the same answer to unlike questions")
    return answers
