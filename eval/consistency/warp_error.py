"""Warp error: do neighbouring views show one object? A view's colours are carried by the scene's own depth to where its
neighbour sees them, and compared with what that shows there. No truth is asked for.

The warping error of videos (Lai et al. 2018, arXiv 1808.00449), by depth and known cameras in place of optical flow:

    E_v = mean over w, p of |I_v(p) - I_w(q)|,    q, r = project_w(X),    X = o_v + d_v(p) u_v(p)

Alphabet: v a view, w its neighbours on both sides, p solid pixels of v, o + d u the point at depth d on a pixel's ray;
q where w sees it, r how far away. Left out is what w cannot see: points outside its picture, and those that something
hides, min d_w around q < r - slack. A point that w sees through counts: it shows that there is none. So depth and
colours must both be right.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from eval.metric import Metric, Seen
from eval.solid import projected
from scene.cameras import Cameras, rays

APART = 15.0  # degrees between neighbours, or the nearest that the orbit has: at 7 a card that turns along is not seen
WIDEST = 30.0  # degrees: views further apart share too little
SLACK = 2.0  # pixels, as wide as they are at the point: what depths of soft surfaces differ by
SIDE = 64  # pixels of an edge: larger views are averaged down, so that a scene's depth is soon rendered on a CPU


def warp_error(rgb: Float[Tensor, "V 3 H W"], d: Float[Tensor, "V 1 H W"], cameras: Cameras) -> Float[Tensor, " V"]:
    """Of each view of an orbit, in per cent of the range of colours: 0 to 100, 0 of what is the same from all sides.
    `d` is how far along its ray what a pixel shows lies, infinite where it is not solid.

    NaN of a view without a point that its neighbours see, and where neighbours are more than WIDEST apart."""
    n = len(rgb)
    step = max(round(APART * n / 360), 1)
    if 360 * step > WIDEST * n:
        return torch.full((n,), torch.nan)
    origin, direction = rays(cameras, *d.shape[-2:])
    nearest = -F.max_pool2d(-d, 3, 1, 1)  # around each pixel: a rim hides what is behind it
    found = []
    for v in range(n):
        solid = d[v, 0].isfinite()
        points = origin[v][solid] + d[v, 0][solid][:, None] * direction[v][solid]
        both = [_errors(rgb[v][:, solid], points, rgb[w], nearest[w], cameras[w : w + 1])
                for w in ((v + step) % n, (v - step) % n)]  # fmt: skip
        found.append(100 * torch.cat(both).mean())
    return torch.stack(found)


def _errors(
    colours: Float[Tensor, "3 N"],
    points: Float[Tensor, "N 3"],
    rgb: Float[Tensor, "3 H W"],
    nearest: Float[Tensor, "1 H W"],
    camera: Cameras,
) -> Float[Tensor, " K"]:
    """Mean |difference| over channels, of the points that the camera sees."""
    height, width = rgb.shape[-2:]
    x, y, ahead, far = projected(points, camera.c2w[0], camera.fov[0], rgb.shape[-2:])
    inside = ahead & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    x, y, far, colours = x[inside], y[inside], far[inside], colours[:, inside]
    pixel = far * 2 * torch.tan(torch.deg2rad(camera.fov[0]) / 2) / height
    shown = nearest[0, y.long(), x.long()] >= far - SLACK * pixel
    place = torch.stack([2 * x / width - 1, 2 * y / height - 1], -1)[shown]
    there = F.grid_sample(rgb[None], place[None, None], align_corners=False, padding_mode="border")[0, :, 0]
    return (colours[:, shown] - there).abs().mean(0)


def _of(seen: Seen) -> Float[Tensor, " V"]:
    assert seen.depths is not None
    side = min(SIDE, seen.rgb.shape[-1])
    return warp_error(F.interpolate(seen.rgb, (side, side), mode="area"), seen.depth(side), seen.depths.cameras)


WARP_ERROR = Metric(
    "warp_error", "Warp error", "%", "down", 2, 1.0, needs=("depth",), function=_of,
    about="How much neighbouring views differ where, by the scene's own depth, they show the same point.",
)  # fmt: skip
