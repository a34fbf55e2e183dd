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
FAINT = 1e-3  # and below which, in the mean, a mirror image can hardly be told


def chirality(rgb: Float[Tensor, "V 3 H W"], true: Float[Tensor, "V 3 H W"]) -> Float[Tensor, " V"]:
    """Is it mirrored? (m' - m) / D, cut to [-1, 1], the same for every view: 1 for the truth, -1 for its mirror image,
    about 0 where the two can hardly be told, as for a ball, or an object of two like sides that is seen as it is.

    m is the mean error to the true views T of one yaw, m' that to mirrored true views M of one yaw, D the mean squared
    difference of T and M, at least FAINT. This is 1 - 2 <x - T, M - T> / |M - T|^2, to which errors that are not along
    the way from T to M do not count. M is either of the object mirrored, which from azimuth v shows the truth's picture
    at -v, mirrored, or of pictures mirrored each by itself, whichever fits. Each yaw is that of least error, so that
    neither side is favoured."""
    plain, mirrored = mse_matrix(rgb, true), mse_matrix(rgb, true.flip(-1))
    own, mate = _least(plain, 1)
    other, image = min((_least(mirrored, turning) for turning in (-1, 1)), key=lambda found: float(found[0].mean()))
    apart = (true[mate] - true[image].flip(-1)).square().mean().clamp(min=FAINT)
    return ((other.mean() - own.mean()) / apart).clamp(-1, 1).expand(len(rgb))


def _least(errors: Float[Tensor, "V V"], turning: int) -> tuple[Float[Tensor, " V"], Int[Tensor, " V"]]:
    """The errors of the views at the shift of least mean error, and to which true views they are."""
    v = torch.arange(len(errors))
    mate = (turning * v + int(along(errors, turning).argmin())) % len(errors)
    return errors[v, mate], mate


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
    "chirality", "Chirality", "", "up", 2, 0.2, KNOWN, _chirality, bounds=(-1.0, 1.0), version=2,
    about="1 where views are the truth's, -1 where they are its mirror image's.",
)  # fmt: skip
JANUS = Metric(
    "janus", "Janus", "%", "down", 1, 10.0, KNOWN, _janus, regards=("front",),
    about="How much the back looks like the front, of objects that have one.",
)  # fmt: skip
