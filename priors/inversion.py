"""DDIM inversion: the noise from which the prior would have sampled a given image.

Alphabet: grid (B,n) rising timesteps, a row an item; eps(x, t) the prediction that the inversion follows.

    x <- a_n (x - sigma_c eps(x, c)) / a_c + sigma_n eps(x, c) + eta std(c, n) N(0, I),  c -> n along the grid
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from priors.schedule import Schedule, per_item, randn_like


def invert(
    schedule: Schedule,
    eps: Callable[[Tensor, Tensor], Tensor],
    x0: Float[Tensor, "B C h w"],
    grid: Int[Tensor, "B n"],
    rng: torch.Generator,
    eta: float = 0.0,
) -> Float[Tensor, "B C h w"]:
    """x at the last timestep of the grid, x0 standing at the first. The noise of eta > 0 is added without shrinking
    the direction, as in the official SDI code. A repeated timestep leaves its item where it is."""
    x = x0
    for now, later in zip(grid.T[:-1], grid.T[1:], strict=True):
        x = schedule.ddim_step(x, eps(x, now), now, later)
        if eta > 0:
            x = x + eta * per_item(schedule.ddim_std(now, later), x) * randn_like(x, rng)
    return x
