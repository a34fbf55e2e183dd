"""What lies behind the volume: a learned function of the ray's direction, or random near-neutral greys.

A constant grey leaves opacity unidentifiable (fog of that grey costs nothing); colourful random ones turn into fog.
"""

from __future__ import annotations

import itertools

import torch
from jaxtyping import Float
from torch import Tensor, nn

GREY = 0.6  # of evaluation
LOW, HIGH, TINT = 0.35, 0.85, 0.03


def grey_background(n: int, height: int, width: int, rng: torch.Generator) -> Float[Tensor, "n 3 height width"]:
    """n random backgrounds, on rng's device: vertical gradients between two greys in [.35, .85], tinted by +-.03."""
    u = torch.rand(n, 5, 1, 1, generator=rng, device=rng.device)
    ends = LOW + (HIGH - LOW) * u[:, :2]
    down = ((torch.arange(height, device=rng.device) + 0.5) / height)[:, None]
    tint = TINT * (2 * u[:, 2:] - 1)
    return (torch.lerp(ends[:, :1], ends[:, 1:], down) + tint).expand(n, 3, height, width)


def coloured(
    behind: Float[Tensor, "n 3 height width"], odds: float, rng: torch.Generator
) -> Float[Tensor, "n 3 height width"]:
    """With those odds, one random colour in place of all that lies behind a view (threestudio's random_aug). The
    gradient of what is replaced is 0."""
    u = torch.rand(len(behind), 4, 1, 1, generator=rng, device=rng.device).to(behind)
    return torch.where(u[:, :1] < odds, u[:, 1:], behind)


def spherical_harmonics(d: Float[Tensor, "N 3"]) -> Float[Tensor, "N 9"]:
    """The real spherical harmonics of degrees 0 to 2 of unit vectors: nine, which the field calls 'degree 3'."""
    x, y, z = d.unbind(-1)
    ones = torch.ones_like(x)
    second = (1.0925484 * x * y, 1.0925484 * y * z, 0.3153916 * (3 * z * z - 1), 1.0925484 * x * z)
    return torch.stack(
        [0.2820948 * ones, 0.4886025 * y, 0.4886025 * z, 0.4886025 * x, *second, 0.5462742 * (x * x - y * y)],
        -1,
    )


class LearnedBackground(nn.Module):
    """Direction -> SH -> 16 -> 16 -> 3, sigmoid (threestudio's neural environment map)."""

    def __init__(self, rng: torch.Generator):
        super().__init__()
        widths = (9, 16, 16, 3)
        self.layers = nn.ParameterList(linear(i, o, rng) for i, o in itertools.pairwise(widths))

    def forward(self, d: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
        h = spherical_harmonics(d)
        for layer in self.layers[:-1]:
            h = torch.relu(h @ layer)
        return torch.sigmoid(h @ self.layers[-1])


def linear(fan_in: int, fan_out: int, rng: torch.Generator) -> nn.Parameter:
    """The matrix of a layer without bias, uniform within 1 / sqrt(fan_in), on rng's device."""
    return nn.Parameter((2 * torch.rand(fan_in, fan_out, generator=rng, device=rng.device) - 1) / fan_in**0.5)
