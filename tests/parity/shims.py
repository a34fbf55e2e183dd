"""Quirks of the official codes that the product does not copy, reproduced here so that their recordings can be
replayed. Each takes the place of an object the product is given (a prior, a schedule) or acts on what it returns;
test_parity.py shows that and how the product differs without it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from priors import guidance
from priors.base import Prior
from priors.schedule import Schedule, per_item
from tests.parity.prior import RecordedPrior
from tests.parity.recording import Case


class TiledNegatives(RecordedPrior):
    """threestudio's Perp-Neg at batch > 1: the negative texts are interleaved camera by camera while latents and
    timesteps are tiled, so that row k of the negatives, text k % 2 of camera k // 2, meets the latents of item
    k % B."""

    def output(self, x_t: Tensor, t: Tensor, text: Tensor) -> Tensor:
        if len(x_t) >= 4 * self.items:  # uncond, positive, first negatives, second negatives, and CSD's empty prompt
            meets = (2 * torch.arange(self.items) + torch.arange(2)[:, None]).flatten() % self.items
            rows = torch.cat([torch.arange(2 * self.items), meets, torch.arange(4 * self.items, len(x_t))])
            x_t, t = x_t[rows], t[rows]
        return super().output(x_t, t, text)


class UnconvertedVelocity(RecordedPrior):
    """threestudio's SDS, SJC and HiFA, CSD's and LucidDreamer's code take the output of a v-prediction model for
    epsilon."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.predicts = "epsilon"


class UnconvertedTiled(UnconvertedVelocity, TiledNegatives):
    """Both at once."""


class LucidSteps(Schedule):
    """LucidDreamer's noise in the inversion: `eta` multiplies the variance, which is capped, before the root is
    taken, and the direction shrinks. There is none where a step goes nowhere or is the last, from s to t. Its steps,
    and they alone, know v-prediction."""

    def __init__(self, abar: Tensor, eta: float, last: int, predicts: str):
        super().__init__(abar)
        for name, value in (("eta", eta), ("last", last), ("predicts", predicts)):
            object.__setattr__(self, name, value)

    def ddim_step(self, x_t: Tensor, eps: Tensor, t: Tensor, to: Tensor) -> Tensor:
        if self.predicts == "v_prediction":
            eps = self.eps_of_v(x_t, eps, t)
        plain = super().ddim_step(x_t, eps, t, to)
        if self.eta == 0 or to[0] == self.last or to[0] == t[0]:
            return plain
        now, later = self.at(t), self.at(to)
        variance = self.eta * ((1 - later) / (1 - now) * (1 - now / later)).abs()
        std = torch.minimum(variance, (1 - later) / 2).sqrt()
        shrunk = (1 - later - std**2).sqrt() - (1 - later).sqrt()
        noise = torch.randn(x_t.shape, dtype=x_t.dtype)
        return plain + per_item(shrunk, x_t) * eps + per_item(std, x_t) * noise


def offset_noise(normals: list[Tensor], idle: int = 0) -> list[Tensor]:
    """LucidDreamer's noise is N(0, 1) + .1 N(0, 1) of each channel; the first call draws such a pair more, for later.
    Of all pairs the last is used: one tensor in its place. Steps that go nowhere draw `idle` tensors, and add none."""
    pairs = [i for i, draw in enumerate(normals) if draw.ndim == 4 and draw.shape[0] == 1 and draw.shape[2:] == (1, 1)]
    used = normals[pairs[-1] - 1] + 0.1 * normals[pairs[-1]]
    return [*normals[: pairs[0] - 1], used, *normals[pairs[-1] + 1 + idle :]]


def mirrored_latents(case: Case, prior: Prior) -> tuple[Tensor, Tensor]:
    """LucidDreamer mirrors every second batch of images: latents, and the image they come from as a leaf."""
    rgb = case["in.rgb"].clone().requires_grad_()
    mirror = next(case[d["key"]] for d in case.entry["draws"] if "flip" in d["meaning"]).item() < 0.5
    return prior.encode(rgb.flip(-1) if mirror else rgb, torch.Generator()), rgb


@contextmanager
def given_texts(texts: Tensor, weights: Tensor | None) -> Iterator[None]:
    """LucidDreamer chooses a camera's texts, and its Perp-Neg weights, outside of the rule: texts (K,B,L,D) positive
    and negatives, weights (K,B) with 1 first, take the place of ours. Weights below 1e-4 count for 0."""
    ours = guidance.condition, guidance.perp_neg_texts, guidance.perp_neg_weights
    guidance.condition = lambda text, cameras: texts[0]
    guidance.perp_neg_texts = lambda text, cameras: tuple(texts)
    guidance.perp_neg_weights = lambda cameras: torch.where(weights[1:].abs() > 1e-4, weights[1:], 0.0).T
    try:
        yield
    finally:
        guidance.condition, guidance.perp_neg_texts, guidance.perp_neg_weights = ours


class FirstItemsTime(Schedule):
    """threestudio's SDI without inversion computes every item's x0, from eps or v, with the first item's timestep."""

    def x0_of(self, x_t: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        return super().x0_of(x_t, eps, t[:1].expand(len(t)))

    def eps_of_v(self, x_t: Tensor, v: Tensor, t: Tensor) -> Tensor:
        return super().eps_of_v(x_t, v, t[:1].expand(len(t)))


def first_items_time(prior: RecordedPrior) -> RecordedPrior:
    prior.schedule = FirstItemsTime(prior.schedule.abar)
    return prior


def exponential_perp_neg(
    front: Tensor, side: Tensor, back: Tensor, azimuth: float, w: float, front_decay: float, side_decay: float
) -> tuple[Tensor, Tensor]:
    """LucidDreamer's and HiFA's Perp-Neg: another decay, cut off near the ends, and -90 degrees counted to the front
    half. Texts (3,L,D) positive, first and second negative; weights (3,)."""
    if -90 <= azimuth < 90:
        r = torch.tensor(1 - abs(azimuth) / 90, dtype=torch.float64)
        texts = torch.cat([r * front + (1 - r) * side, front, side])
        first, second = w * torch.exp(-front_decay * r), w * torch.exp(-side_decay * (1 - r))
        second = second if r >= 0.2 else 0 * second
    else:
        r = torch.tensor(2 - abs(azimuth) / 90, dtype=torch.float64)
        texts = torch.cat([r * side + (1 - r) * back, side, front])
        first, second = w / 2 * torch.exp(-side_decay * r), torch.tensor(w, dtype=torch.float64)
    first = first if r <= 0.8 else 0 * first
    return texts, torch.stack([torch.ones_like(first), first, second])
