"""Guidance: how the network's predictions under several texts become one eps. One convention everywhere:

    CFG        eps = eps_u + s (eps_c - eps_u)                                          (2207.12598)
    Perp-Neg   eps = eps_u + s [e_pos + sum_i w_i e_i_perp],  e = eps - eps_u           (2304.04968, eq. 9)
               e_perp = e - e_pos <e, e_pos> / max(|e_pos|^2, 1e-6),  for each item of the batch by itself

Where a prior says a share r < 1 of what its network says of a text y, against the empty one, each branch is

    eps(y) = net() + r (net(y) - net())

A paper's scale for eps_c + s (eps_c - eps_u) is s + 1 here. All branches travel in one call of the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from priors.base import Prior, Text
from priors.schedule import per_item
from priors.text import condition, view_index, wrapped
from scene.cameras import Cameras


class Decay(NamedTuple):
    """f(r) = alpha exp(-beta r) + c of threestudio's Perp-Neg weights: (alpha, beta, c) for a view turning from
    front to side (fs, sf), from side to back (sb), and for front against the back half (fsb)."""

    fs: tuple[float, float, float] = (4.0, 0.5, -2.426)
    sf: tuple[float, float, float] = (4.0, 0.5, -2.426)
    sb: tuple[float, float, float] = (1.0, 0.5, -0.606)
    fsb: tuple[float, float, float] = (1.0, 0.5, 0.967)


DECAY = Decay()


def perpendicular(e: Float[Tensor, "B C h w"], to: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
    """The part of e perpendicular to another direction, item by item."""
    dims = tuple(range(1, e.ndim))
    along = (e * to).sum(dims, keepdim=True) / (to * to).sum(dims, keepdim=True).clamp(min=1e-6)
    return e - along * to


def perp_neg_weights(cameras: Cameras, decay: Decay = DECAY) -> Float[Tensor, "B 2"]:
    """Weights (<= 0) of the two negatives of each camera: front and side in the front half, side and front in the
    back half; 0 seen from overhead."""

    def f(constants: tuple[float, float, float], r: Tensor) -> Tensor:
        alpha, beta, c = constants
        return alpha * torch.exp(-beta * r) + c

    azimuth = wrapped(cameras.azimuth).abs().double()
    ahead, behind = 1 - azimuth / 90, 2 - azimuth / 90
    front_half = torch.stack([-f(decay.fs, ahead), -f(decay.sf, 1 - ahead)], 1)
    back_half = torch.stack([-f(decay.sb, behind), -f(decay.fsb, behind)], 1)
    weights = torch.where((azimuth < 90).view(-1, 1), front_half, back_half)
    return torch.where((view_index(cameras) == 3).view(-1, 1), torch.zeros_like(weights), weights)


def perp_neg_texts(text: Text, cameras: Cameras) -> tuple[Tensor, Tensor, Tensor]:
    """The positive and the two negative embeddings of each camera, each (B,L,D). The positive is interpolated
    between front, side and back by azimuth (between sectors where the text has them)."""
    device = text.plain.device
    azimuth = wrapped(cameras.azimuth).abs().to(device)
    front_half = (azimuth < 90).view(-1, 1, 1)
    overhead = (view_index(cameras) == 3).to(device).view(-1, 1, 1)
    r = torch.where(azimuth < 90, 1 - azimuth / 90, 2 - azimuth / 90).to(text.plain).view(-1, 1, 1)
    turning = torch.where(front_half, r * text.front + (1 - r) * text.side, r * text.side + (1 - r) * text.back)
    positive = condition(text, cameras) if text.sectors is not None else torch.where(overhead, text.overhead, turning)
    first = torch.where(overhead, text.uncond, torch.where(front_half, text.front, text.side))
    second = torch.where(overhead, text.uncond, torch.where(front_half, text.side, text.front))
    return positive, first, second


def repulsion(
    eps_u: Float[Tensor, "B C h w"],
    eps_c: Float[Tensor, "B C h w"],
    negatives: Sequence[Float[Tensor, "B C h w"]],
    cameras: Cameras,
) -> Float[Tensor, "B C h w"]:
    """sum_i w_i e_i_perp: away from the views that a camera does not have."""
    e_pos = eps_c - eps_u
    away = torch.zeros_like(e_pos)
    for w, eps_n in zip(perp_neg_weights(cameras).T, negatives, strict=True):
        away = away + per_item(w, away) * perpendicular(eps_n - eps_u, e_pos)
    return away


def branches(
    prior: Prior, x_t: Float[Tensor, "B C h w"], t: Int[Tensor, " B"], *texts: Float[Tensor, "B L D"]
) -> tuple[Float[Tensor, "B C h w"], ...]:
    """eps of the same latents under several texts, in one call of the network, which is asked of the empty one too
    where the prior says a share of a text."""
    share = prior.text_share
    if share == 1:
        return _said(prior, x_t, t, *texts)
    empty = prior.embed([""]).expand(len(x_t), -1, -1)
    same = [torch.equal(text, empty) for text in texts]
    said = _said(prior, x_t, t, *([] if any(same) else [empty]), *texts)
    nothing = said[same.index(True) if any(same) else 0]
    return tuple(nothing + share * (eps - nothing) for eps in said[-len(texts) :])


def _said(prior: Prior, x_t: Tensor, t: Tensor, *texts: Tensor) -> tuple[Tensor, ...]:
    n = len(texts)
    eps = prior.eps(x_t.repeat(n, 1, 1, 1), t.to(x_t.device).repeat(n), torch.cat(texts))
    return eps.chunk(n)


def guided_eps(
    prior: Prior,
    x_t: Float[Tensor, "B C h w"],
    t: Int[Tensor, " B"],
    text: Text,
    cameras: Cameras,
    scale: float,
    perp_neg: bool = False,
) -> Float[Tensor, "B C h w"]:
    """The guided prediction at x_t. Branches that would be multiplied by 0 are not evaluated."""
    uncond = text.uncond.expand(len(x_t), -1, -1)
    if scale == 0:
        return branches(prior, x_t, t, uncond)[0]
    if perp_neg:
        eps_u, eps_c, *negatives = branches(prior, x_t, t, uncond, *perp_neg_texts(text, cameras))
        return eps_u + scale * (eps_c - eps_u + repulsion(eps_u, eps_c, negatives, cameras))
    if scale == 1:
        return branches(prior, x_t, t, condition(text, cameras))[0]
    eps_u, eps_c = branches(prior, x_t, t, uncond, condition(text, cameras))
    return eps_u + scale * (eps_c - eps_u)
