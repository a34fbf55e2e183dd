"""A prior tried once before any work: a picture, two texts, noise at both ends of time.

Priors that cannot be right show it here, whatever the reason: numbers that are not finite (a network that overflows
half precision), shapes that do not fit, parts that answer the same to unlike questions (weights of zeros), and networks
that predict v = a eps - sigma x0 where their settings say eps, or the reverse. At the last timestep eps is what they
are given, and v is none of it. The noise in a grey picture at a fifth of all timesteps is in both: one that finds it
there is trained, and can be judged. Cosines to the noise, there and at the last: .91 and .09 of the world's network,
which predicts v; .95 and 1.00 of its eps; between -.16 and .16 of three with random weights.

Alphabet: x0, x_t, t, eps as in priors/base.py; a, sigma as in priors/schedule.py.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from errors import UserError, first_line, is_out_of_memory
from priors.base import Prior

TEXTS = ["a", "b"]
SCALE = (0.02, 50.0)  # RMS of latents that unit noise can be added to
FOUND = 0.5  # cosine from which on a network has found the noise
NOTHING = 0.02  # abar at which too little of x0 is left to matter to that cosine; Stable Diffusion's last is .0047


@torch.no_grad()
def refuse_unsound(prior: Prior, name: str) -> None:
    """Raises UserError, which begins with `name`, where the prior cannot be right."""
    device = prior.device  # type: ignore[attr-defined]
    noisy = torch.rand(3, *[prior.image_size] * 2, generator=_rng()).to(device)
    images = torch.stack([noisy, torch.full_like(noisy, 0.5)])
    channels, height, width = prior.latent_shape
    last = len(prior.schedule) - 1
    t = torch.tensor([0, last, last, last // 5], device=device)
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
        grey, noise = x0[1:].expand(4, -1, -1, -1), torch.randn(x0[1:].shape, generator=_rng()).to(device)
        x_t = prior.schedule.noised(grey, noise.expand(4, -1, -1, -1), t)
        with prior.untraced():
            eps = _sound(prior.network(x_t, t, text[[0, 0, 1, 0]]), 4, channels, height, width)
        _refuse_other_prediction(prior, eps[2:], x_t[2:], noise, t[2:])
    except _Unsound as error:
        raise UserError(f"{name} cannot be right: its {part} {error}; {error.mend}.") from error
    except Exception as error:  # a library's own words for sizes that do not fit
        if is_out_of_memory(error):
            raise
        raise UserError(f"{name} cannot be right: its {part} fails ({first_line(error)}); take another.") from error


def _refuse_other_prediction(prior: Prior, eps: Tensor, x_t: Tensor, noise: Tensor, t: Tensor) -> None:
    """By what a network says of the last timestep, and of an early one. Raises _Unsound. A schedule that ends before x0
    is lost tells nothing."""
    if prior.schedule.abar[-1] > NOTHING:
        return
    told = prior.prediction  # type: ignore[attr-defined]
    out = eps if told == "epsilon" else prior.schedule.v_of(prior.schedule.x0_of(x_t, eps, t), eps, t)
    last, early = (F.cosine_similarity(row.flatten(), noise.flatten(), dim=0).item() > FOUND for row in out)
    found = "epsilon" if last else "v_prediction"
    if (last or early) and found != told:
        said = f"predicts {found}, where its scheduler's prediction_type is {told}"
        raise _Unsound(said, "set that right, or take another")


class _Unsound(Exception):
    """What a part does, and what mends it."""

    def __init__(self, said: str, mend: str = "take another"):
        super().__init__(said)
        self.mend = mend


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
