"""Sides of a known object: is it mirrored, and does its back look like its front? From true views, not from a judge.

Alphabet: x (V,3,H,W) a job's views; T true ones, of the variant that `eval.truth` finds; m mean squared errors.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from eval.metric import Metric, Seen
from eval.truth import KNOWN, SOLID, alignment, along, mse_matrix, pictures

BEHIND = 45.0  # degrees: views are back views within so many of the back
SAME = 1e-4  # mean squared difference below which front and back are one


def chirality(rgb: Float[Tensor, "V 3 H W"], true: Float[Tensor, "V 3 H W"]) -> Float[Tensor, " V"]:
    """(m' - m) / (m' + m) of each view, in [-1, 1]: 1 for the truth, -1 for its mirror image, 0 where neither is
    nearer, as for objects that are their own mirror images; 0 where both are met.

    m is the error to the true view of one yaw, m' that to a mirrored true view of one yaw: either of the object
    mirrored, which from azimuth v shows the truth's picture at -v, mirrored; or of pictures mirrored each by itself.
    Each yaw is the one of least mean error, so that no hypothesis is favoured."""
    plain, mirrored = mse_matrix(rgb, true), mse_matrix(rgb, true.flip(-1))
    own = _least(plain, 1)[0]
    other = min((_least(mirrored, turning) for turning in (-1, 1)), key=lambda found: found[1])[0]
    return torch.where(own + other > 0, (other - own) / (other + own), 0.0)


def _least(errors: Float[Tensor, "V V"], turning: int) -> tuple[Float[Tensor, " V"], float]:
    """The errors of the views at the shift of least mean error, and that mean."""
    means = along(errors, turning)
    v = torch.arange(len(errors))
    return errors[v, (turning * v + int(means.argmin())) % len(errors)], float(means.min())


def janus(
    rgb: Float[Tensor, "V 3 H W"],
    opacity: Float[Tensor, "V 1 H W"],
    true: Float[Tensor, "V 3 H W"],
    mate: Int[Tensor, " V"],
) -> Float[Tensor, " V"]:
    """How front-like a back view x is, in per cent: 100 <x - B, F - B> / |F - B|^2, cut to [0, 100], where B is its
    mate, a true view of within BEHIND degrees of the back, and F the true view from the opposite side. 0 is the back,
    100 the front, 50 neither (a grey ghost). Errors that are not along the way from back to front do not count.

    NaN for other views, for empty ones, and where front and back look the same. A turned object's back is where it
    stands (`mate`)."""
    n = len(rgb)
    back, front = true[mate], true[(mate + n // 2) % n]
    way = front - back
    length = way.square().mean((1, 2, 3))
    share = ((rgb - back) * way).mean((1, 2, 3)) / length
    behind = (360.0 * mate / n - 180).abs() < BEHIND
    seen = behind & (length > SAME) & (opacity > SOLID).flatten(1).any(1)
    return torch.where(seen, 100 * share.clamp(0, 1), torch.nan)


def _chirality(seen: Seen) -> Float[Tensor, " V"]:
    rgb, _, true, _ = seen.once(pictures)
    return chirality(rgb, true[seen.once(alignment).variant])


def _janus(seen: Seen) -> Float[Tensor, " V"]:
    (rgb, opacity, true, _), fit = seen.once(pictures), seen.once(alignment)
    if not seen.has_front:
        return torch.full((len(rgb),), torch.nan)
    return janus(rgb, opacity, true[fit.variant], fit.mate)


CHIRALITY = Metric(
    "chirality", "Chirality", "", "up", 2, 0.2, KNOWN, _chirality, bounds=(-1.0, 1.0),
    about="1 where views are the truth's, -1 where they are its mirror image's.",
)  # fmt: skip
JANUS = Metric(
    "janus", "Janus", "%", "down", 1, 10.0, KNOWN, _janus,
    about="How much the back looks like the front, of objects that have one.",
)  # fmt: skip
