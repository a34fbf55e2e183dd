"""A scene's surface as a triangle mesh.

Alphabet: sigma(x) a field's density; o_v(x) the opacity that view v of V shows where x is in it; the surface is where

    min(sigma(x) / LEVEL, o(x) / SOLID) = 1,     o(x) the value that SHARE of the views reach at x.

A density alone does not say what is solid: a scene that was optimised for little time is a fog, of which a ray takes a
long way, and every scene has its own threshold. So the threshold is low, and what most views see through is carved off
it (the hull of silhouettes; Kutulakos & Seitz 2000). docs/export.md has how well this fits, measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from engine.exports.fields import CHUNK, Field
from engine.recipes.base import Orbit
from engine.views import seen
from priors.base import Prior
from scene.base import Scene
from scene.cameras import Cameras, Render, look_at
from scene.splatting import views_of

LEVEL = 2.0  # density, per scene unit, of the thinnest solid
SOLID = 0.5  # opacity of a silhouette, as in eval.truth
SHARE = 0.9  # of the views, that must see something solid
RINGS = (-10.0, 15.0, 45.0)  # degrees of elevation of the views: what training cameras see
AROUND = 16  # views of a ring
SIZE = 128  # pixels along an edge of these views
NEAR = 0.15  # scene units between a place on the surface and what a view shows there, at most
SHOWN = 0.3  # opacity, below which a view shows nothing
STRAIGHT = 32  # power of the cosine by which views count: a mean of more views blurs what a fuzzy surface shows


@dataclass(frozen=True)
class Mesh:
    """Triangles, counter-clockwise seen from outside, z up and +x in front; colours in [0, 1], as pictures have them
    (sRGB)."""

    vertices: Float[ndarray, "N 3"]
    faces: Int[ndarray, "F 3"]
    normals: Float[ndarray, "N 3"]
    colours: Float[ndarray, "N 3"]


@torch.no_grad()
def mesh_of(
    scene: Scene, field: Field, orbit: Orbit, resolution: int, faces: int, prior: Prior | None = None
) -> Mesh | None:
    """The surface of a scene by a grid of `resolution` cells along its longest edge, of at most so many faces; None
    where it is empty. The orbit says how far the cameras are; the prior decodes the views of latents."""
    if field.is_empty:
        return None
    cameras = around(orbit).to(field.low.device)
    views = seen(scene, cameras, SIZE, prior)
    x, cell = _grid(field, resolution)
    volume = _solid(field, views, cameras, x.reshape(-1, 3)).reshape(x.shape[:3])
    found = _marched(volume.cpu().numpy(), faces)
    if found is None:
        return None
    vertices, triangles, normals = found
    vertices = vertices * cell + field.low.cpu().numpy() - cell
    at, out = (torch.from_numpy(v.astype(np.float32)).to(field.low) for v in (vertices, normals))
    return Mesh(at.cpu().numpy(), triangles, out.cpu().numpy(), _colours(views, cameras, at, out))


def around(orbit: Orbit) -> Cameras:
    """AROUND cameras at each elevation of RINGS."""
    azimuth = 360 / AROUND * torch.arange(AROUND)
    return look_at(torch.tensor(RINGS).repeat_interleave(AROUND), azimuth.repeat(len(RINGS)), orbit.distance, orbit.fov)


def _grid(field: Field, resolution: int) -> tuple[Float[Tensor, "X Y Z 3"], float]:
    """Points of the field's box with an edge of nothing around it, and how far they lie apart. The first within the box
    is its corner."""
    size = field.high - field.low
    cell = float(size.amax() / resolution)
    axes = [low + cell * torch.arange(-1, int(n) + 2, device=low.device)
            for low, n in zip(field.low, (size / cell - 1e-3).ceil(), strict=True)]  # fmt: skip
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1), cell


def _solid(field: Field, views: Render, cameras: Cameras, x: Float[Tensor, "N 3"]) -> Float[Tensor, " N"]:
    """min(sigma / LEVEL, o / SOLID) of points."""
    dense = torch.cat([field.density(some) for some in x.split(CHUNK)]) / LEVEL
    for some in (dense > 0.1).nonzero().squeeze(-1).split(CHUNK):  # thinner ones stay outside, whatever is seen
        dense[some] = torch.minimum(dense[some], agreed(views.opacity, cameras, x[some]) / SOLID)
    return dense


def agreed(opacity: Float[Tensor, "V 1 H W"], cameras: Cameras, x: Float[Tensor, "N 3"]) -> Float[Tensor, " N"]:
    """The opacity that SHARE of the views reach where points are in them. A view in which a point is not sees it as
    solid: it does not say otherwise."""
    size = opacity.shape[-1]
    reached = []
    for view, matrix, focal in zip(opacity, *views_of(cameras, size), strict=True):
        value, inside = _looked_up(view, matrix, focal, x)
        reached.append(torch.where(inside, value[:, 0], 1.0))
    return torch.stack(reached).kthvalue(int((1 - SHARE) * len(reached)) + 1, dim=0).values


def _looked_up(
    view: Float[Tensor, "C H W"], matrix: Float[Tensor, "4 4"], focal: Float[Tensor, ""], x: Float[Tensor, "N 3"]
) -> tuple[Float[Tensor, "N C"], Bool[Tensor, " N"]]:
    """What a view shows at points, and whether they are in it."""
    right, down, ahead = (x @ matrix[:3, :3].T + matrix[:3, 3]).unbind(-1)
    at = torch.stack([right, down], -1) / ahead.clamp(min=1e-6)[:, None] * (2 * focal / view.shape[-1])
    value = F.grid_sample(view[None], at[None, None], align_corners=False)[0, :, 0].T
    return value, (ahead > 0) & (at.abs() < 1).all(-1)


def _marched(
    volume: Float[ndarray, "X Y Z"], faces: int
) -> tuple[Float[ndarray, "N 3"], Int[ndarray, "F 3"], Float[ndarray, "N 3"]] | None:
    """Vertices in cells, triangles and normals of the surface where the volume is 1."""
    from fast_simplification import simplify
    from skimage.measure import marching_cubes
    from trimesh import Trimesh

    if not volume.max() > 1:
        return None
    vertices, triangles, *_ = marching_cubes(volume, 1.0, gradient_direction="ascent")
    if len(triangles) > faces:
        vertices, triangles = simplify(vertices, triangles, target_count=faces)
    if not len(triangles):
        return None
    return vertices, triangles, Trimesh(vertices, triangles, process=False).vertex_normals


def _colours(
    views: Render, cameras: Cameras, at: Float[Tensor, "N 3"], normal: Float[Tensor, "N 3"]
) -> Float[ndarray, "N 3"]:
    """What the views that look straightest at places on the surface show of them; what none sees has the colour of the
    nearest place that is seen. On the grey of evaluation where light comes through, as pictures."""
    from scipy.spatial import cKDTree

    best = at.new_zeros(len(at))
    for _, facing in _looks(views, cameras, at, normal):
        best = torch.maximum(best, facing)
    total, weights = at.new_zeros(len(at), 3), at.new_zeros(len(at), 1)
    for shown, facing in _looks(views, cameras, at, normal):
        weight = (facing / best.clamp(min=1e-6))[:, None] ** STRAIGHT
        total, weights = total + weight * shown, weights + weight
    colours = (total / weights.clamp(min=1e-9)).cpu().numpy()
    known = (best > 0.01).cpu().numpy()
    if known.any() and not known.all():
        _, nearest = cKDTree(at[known].cpu().numpy()).query(at[~known].cpu().numpy())
        colours[~known] = colours[known][nearest]
    return colours


def _looks(
    views: Render, cameras: Cameras, at: Float[Tensor, "N 3"], normal: Float[Tensor, "N 3"]
) -> Iterator[tuple[Float[Tensor, "N 3"], Float[Tensor, " N"]]]:
    """What each view shows at places on the surface, and the cosine at which it looks at them; 0 where it does not see
    them."""
    depth = views.depth / views.opacity.clamp(min=1e-3)
    pictures = torch.cat([views.rgb.clamp(0, 1), depth, views.opacity], 1)
    for view, matrix, focal, c2w in zip(pictures, *views_of(cameras, SIZE), cameras.c2w, strict=True):
        value, inside = _looked_up(view, matrix, focal, at)
        ray = c2w[:3, 3] - at
        far = ray.norm(dim=-1)
        facing = ((ray / far[:, None]) * normal).sum(-1).clamp(min=0)
        there = inside & (value[:, 4] > SHOWN) & ((value[:, 3] - far).abs() < NEAR)
        yield value[:, :3], facing * there
