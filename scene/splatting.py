"""Splatting: 3D Gaussians into pictures (3DGS, 2308.04079; EWA, Zwicker et al. 2001).

Alphabet: N Gaussians of mean mu, covariance Sigma = R S S^T R^T (S their scales, R of a quaternion), opacity o and
colour c; a camera of rotation W and focal length f, whose x points right, y down and z forward. In the picture one has

    mu' = f (x, y) / z + (W, H) / 2,      Sigma' = J W Sigma W^T J^T + .3 I,      J = d mu' / d (x, y, z),
    alpha(p) = o exp(-(p - mu')^T Sigma'^-1 (p - mu') / 2)  at a pixel's centre p,

and from near to far, sorted by z, w_i = alpha_i prod_{j<i} (1 - alpha_j), colour = sum_i w_i c_i.

`plain` does this in torch, pixel by pixel: a fragment is a Gaussian at a pixel. It is differentiable and runs
everywhere. On a GPU where gsplat is installed, `fast` calls it for the same numbers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from scene.cameras import Cameras
from scene.volume import March, accumulate, weights

BLUR = 0.3  # pixels^2: added to covariances, so that none falls between pixels
FAINT, SOLID = 1 / 255, 0.999  # an alpha below takes no part, and none is above
NEAR = 0.01  # scene units: what lies nearer to the camera's plane is not seen
BESIDE = 1.3  # of the half picture: beyond it, J is that of its edge, as it grows without bound
FRAGMENTS = 2**21  # looked at in one go where gradients are off


@dataclass(frozen=True)
class Splats:
    """N Gaussians in space. Scales are standard deviations in scene units; rotations are quaternions (w, x, y, z) of
    any length; opacities and colours in [0, 1]."""

    mean: Float[Tensor, "N 3"]
    scale: Float[Tensor, "N 3"]
    rotation: Float[Tensor, "N 4"]
    opacity: Float[Tensor, " N"]
    colour: Float[Tensor, "N 3"]


@dataclass(frozen=True)
class Drawn:
    """Pictures over black: `colour` and `z`, the distance from the camera's plane, are weighted by opacity. `centre`
    is where the Gaussians are in each, in pixels, and has the gradient that they are split by; `seen` whether they are
    in it at all."""

    colour: Float[Tensor, "B 3 H W"]
    opacity: Float[Tensor, "B 1 H W"]
    z: Float[Tensor, "B 1 H W"]
    centre: Float[Tensor, "B N 2"]
    seen: Bool[Tensor, "B N"]


@dataclass(frozen=True)
class Projected:
    """Gaussians in one picture, in pixels, from the left and from the top. `inverse` is Sigma'^-1, its entries xx, xy
    and yy; `reach` how far along x and y an alpha is not too faint, and 0 where it nowhere is."""

    centre: Float[Tensor, "N 2"]
    covariance: Float[Tensor, "N 2 2"]
    inverse: Float[Tensor, "N 3"]
    z: Float[Tensor, " N"]
    reach: Float[Tensor, "N 2"]


def splat(splats: Splats, cameras: Cameras, size: int) -> Drawn:
    """Pictures of `size` squared: by gsplat on a GPU where it is installed, else in plain torch."""
    return fast(splats, cameras, size) if splats.mean.is_cuda and installed() else plain(splats, cameras, size)


def installed() -> bool:
    """Whether gsplat is (the extra `gaussians`)."""
    return find_spec("gsplat") is not None


def views_of(cameras: Cameras, size: int) -> tuple[Float[Tensor, "B 4 4"], Float[Tensor, " B"]]:
    """World to camera, with x right, y down and z forward, and the focal lengths in pixels."""
    flipped = cameras.c2w * cameras.c2w.new_tensor([1.0, -1.0, -1.0, 1.0])
    return torch.linalg.inv(flipped), 0.5 * size / torch.tan(torch.deg2rad(cameras.fov) / 2)


def fast(splats: Splats, cameras: Cameras, size: int) -> Drawn:
    """As `plain`, by gsplat's kernels. Its gradients are added up in any order."""
    from gsplat import rasterization

    world_to_camera, focal = views_of(cameras, size)
    K = torch.zeros_like(world_to_camera[:, :3, :3])
    K[:, 0, 0], K[:, 1, 1], K[:, :2, 2], K[:, 2, 2] = focal, focal, size / 2, 1
    picture, opacity, facts = rasterization(
        means=splats.mean, quats=splats.rotation, scales=splats.scale, opacities=splats.opacity, colors=splats.colour,
        viewmats=world_to_camera, Ks=K, width=size, height=size,
        near_plane=NEAR, eps2d=BLUR, packed=False, render_mode="RGB+D",
    )  # fmt: skip
    colour, z = picture.permute(0, 3, 1, 2).split([3, 1], 1)
    return Drawn(colour, opacity.permute(0, 3, 1, 2), z, facts["means2d"], (facts["radii"] > 0).all(-1))


def plain(splats: Splats, cameras: Cameras, size: int) -> Drawn:
    """In torch, a picture at a time. With gradients, memory grows with the fragments, some 200 bytes each."""
    views = zip(*views_of(cameras, size), strict=True)
    projected = [project(splats, world_to_camera, focal, size) for world_to_camera, focal in views]
    centre = torch.stack([p.centre for p in projected])
    pictures, seen = [], []
    for p, at in zip(projected, centre, strict=True):
        p = replace(p, centre=at)  # so that what is returned has the gradient
        value = torch.cat([splats.colour, torch.ones_like(p.z[:, None]), p.z[:, None]], -1)
        order = p.z.detach().argsort(stable=True)
        rows = [_composed(p, splats, value, order, size, *band) for band in _bands(p, size)]
        pictures.append(torch.cat(rows).reshape(size, size, -1).permute(2, 0, 1))
        first, last = _box(p, size, 0, size)
        seen.append((last > first).all(-1))
    colour, opacity, z = torch.stack(pictures).split([3, 1, 1], 1)
    return Drawn(colour, opacity, z, centre, torch.stack(seen))


def rotations(q: Float[Tensor, "N 4"]) -> Float[Tensor, "N 3 3"]:
    """The matrices of quaternions (w, x, y, z) of any length but 0."""
    w, x, y, z = F.normalize(q, dim=-1).unbind(-1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def project(splats: Splats, world_to_camera: Float[Tensor, "4 4"], focal: Float[Tensor, ""], size: int) -> Projected:
    """Where and how large the Gaussians are in a picture, by the first order of perspective."""
    W, t = world_to_camera[:3, :3], world_to_camera[:3, 3]
    x, y, z = (splats.mean @ W.T + t).unbind(-1)
    there = z > NEAR
    z = torch.where(there, z, 1.0)  # what is not seen must not divide by 0
    slope = torch.stack([x, y], -1) / z[:, None]
    edge = BESIDE * size / 2 / focal
    at = torch.minimum(torch.maximum(slope, -edge), edge)
    zeros, by_plane = torch.zeros_like(z), focal / z
    J = torch.stack([
        torch.stack([by_plane, zeros, -by_plane * at[:, 0]], -1),
        torch.stack([zeros, by_plane, -by_plane * at[:, 1]], -1),
    ], -2)  # fmt: skip
    root = J @ W @ rotations(splats.rotation) * splats.scale[:, None]
    covariance = root @ root.mT + BLUR * torch.eye(2).to(root)
    a, b, c = covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]
    inverse = torch.stack([c, -b, a], -1) / (a * c - b * b)[:, None]
    deviations = (2 * (splats.opacity.detach() / FAINT).log()).clamp(min=0).sqrt() * there
    reach = deviations[:, None] * torch.stack([a, c], -1).detach().sqrt()
    return Projected(focal * slope + size / 2, covariance, inverse, z, reach)


def _box(p: Projected, size: int, top: int, bottom: int) -> tuple[Int[Tensor, "N 2"], Int[Tensor, "N 2"]]:
    """The first pixels, x and y, that the Gaussians reach in a band of rows, and those behind the last: equal or less
    where they reach none."""
    low = p.centre.new_tensor([0, top])
    high = p.centre.new_tensor([size, bottom])
    centre = p.centre.detach()
    first = torch.minimum(torch.maximum((centre - p.reach - 0.5).ceil(), low), high)
    last = torch.minimum(torch.maximum((centre + p.reach - 0.5).floor() + 1, low), high)
    return first.long(), torch.where(p.reach > 0, last, first).long()


def _bands(p: Projected, size: int) -> Iterator[tuple[int, int]]:
    """Rows of the picture, from and to, that are done in one go."""
    parts = 1
    if not torch.is_grad_enabled():
        first, last = _box(p, size, 0, size)
        parts = min(math.ceil(max(int((last - first).clamp(min=0).prod(-1).sum()), 1) / FRAGMENTS), size)
    edges = [size * k // parts for k in range(parts + 1)]
    yield from itertools.pairwise(edges)


def _composed(
    p: Projected,
    splats: Splats,
    value: Float[Tensor, "N D"],
    order: Int[Tensor, " N"],
    size: int,
    top: int,
    bottom: int,
) -> Float[Tensor, "P D"]:
    """The values at the pixels of a band of rows, row by row, of Gaussians in their order from the camera."""
    which, pixel = _fragments(p, order, size, top, bottom)
    at = torch.stack([pixel % size, top + pixel // size], -1) + 0.5
    shape = torch.cat([p.centre, p.inverse, splats.opacity[:, None]], -1).index_select(0, which)
    x, y = (at - shape[:, :2]).unbind(-1)
    xx, xy, yy, opacity = shape[:, 2:].unbind(-1)
    alpha = (opacity * torch.exp(-0.5 * (xx * x * x + yy * y * y) - xy * x * y)).clamp(max=SOLID)
    kept = (alpha >= FAINT).nonzero().squeeze(-1)
    kept = kept[pixel[kept].sort(stable=True).indices]  # by pixel, and in each from near to far
    pixel, which, rays = pixel[kept], which[kept], (bottom - top) * size
    count = pixel.bincount(minlength=rays)
    slot = torch.arange(len(pixel), device=pixel.device) - (count.cumsum(0) - count)[pixel]
    with torch.no_grad():
        place = torch.cat([p.z[:, None], splats.mean], -1).index_select(0, which)
    along = March(pixel, slot, place[:, 0], place[:, 1:], rays, max(int(count.max()), 1))
    weight = weights(-torch.log1p(-alpha.index_select(0, kept)), along)
    return accumulate(weight, value.index_select(0, which), along)


@torch.no_grad()
def _fragments(
    p: Projected, order: Int[Tensor, " N"], size: int, top: int, bottom: int
) -> tuple[Int[Tensor, " M"], Int[Tensor, " M"]]:
    """Gaussians, and the pixels of a band that they may reach, counted row by row: Gaussians in their order."""
    first, last = _box(p, size, top, bottom)
    extent = (last - first).clamp(min=0)
    count = extent.prod(-1)
    order = order[count[order] > 0]
    which = order.repeat_interleave(count[order])
    n = count[order]
    k = torch.arange(len(which), device=which.device) - (n.cumsum(0) - n).repeat_interleave(n)
    wide = extent[:, 0][which]
    x, y = first[:, 0][which] + k % wide, first[:, 1][which] + k // wide
    return which, (y - top) * size + x
