"""Cameras: where a picture is taken from, and the rays that take it.

Alphabet: B cameras; H, W pixels; `c2w` camera-to-world (x right, y up, z backward: the camera looks along -z);
`fov` vertical field of view, `elevation`, `azimuth` in degrees; world z up; azimuth 0 is +x, the object's front,
and grows counter-clockwise seen from above (90 is +y).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Cameras:
    """B cameras. Angles in degrees, lengths in scene units; angles and distance are those before any jitter."""

    c2w: Float[Tensor, "B 4 4"]
    fov: Float[Tensor, " B"]
    elevation: Float[Tensor, " B"]
    azimuth: Float[Tensor, " B"]
    distance: Float[Tensor, " B"]

    def __len__(self) -> int:
        return len(self.c2w)

    def __getitem__(self, index: slice) -> Cameras:
        """The cameras of a slice."""
        return Cameras(*(getattr(self, f.name)[index] for f in fields(self)))

    def to(self, device: torch.device | str) -> Cameras:
        return Cameras(*(getattr(self, f.name).to(device) for f in fields(self)))


@dataclass(frozen=True)
class Samples:
    """The N points along R = B H W rays that a render was made of, sorted by ray, then from near to far.

    `weight` is the share of the ray's light that comes from the point, `distance` lies along the ray. `normal` (unit,
    world space) is None where not asked for. `every`: whether these are all places along the rays within the scene, or
    only those that matter.
    """

    ray: Int[Tensor, " N"]
    weight: Float[Tensor, " N"]
    distance: Float[Tensor, " N"]
    direction: Float[Tensor, "N 3"]
    normal: Float[Tensor, "N 3"] | None = None
    every: bool = False


@dataclass(frozen=True)
class Render:
    """What cameras see. `rgb` in [0, 1] over its background, C = 3 (of a latent scene: unbounded, its channels);
    `opacity` in [0, 1]; `depth` along the ray in scene units, weighted by opacity; `normal` unit vectors in camera
    space, weighted by opacity, or None where not asked for. `samples` are what the regularisers read; None where
    gradients are off, and for a canvas and Gaussians."""

    rgb: Float[Tensor, "B C H W"]
    opacity: Float[Tensor, "B 1 H W"]
    depth: Float[Tensor, "B 1 H W"]
    normal: Float[Tensor, "B 3 H W"] | None = None
    samples: Samples | None = None


def direction(elevation: Float[Tensor, " B"], azimuth: Float[Tensor, " B"]) -> Float[Tensor, "B 3"]:
    """The unit vector from the origin at the angles, in degrees: (cos e cos a, cos e sin a, sin e)."""
    e, a = torch.deg2rad(elevation), torch.deg2rad(azimuth)
    return torch.stack([e.cos() * a.cos(), e.cos() * a.sin(), e.sin()], -1)


def look_at(
    elevation: Float[Tensor, " B"] | float,
    azimuth: Float[Tensor, " B"] | float,
    distance: Float[Tensor, " B"] | float,
    fov: Float[Tensor, " B"] | float,
    *,
    position_jitter: Float[Tensor, "B 3"] | float = 0.0,
    target: Float[Tensor, "B 3"] | float = 0.0,
    up_jitter: Float[Tensor, "B 3"] | float = 0.0,
) -> Cameras:
    """Cameras on a sphere about the origin that look at `target` with z up. Numbers and tensors broadcast.

    Straight above or below, where up and the view are parallel, right is the limit: the direction of growing azimuth.
    """
    angles = torch.broadcast_tensors(*map(torch.as_tensor, (elevation, azimuth, distance, fov)))
    e, a, r, f = (v.reshape(-1) for v in angles)
    position = r[:, None] * direction(e, a) + position_jitter
    forward = F.normalize(target - position, dim=-1)
    up = position.new_tensor([0.0, 0.0, 1.0]) + up_jitter
    right = torch.linalg.cross(forward, up.expand_as(forward))
    east = direction(torch.zeros_like(a), a + 90)
    east = east - (east * forward).sum(-1, keepdim=True) * forward
    right = F.normalize(torch.where(right.norm(dim=-1, keepdim=True) > 1e-5, right, east), dim=-1)
    c2w = torch.eye(4).to(position).repeat(len(position), 1, 1)
    c2w[:, :3] = torch.stack([right, torch.linalg.cross(right, forward), -forward, position], -1)
    return Cameras(c2w, f, e, a, r)


def orbit(n: int = 50, elevation: float = 15.0, distance: float = 2.0, fov: float = 40.0) -> Cameras:
    """The trajectory of evaluation: n cameras at azimuths 360 k / n in [0, 360), the first at the front."""
    return look_at(elevation, 360 * torch.arange(n) / n, distance, fov)


@dataclass(frozen=True)
class CameraRange:
    """Where training cameras are drawn from: (low, high) of uniform distributions, and widths of jitters.

    `position_jitter` is the half-width of a uniform distribution; `target_jitter` and `up_jitter` are standard
    deviations of normal ones (threestudio's random cameras). The defaults are the world's; DreamFusion's and SDI's are
    distance (1.5, 2), fov (40, 70), jitters .1, .2, .02.
    """

    elevation: tuple[float, float] = (-10.0, 45.0)
    azimuth: tuple[float, float] = (-180.0, 180.0)
    distance: tuple[float, float] = (1.9, 2.1)
    fov: tuple[float, float] = (38.0, 42.0)
    position_jitter: float = 0.0
    target_jitter: float = 0.0
    up_jitter: float = 0.0

    def sample(self, n: int, rng: torch.Generator) -> Cameras:
        """n cameras on rng's device. Each elevation is, with even odds, uniform in angle or uniform on the sphere."""
        u = torch.rand(n, 8, generator=rng, device=rng.device)
        normal = torch.randn(n, 6, generator=rng, device=rng.device)
        z_low, z_high = torch.deg2rad(torch.tensor(self.elevation, device=rng.device)).sin()
        on_sphere = torch.rad2deg(torch.asin(torch.lerp(z_low, z_high, u[:, 1])))
        return look_at(
            torch.where(u[:, 0] < 0.5, _between(self.elevation, u[:, 1]), on_sphere),
            _between(self.azimuth, u[:, 2]),
            _between(self.distance, u[:, 3]),
            _between(self.fov, u[:, 4]),
            position_jitter=self.position_jitter * (2 * u[:, 5:] - 1),
            target=self.target_jitter * normal[:, :3],
            up_jitter=self.up_jitter * normal[:, 3:],
        )


def rays(cameras: Cameras, height: int, width: int) -> tuple[Float[Tensor, "B H W 3"], Float[Tensor, "B H W 3"]]:
    """Origins and unit directions, in world space, of the rays through the pixels' centres, at + .5.

    The focal length in pixels is .5 H / tan(fov / 2); row 0 is the top.
    """
    c2w = cameras.c2w
    focal = 0.5 * height / torch.tan(torch.deg2rad(cameras.fov) / 2)
    x = torch.arange(width).to(c2w) + 0.5 - width / 2
    y = height / 2 - torch.arange(height).to(c2w) - 0.5
    plane = torch.stack([*torch.meshgrid(x, y, indexing="xy")], -1) / focal[:, None, None, None]
    local = torch.cat([plane, -torch.ones_like(plane[..., :1])], -1)
    directions = F.normalize(torch.einsum("bij,bhwj->bhwi", c2w[:, :3, :3], local), dim=-1)
    return c2w[:, None, None, :3, 3].expand_as(directions), directions


def _between(bounds: tuple[float, float], u: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    low, high = bounds
    return low + (high - low) * u
