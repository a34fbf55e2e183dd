"""What a training picture is called: its prompt, and from where it is seen, in coarse and in fine words.

A caption is a mixture of two texts, `first` and `second`, by a `share` in [0, 1] of the second: neighbouring sectors
are mixed by azimuth, in training as in distillation (`priors.text.condition`), so that the condition is nearly
continuous. Captions are as the web's are: some are empty, as classifier-free guidance needs (2207.12598), many say
nothing of the view, some name another thing or another side. So a text narrows down what it is about but does not
determine it, and guidance has work to do, as in Stable Diffusion.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from priors.text import COARSE, SECTORS

WORDS = ("", *COARSE.values(), *SECTORS)


class Shares(NamedTuple):
    """Of captions: those that are empty, that say nothing of the view, and that name a coarse one (the rest names a
    sector); and those that name a toy, or a side, drawn at random."""

    empty: float
    plain: float
    coarse: float
    other_toy: float
    other_view: float


WEB, TRUE = Shares(0.10, 0.15, 0.20, 0.10, 0.03), Shares(0.0, 0.03, 0.05, 0.0, 0.0)


class Captions(NamedTuple):
    """Of B pictures: two texts, as places in `every_caption`, and the share of the second."""

    first: Int[Tensor, " B"]
    second: Int[Tensor, " B"]
    share: Float[Tensor, " B"]


def every_caption(prompts: list[str]) -> list[str]:
    """All texts that a caption may use: the vocabulary that the tokenizer is trained on."""
    return ["", *(prompt + word for prompt in prompts for word in WORDS)]


def draw(
    label: Int[Tensor, " B"],
    azimuth: Float[Tensor, " B"],
    view: Int[Tensor, " B"],
    toys: int,
    rng: torch.Generator,
    shares: Shares = WEB,
) -> Captions:
    """Captions of pictures of the toys `label`, one of `toys`, from their azimuths in degrees and their
    `priors.text.view_index`; all on the device of `rng`."""
    n, device = len(label), label.device
    kind, toy, side, turn = torch.rand(4, n, generator=rng, device=device)
    other = torch.randint(toys, (n,), generator=rng, device=device)
    label = torch.where(toy < shares.other_toy, other, label)
    azimuth = torch.where(side < shares.other_view, 360 * turn, azimuth % 360)
    view = torch.where(side < shares.other_view, (4 * turn).long(), view)
    place = azimuth * (len(SECTORS) / 360)
    sector = place.floor()
    named = kind >= shares.empty + shares.plain + shares.coarse
    coarse = torch.where(kind < shares.empty + shares.plain, 0, 1 + view)
    left, right = (1 + len(COARSE) + (sector.long() + k) % len(SECTORS) for k in (0, 1))
    toy_at = 1 + label * len(WORDS)
    first, second = (torch.where(kind < shares.empty, 0, toy_at + torch.where(named, k, coarse)) for k in (left, right))
    return Captions(first, second, torch.where(named, place - sector, 0.0))
