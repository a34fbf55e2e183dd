"""Sphere tracing: true colour, depth, normal and mask of a toy from any camera, and its true occupancy and surface.

The light is fixed in the world (a sky above, a lamp up and to the front), so that a toy is one radiance field, the
same from every camera, and a scene without shading can match it exactly.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from scene.cameras import Cameras, Render, rays
from world.sdf import BOUND, Part, albedo, distance

LAMP = (0.45, 0.25, 0.86)
SKY, SUN = 0.7, 0.3  # shares of the light; together 1, so that an albedo is never exceeded


def normals(parts: list[Part], p: Float[Tensor, "N 3"], h: float = 1e-3) -> Float[Tensor, "N 3"]:
    """Outward unit normals in world space: central differences over the corners of a tetrahedron."""
    corners = p.new_tensor([[1, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]])
    return F.normalize(sum(c * distance(parts, p + h * c)[:, None] for c in corners), dim=-1)


def light(normal: Float[Tensor, "N 3"]) -> Float[Tensor, "N 1"]:
    """Brightness in [0.39, 1] of a surface under the world's light."""
    sky = SKY * (0.78 + 0.22 * normal[:, 2:])
    sun = SUN * (normal @ F.normalize(normal.new_tensor(LAMP), dim=0)).clamp(min=0)[:, None]
    return sky + sun


def radiance(parts: list[Part], p: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
    """What leaves the surface at points p: colour in [0, 1], the same in every direction."""
    return (albedo(parts, p) * light(normals(parts, p))).clamp(0, 1)


def inside(parts: list[Part], p: Float[Tensor, "N 3"]) -> Bool[Tensor, " N"]:
    """The true occupancy of points."""
    return distance(parts, p) < 0


def surface(parts: list[Part], n: int, rng: torch.Generator) -> Float[Tensor, "n 3"]:
    """Points on the true surface: random points of the bounding ball, moved along the gradient of the distance."""
    found: list[Tensor] = []
    while sum(map(len, found)) < n:
        p = (torch.rand(8 * n, 3, generator=rng) * 2 - 1) * BOUND
        p = p[distance(parts, p).abs() < 0.05]
        for _ in range(8):
            p = p - distance(parts, p)[:, None] * normals(parts, p)
        found.append(p[distance(parts, p).abs() < 2e-3])
    return torch.cat(found)[:n]


def _march(parts: list[Part], origin: Tensor, direction: Tensor, steps: int = 64) -> tuple[Tensor, Tensor]:
    """First hits of flat rays: distance along the ray (N,) and whether it hit (N,)."""
    b = (origin * direction).sum(-1)
    root = b * b - origin.square().sum(-1) + BOUND**2
    near, far = -b - root.clamp(min=0).sqrt(), -b + root.clamp(min=0).sqrt()
    depth, hit = near.clamp(min=0), torch.zeros_like(b, dtype=torch.bool)
    active = (root > 0).nonzero().squeeze(-1)
    rows = [x[active] for x in (origin, direction, depth[:, None], far[:, None])]
    under_way = torch.cat(rows, -1).T.contiguous()  # a column a ray
    for _ in range(steps):
        if not len(active):
            break
        o, u, t, end = under_way[:3], under_way[3:6], under_way[6], under_way[7]
        d = distance(parts, (o + t * u).T)
        t += 0.9 * d
        arrived = d.abs() < 1e-3
        on = ~arrived & (t < end)
        stopped, going = (which.nonzero().squeeze(-1) for which in (~on, on))
        depth[active[stopped]], hit[active[stopped]] = t[stopped], arrived[stopped]
        active, under_way = active[going], under_way.gather(1, going.expand(len(under_way), -1))
    depth[active] = under_way[6]
    return depth, hit


@torch.no_grad()
def trace(parts: list[Part], cameras: Cameras, resolution: int, supersample: int = 2) -> Render:
    """True pictures of a toy, on black: rgb premultiplied by opacity. (B,·,resolution,resolution); each pixel is the
    mean of supersample^2 rays. Normals in camera space, weighted by opacity. Depth is 0 where nothing is hit."""
    side = resolution * supersample
    origin, direction = rays(cameras, side, side)
    shape = direction.shape[:-1]
    origin, direction = origin.reshape(-1, 3), direction.reshape(-1, 3)
    depth, hit = _march(parts, origin, direction)
    p = origin[hit] + depth[hit, None] * direction[hit]
    n = normals(parts, p)
    picture = origin.new_zeros(len(origin), 8)  # rgb, opacity, depth, normal
    world_to_camera = cameras.c2w[:, :3, :3].transpose(1, 2)
    camera = torch.arange(len(cameras)).repeat_interleave(side * side)[hit.cpu()]
    picture[hit, :3] = (albedo(parts, p) * light(n)).clamp(0, 1)
    picture[hit, 3] = 1.0
    picture[hit, 4] = depth[hit]
    picture[hit, 5:] = (world_to_camera[camera] @ n[..., None]).squeeze(-1)
    image = F.avg_pool2d(picture.reshape(*shape, 8).permute(0, 3, 1, 2), supersample)
    return Render(image[:, :3], image[:, 3:4], image[:, 4:5], image[:, 5:])
