"""Front-back cosine: do front and back look alike to CLIP? Janus suspected, where no truth is known.

As the code of MV-SDI has it (Lupascu et al., arXiv 2606.29964): cos(f(first view), f(the view half a turn on)). A thing
without a front has nothing to suspect, and reads near 1: where the suite knows that it has none, no number is given.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from eval.metric import Metric, Seen


def front_back_cosine(image: Float[Tensor, "V D"]) -> Float[Tensor, " V"]:
    """Of unit features of an orbit's views: the cosine of the first and the one V // 2 on, in [-1, 1], at the first;
    NaN at all others, and of a single view."""
    cosine = torch.full((len(image),), torch.nan)
    if len(image) > 1:
        cosine[0] = image[0] @ image[len(image) // 2]
    return cosine


def _of(seen: Seen) -> Float[Tensor, " V"]:
    if seen.has_front is False:
        return torch.full((len(seen.rgb),), torch.nan)
    return front_back_cosine(seen.image("clip"))


FRONT_BACK = Metric(
    "front_back_cosine", "Front-back cosine", "", "down", 3, 0.05, needs=("clip",), function=_of, bounds=(-1.0, 1.0),
    regards=("front",), version=2,
    about="How alike front and back look to CLIP: high where a face may be on both sides, near 1 of what has no front.",
)  # fmt: skip
