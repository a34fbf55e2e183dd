"""The noise from which the prior would have sampled a given image: DDIM inversion, and what else may stand for it.

Alphabet: grid (B,n) rising timesteps, a row an item; eps(x, t) the prediction that the inversion follows.

    x <- a_n (x - sigma_c eps(x, c)) / a_c + sigma_n eps(x, c) + eta std(c, n) N(0, I),  c -> n along the grid

The other choices of kappa in fig. 9 of SDI (2405.15891): noise that is the same at every call, and two direct solvers
of its eq. 8, which start from random noise:

    kappa = eps(a_t x0 + sigma_t kappa, t)
    fixed point    kappa <- eps(x_t)
    SGD            kappa <- kappa - rate d/dkappa 1/2 |kappa - eps(x_t)|^2
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


def fixed_noise(x0: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
    """N(0, I), one picture of it for all items, steps and jobs."""
    noise = torch.empty(x0.shape[1:], dtype=torch.float64).normal_(generator=torch.Generator().manual_seed(0))
    return noise.to(x0).expand_as(x0).clone()


def fixed_point(
    schedule: Schedule,
    eps: Callable[[Tensor, Tensor], Tensor],
    x0: Float[Tensor, "B C h w"],
    kappa: Float[Tensor, "B C h w"],
    t: Int[Tensor, " B"],
    steps: int,
) -> Float[Tensor, "B C h w"]:
    """Eq. 8 iterated from a given kappa. Nothing makes it a contraction."""
    for _ in range(steps):
        kappa = eps(schedule.noised(x0, kappa, t), t)
    return kappa


def descend(
    schedule: Schedule,
    eps: Callable[[Tensor, Tensor], Tensor],
    x0: Float[Tensor, "B C h w"],
    kappa: Float[Tensor, "B C h w"],
    t: Int[Tensor, " B"],
    steps: int,
    rate: float = 0.1,
) -> Float[Tensor, "B C h w"]:
    """Gradient descent from a given kappa on half the squared error of eq. 8, through the network."""
    for _ in range(steps):
        with torch.enable_grad():
            leaf = kappa.detach().requires_grad_()
            error = leaf - eps(schedule.noised(x0, leaf, t), t)
            (slope,) = torch.autograd.grad(0.5 * error.square().sum(), leaf)
        kappa = kappa - rate * slope
    return kappa
