"""Regularisers: what a plausible volume looks like, each a mean that the loss adds with a weight.

Alphabet: O opacity of a ray; w_i, t_i, n_i weight, distance and unit normal of its samples; d its direction;
n the composed normal in camera space (x right, y up, z towards the camera), 8x8 of them after averaging.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from scene.cameras import Cameras, Render, Samples


def orient(render: Render) -> Float[Tensor, ""]:
    """sum_i sg(w_i) max(0, n_i . d)^2 / #{rays, O > 0}: visible normals face the camera (Ref-NeRF, 2112.03907, eq. 11).

    The render must have been asked for normals, with gradients on; else ValueError."""
    s = _samples(render)
    if s.normal is None:
        raise ValueError("orient reads the samples' normals: render with normals=True")
    away = (s.normal * s.direction).sum(-1).clamp(min=0)
    return (s.weight.detach() * away.square()).sum() / (render.opacity > 0).sum().clamp(min=1)


def sparsity(opacity: Float[Tensor, "B 1 H W"]) -> Float[Tensor, ""]:
    """mean sqrt(O^2 + .01): no needless fog (DreamFusion, 2209.14988, appendix A.2)."""
    return (opacity.square() + 0.01).sqrt().mean()


def opaque(opacity: Float[Tensor, "B 1 H W"]) -> Float[Tensor, ""]:
    """The binary entropy of O, mean over rays: all or nothing (threestudio)."""
    o = opacity.clamp(1e-3, 1 - 1e-3)
    return -(o * o.log() + (1 - o) * (1 - o).log()).mean()


def z_variance(render: Render) -> Float[Tensor, ""]:
    """The variance of t under w_i / O, mean over the rays with O > .5: thin surfaces (HiFA, 2305.18766, eq. 15).

    Zero where no ray is as opaque. The render must have been made with gradients on; else ValueError."""
    s = _samples(render)
    opacity = render.opacity.reshape(-1)
    share = s.weight / opacity[s.ray].clamp(min=1e-5)
    mean = torch.zeros_like(opacity).index_add(0, s.ray, share * s.distance)
    variance = torch.zeros_like(opacity).index_add(0, s.ray, share * (s.distance - mean[s.ray]).square())
    solid = opacity > 0.5
    return (variance * solid).sum() / solid.sum().clamp(min=1)


def emptiness(render: Render) -> Float[Tensor, ""]:
    """mean log(1 + 10 w) over all samples: few of them hold anything (SJC, 2212.00774; as threestudio takes the mean).

    The render must hold every sample of its rays (a voxel grid's does), made with gradients on; else ValueError."""
    s = _samples(render)
    if not s.every:
        raise ValueError("emptiness is a mean over all samples of a ray: use a voxel scene")
    return torch.log1p(10 * s.weight).sum() / max(len(s.weight), 1)


def convexity(render: Render) -> Float[Tensor, ""]:
    """- mean (n_left x n_right).y - mean (n_up x n_down).x over neighbours: the sine between them, below zero on a
    sphere, above on a bowl, the same from every side (SDI, 2405.15891, in camera space)."""
    return _bend(_normal(render))


def convexity_official(render: Render, cameras: Cameras) -> Float[Tensor, ""]:
    """As SDI's official code has it: of world-space normals remapped to O (n + 1) / 2, so that it depends on azimuth.
    Kept for comparison."""
    world = torch.einsum("bij,bjhw->bihw", cameras.c2w[:, :3, :3], _normal(render))
    return _bend(render.opacity * (_unit(world) + 1) / 2)


def _bend(n: Float[Tensor, "B 3 H W"], size: int = 8) -> Float[Tensor, ""]:
    n = F.interpolate(n, (size, size), mode="bilinear", align_corners=False)
    across = torch.linalg.cross(n[..., :-1], n[..., 1:], dim=1)[:, 1]
    down = torch.linalg.cross(n[..., :-1, :], n[..., 1:, :], dim=1)[:, 0]
    return -across.mean() - down.mean()


def _unit(v: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
    return v / (v.square().sum(1, keepdim=True) + 1e-12).sqrt()


def _samples(render: Render) -> Samples:
    if render.samples is None:
        raise ValueError("this regulariser reads samples: render with gradients on")
    return render.samples


def _normal(render: Render) -> Float[Tensor, "B 3 H W"]:
    if render.normal is None:
        raise ValueError("convexity reads normals: render with normals=True")
    return render.normal
