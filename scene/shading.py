"""Light on a scene while it is optimised (DreamFusion, 2209.14988, section 3.1).

albedo: the colour itself; diffuse: colour times (ambient + lamp max(0, n . l)); textureless: the same in white, so
that shape must explain the picture. l points from the surface to the light.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from scene.cameras import Cameras

AMBIENT, LAMP = 0.1, 0.9
SHADINGS = ("albedo", "diffuse", "textureless")


def draw_shading(diffuse: float, textureless: float, rng: torch.Generator) -> str:
    """A shading: 'diffuse' and 'textureless' with the given probabilities, else 'albedo'."""
    u = torch.rand((), generator=rng, device=rng.device).item()
    return "diffuse" if u < diffuse else "textureless" if u < diffuse + textureless else "albedo"


def light_position(cameras: Cameras, rng: torch.Generator | None) -> Float[Tensor, "B 3"]:
    """A light near each camera: direction normalize(camera + N(0, 1)), distance U(.8, 1.5); without rng, the camera."""
    position = cameras.c2w[:, :3, 3]
    if rng is None:
        return position
    noise = torch.randn(len(cameras), 3, generator=rng, device=rng.device).to(position)
    distance = torch.rand(len(cameras), 1, generator=rng, device=rng.device).to(position)
    return F.normalize(position + noise, dim=-1) * (0.8 + 0.7 * distance)


def shade(
    shading: str,
    albedo: Float[Tensor, "N 3"],
    normal: Float[Tensor, "N 3"],
    position: Float[Tensor, "N 3"],
    light: Float[Tensor, "N 3"],
) -> Float[Tensor, "N 3"]:
    """The colours of points under a point light, by one of SHADINGS."""
    towards = F.normalize(light - position, dim=-1)
    bright = AMBIENT + LAMP * (normal * towards).sum(-1, keepdim=True).clamp(min=0)
    return bright.expand_as(albedo) if shading == "textureless" else albedo * bright
