"""CLIP-IQA (Wang et al., arXiv 2207.12396) in torchmetrics' form: is a picture nearer to a sentence or to its antonym?

p = softmax(100 [cos(image, good), cos(image, bad)])_0
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from eval.metric import Metric, Seen

ANTONYMS = {
    "quality": ("Good photo.", "Bad photo."),
    "sharpness": ("Sharp photo.", "Blurry photo."),
    "real": ("Real photo.", "Abstract photo."),
}
SENTENCES = [sentence for pair in ANTONYMS.values() for sentence in pair]


def clip_iqa(image: Float[Tensor, "V D"], anchors: Float[Tensor, "six D"]) -> dict[str, Float[Tensor, " V"]]:
    """Per cent, a view, of each pair in ANTONYMS, from unit features; `anchors` are those of SENTENCES."""
    logits = 100 * image @ anchors.mT
    p = logits.unflatten(-1, (-1, 2)).softmax(-1)[..., 0]
    return {name: 100 * p[:, k] for k, name in enumerate(ANTONYMS)}


def _of(seen: Seen) -> dict[str, Float[Tensor, " V"]]:
    return clip_iqa(seen.image("iqa"), seen.texts(tuple(SENTENCES), "iqa"))


QUALITY = Metric(
    "iqa_quality", "IQA quality", "%", "up", 1, 5.0, needs=("iqa",), group="paper",
    function=lambda seen: seen.once(_of)["quality"],
    about='CLIP-IQA: how much nearer a view is to "Good photo." than to "Bad photo.", as CLIP sees it.',
)  # fmt: skip
SHARPNESS = Metric(
    "iqa_sharpness", "IQA sharp", "%", "up", 1, 5.0, needs=("iqa",), group="paper",
    function=lambda seen: seen.once(_of)["sharpness"],
    about='CLIP-IQA: how much nearer a view is to "Sharp photo." than to "Blurry photo.", as CLIP sees it.',
)  # fmt: skip
REAL = Metric(
    "iqa_real", "IQA real", "%", "up", 1, 5.0, needs=("iqa",), group="paper",
    function=lambda seen: seen.once(_of)["real"],
    about='CLIP-IQA: how much nearer a view is to "Real photo." than to "Abstract photo.", as CLIP sees it.',
)  # fmt: skip
