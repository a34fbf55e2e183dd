"""CLIP score (Hessel et al., arXiv 2104.08718, in torchmetrics' scale): max(100 cos(image, text), 0)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from eval.metric import Metric


def clip_score(image: Float[Tensor, "V D"], text: Float[Tensor, " D"]) -> Float[Tensor, " V"]:
    """A score a view in [0, 100], from unit features."""
    return (100 * image @ text).clamp(min=0)


CLIP_SCORE = Metric(
    "clip_score", "CLIP score", "", "up", 2, 1.0, needs=("clip",), group="paper", bounds=(0.0, 100.0),
    function=lambda seen: clip_score(seen.image("clip"), seen.text("clip")),
    about="How well a view fits its prompt: 100 times the cosine of their CLIP features.",
)  # fmt: skip
CLIP_SCORE_2 = Metric(
    "clip_score_2", "CLIP score 2", "", "up", 2, 1.0, needs=("clip2", "asked"), bounds=(0.0, 100.0),
    function=lambda seen: clip_score(seen.image("clip2"), seen.text("clip2")),
    about="The CLIP score by a second CLIP, which was asked for.",
)  # fmt: skip
