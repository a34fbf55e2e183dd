"""What a prior draws by itself: DDIM (2010.02502) without noise, along a falling grid of timesteps.

Alphabet: x_T (B,C,h,w) noise at the grid's first timestep; x0^ and eps^ the predictions at each; grid (n,) falling.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from priors.base import Prior, Text
from priors.guidance import guided_eps
from scene.cameras import Cameras


def falling_grid(prior: Prior, steps: int) -> Int[Tensor, " n"]:
    """Timesteps from the last down to one step above 0."""
    return torch.linspace(len(prior.schedule) - 1, 0, steps + 1).round().long()[:-1]


@torch.no_grad()
def along(
    prior: Prior,
    eps: Callable[[Tensor, Tensor], Tensor],
    x_T: Float[Tensor, "B C h w"],
    grid: Int[Tensor, " n"],
) -> Iterator[tuple[int, Float[Tensor, "B C h w"], Float[Tensor, "B C h w"]]]:
    """t, x0^ and eps^ = eps(x, t) at each timestep of a falling grid, x_T standing at the first."""
    x = x_T
    for now, then in itertools.pairwise([*grid.tolist(), 0]):
        t = torch.full((len(x),), now)
        said = eps(x, t)
        yield now, prior.schedule.x0_of(x, said, t), said
        x = prior.schedule.ddim_step(x, said, t, torch.full_like(t, then))


def ddim(
    prior: Prior,
    text: Text,
    cameras: Cameras,
    x_T: Float[Tensor, "B C h w"],
    grid: Int[Tensor, " n"],
    scale: float,
    perp_neg: bool = False,
) -> Iterator[tuple[int, Float[Tensor, "B C h w"], Float[Tensor, "B C h w"]]]:
    """`along` the guided predictions of one text."""
    return along(prior, lambda x, t: guided_eps(prior, x, t, text, cameras, scale, perp_neg), x_T, grid)
