"""CLIP score (Hessel et al., arXiv 2104.08718, in torchmetrics' scale): max(100 cos(image, text), 0)."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor

from eval.encoders import Encoder, Plain, eight_bits


def clip_score(image: Float[Tensor, "V D"], text: Float[Tensor, " D"]) -> Float[Tensor, " V"]:
    """A score a view in [0, 100], from unit features."""
    return (100 * image @ text).clamp(min=0)


def by_torchmetrics(encoder: Encoder, images: Float[Tensor, "V 3 H W"], prompt: str) -> float:
    """The mean over views as torchmetrics' own class computes it on the same encoder: slower, for comparison."""
    from torchmetrics.multimodal.clip_score import CLIPScore

    model: Any = Plain(encoder.model)
    metric = CLIPScore(model_name_or_path=lambda: (model, encoder.processor))
    return float(metric(eight_bits(images), [prompt] * len(images)))
