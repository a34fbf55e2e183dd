"""CLIP R-Precision (Park et al., 2021; DreamFusion, arXiv 2209.14988): is a view's own prompt the nearest of all?

A second encoder, of another seed and size, says whether a rule has won by one encoder's quirks.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from eval.metric import Metric


def r_precision(image: Float[Tensor, "V D"], texts: Float[Tensor, "N D"], own: int) -> Float[Tensor, " V"]:
    """100 for a view whose most similar of the suite's N texts is number `own`, else 0, from unit features.

    A tie is not won: an encoder that tells nothing apart scores 0."""
    similarity = image @ texts.mT
    others = similarity.clone()
    others[:, own] = -float("inf")
    return 100.0 * (similarity[:, own] > others.amax(-1)).float()


R_PRECISION = Metric(
    "r_precision", "R-Precision", "%", "up", 1, 10.0, needs=("clip", "candidates"),
    function=lambda seen: r_precision(seen.image("clip"), seen.candidates("clip"), seen.number),
    about="Views whose own prompt is the nearest, by CLIP, of all the suite's prompts.",
)  # fmt: skip
R_PRECISION_2 = Metric(
    "r_precision_2", "R-Precision 2", "%", "up", 1, 10.0, needs=("clip2", "candidates"),
    function=lambda seen: r_precision(seen.image("clip2"), seen.candidates("clip2"), seen.number),
    about="R-Precision by a second CLIP: whether a rule has won by one encoder's quirks.",
)  # fmt: skip
