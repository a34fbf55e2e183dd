"""Quirks of the official codes that the product does not copy, reproduced here so that their recordings can be
replayed. Each takes the place of an object the product is given (a prior, a schedule) or acts on what it returns;
test_parity.py shows that and how the product differs without it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from priors.schedule import Schedule
from tests.parity.prior import RecordedPrior


def ramp(value: float | list[float], step: int) -> float:
    """threestudio's numbers that may be schedules: [start, v0, v1, end] is linear in the step and clamped."""
    if not isinstance(value, list):
        return value
    start, v0, v1, end = value
    return v0 + (v1 - v0) * max(min(1.0, (step - start) / (end - start)), 0.0)


class TiledNegatives(RecordedPrior):
    """threestudio's Perp-Neg at batch > 1: the negative texts are interleaved camera by camera while latents and
    timesteps are tiled, so that row k of the negatives, text k % 2 of camera k // 2, meets the latents of item
    k % B."""

    def network(self, x_t: Tensor, t: Tensor, text: Tensor) -> Tensor:
        if len(x_t) == 4 * self.items:  # uncond, positive, first negatives, second negatives
            meets = (2 * torch.arange(self.items) + torch.arange(2)[:, None]).flatten() % self.items
            rows = torch.cat([torch.arange(2 * self.items), meets])
            x_t, t = x_t[rows], t[rows]
        return super().network(x_t, t, text)


class UnconvertedVelocity(RecordedPrior):
    """threestudio's SDS takes the output of a v-prediction model for epsilon."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.predicts = "epsilon"


class UnconvertedTiled(UnconvertedVelocity, TiledNegatives):
    """Both at once."""


class FirstItemsTime(Schedule):
    """threestudio's SDI without inversion computes every item's x0 with the first item's timestep."""

    def x0_of(self, x_t: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        return super().x0_of(x_t, eps, t[:1].expand(len(t)))


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
