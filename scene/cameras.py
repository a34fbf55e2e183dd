"""Cameras: where a picture is taken from, and the rays that take it.

Alphabet: B cameras; H, W pixels; `c2w` camera-to-world (x right, y up, z backward: the camera looks along -z);
`fov` vertical field of view, `elevation`, `azimuth` in degrees; world z up; azimuth 0 is +x, the object's front,
and grows counter-clockwise seen from above (90 is +y).
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Cameras:
    """B cameras. Angles in degrees, lengths in scene units."""

    c2w: Float[Tensor, "B 4 4"]
    fov: Float[Tensor, " B"]
    elevation: Float[Tensor, " B"]
    azimuth: Float[Tensor, " B"]
    distance: Float[Tensor, " B"]

    def __len__(self) -> int:
        return len(self.c2w)


@dataclass(frozen=True)
class Render:
    """What cameras see. `rgb` in [0, 1] over its background; `opacity` in [0, 1]; `depth` along the ray in scene
    units; `normal` unit vectors in camera space, weighted by opacity, or None where not asked for."""

    rgb: Float[Tensor, "B 3 H W"]
    opacity: Float[Tensor, "B 1 H W"]
    depth: Float[Tensor, "B 1 H W"]
    normal: Float[Tensor, "B 3 H W"] | None = None
