"""Measures against a known object in space: depth, surface, volume. From the depths of a job's views, by whatever kind
of scene they were rendered, so that what no camera sees (a hollow within) counts in none.

Alphabet: V views with their mates, as `eval.truth` pairs them; d the depth of a pixel: how far along its ray what it
shows lies, infinite where it is not solid; sd(p) the true signed distance of points. Lengths in scene units: an object
measures about 1, a pixel of the world's views .023, a step along their rays .043. All of a job is moved by its yaw into
the truth's frame: its view v stands where the truth's camera of its mate does.
"""

from __future__ import annotations

import math
from dataclasses import fields

import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree
from torch import Tensor

from eval.metric import Metric, Seen
from eval.truth import KNOWN, Shape, alignment
from scene.cameras import Cameras, rays

NEAR = 0.04  # tau of the F-score
POINTS = 20_000  # at most, of a surface
AIR = 0.3  # of the views: what so many see through is not solid
EDGE, CELLS = 0.6, 48  # of the grid of the volume: half its edge, and how many along it


def depth_error(d: Float[Tensor, "V 1 H W"], true: Float[Tensor, "V 1 H W"]) -> Float[Tensor, " V"]:
    """Mean |d - d*| of each view, over pixels that are solid in it and in its mate (given beside it), >= 0; NaN where
    none is. Silhouettes are IoU's affair. A soft surface is seen into: a field fitted to true views has .03 to .05."""
    both = d.isfinite() & true.isfinite()
    return torch.where(both, (d - true).abs(), 0.0).sum((1, 2, 3)) / both.sum((1, 2, 3))


def surface(d: Float[Tensor, "V 1 H W"], cameras: Cameras) -> Float[Tensor, "N 3"]:
    """What solid pixels show, as points: every k-th, so that they are at most POINTS."""
    origin, direction = rays(cameras, *d.shape[-2:])
    solid = d[:, 0].isfinite()
    points = origin[solid] + d[:, 0][solid][:, None] * direction[solid]
    return points[:: max(-(-len(points) // POINTS), 1)]


def f_score(points: Float[Tensor, "N 3"], distance: Float[Tensor, " N"], true_points: Float[Tensor, "M 3"]) -> float:
    """2 P R / (P + R), in [0, 1] (Knapitsch et al. 2017): P the share of the job's points with |sd| < tau, `distance`
    being their sd; R the share of true points within tau of one of the job's. 0 of nothing."""
    if not len(points):
        return 0.0
    precision = float((distance.abs() < NEAR).float().mean())
    gaps, _ = KDTree(points.numpy()).query(true_points.numpy(), distance_upper_bound=NEAR)
    recall = float((gaps < NEAR).mean())
    return 2 * precision * recall / max(precision + recall, 1e-9)


def volume_iou(solid: Bool[Tensor, " N"], true: Bool[Tensor, " N"], known: Bool[Tensor, " N"]) -> float:
    """|solid and true| / |solid or true| over grid points, in [0, 1]: solid what the job's views do not see through
    (`carved`), true what lies inside the surface, sd < 0. Over `known` points, of which the true views say what sd
    says: not where no camera looks, beneath or in a hollow, and not at the rims of pixels. So the truth has 1."""
    both, either = (solid & true & known).sum(), ((solid | true) & known).sum()
    return float(both / either.clamp(min=1))


def carved(points: Float[Tensor, "N 3"], d: Float[Tensor, "V 1 H W"], cameras: Cameras) -> Bool[Tensor, " N"]:
    """Which points are left when those are taken away that more than AIR of the views see through: they lie before what
    is shown in their pixel, or in one that is not solid. Fewer are not believed: a field is soft, and one torn pixel in
    one view would cut through it. Outside of its picture a view sees nothing."""
    through = torch.zeros(len(points))
    for shown, c2w, fov in zip(d[:, 0], cameras.c2w, cameras.fov, strict=True):
        row, column, inside, far = _pixels(points, c2w, fov, shown.shape)
        through += inside & (far < shown[row, column])
    return through <= AIR * len(d)


def _pixels(
    points: Float[Tensor, "N 3"], c2w: Float[Tensor, "4 4"], fov: Tensor, size: torch.Size
) -> tuple[Int[Tensor, " N"], Int[Tensor, " N"], Bool[Tensor, " N"], Float[Tensor, " N"]]:
    """Row and column of points in a camera's picture, whether they are in it, and how far from the camera they are."""
    x, y, ahead, far = projected(points, c2w, fov, size)
    column, row = x.floor().long(), y.floor().long()
    inside = ahead & (row >= 0) & (row < size[0]) & (column >= 0) & (column < size[1])
    return row.clamp(0, size[0] - 1), column.clamp(0, size[1] - 1), inside, far


def projected(
    points: Float[Tensor, "N 3"], c2w: Float[Tensor, "4 4"], fov: Tensor, size: torch.Size
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"], Bool[Tensor, " N"], Float[Tensor, " N"]]:
    """Where a camera sees points: x and y in pixels from the upper left of its picture, whether they are before it, and
    how far from it they are. The inverse of `scene.cameras.rays`."""
    local = (points - c2w[:3, 3]) @ c2w[:3, :3]
    far, ahead = local.norm(dim=-1), -local[:, 2]
    focal = 0.5 * size[0] / torch.tan(torch.deg2rad(fov) / 2)
    return local[:, 0] / ahead * focal + size[1] / 2, size[0] / 2 - local[:, 1] / ahead * focal, ahead > 0, far


def grid() -> Float[Tensor, "N 3"]:
    """The middles of the cells of the volume."""
    axis = (torch.arange(CELLS) + 0.5) / CELLS * 2 * EDGE - EDGE
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)


def measure(
    d: Float[Tensor, "V 1 H W"], mate: Int[Tensor, " V"], shape: Shape, variant: int = 0
) -> dict[str, Float[Tensor, " V"]]:
    """All measures of a job, against a variant of the truth. Those of the whole object are the same for every view."""
    cameras, true, points = shape.cameras, shape.depth[variant], grid()
    paired = Cameras(*(getattr(cameras, f.name)[mate] for f in fields(Cameras)))
    found, inside = surface(d, paired), shape.distance(points, variant) < 0
    known = inside == carved(points, true, cameras)
    ones = torch.ones(len(d))
    return {
        "depth_error": depth_error(d, true[mate]),
        "f_score": f_score(found, shape.distance(found, variant), surface(true, cameras)) * ones,
        "volume_iou": volume_iou(carved(points, d, paired), inside, known) * ones,
    }


def _of(seen: Seen) -> dict[str, Float[Tensor, " V"]]:
    fit = seen.once(alignment)
    return measure(seen.depth(), fit.mate, seen.shape(), fit.variant)


SPACE = (*KNOWN, "depth", "shape")
VOLUME_IOU = Metric(
    "volume_iou", "Volume IoU", "", "up", 2, 0.05, SPACE, lambda seen: seen.once(_of)["volume_iou"],
    bounds=(0.0, 1.0), about="Overlap of the object's volume with the true one.", version=2,
)  # fmt: skip
F_SCORE = Metric(
    "f_score", "F-score", "", "up", 2, 0.05, SPACE, lambda seen: seen.once(_of)["f_score"],
    bounds=(0.0, 1.0), about="Share of the surface that lies within .04 of the true one, and of that within .04 of it.",
)  # fmt: skip
DEPTH_ERROR = Metric(
    "depth_error", "Depth error", "units", "down", 3, 0.01, SPACE, lambda seen: seen.once(_of)["depth_error"],
    bounds=(0.0, math.inf), about="Mean distance of the depths seen from the true ones; an object measures about 1.",
)  # fmt: skip
