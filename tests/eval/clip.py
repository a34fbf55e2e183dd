"""A tiny CLIP with random weights, in the folder format of the large ones."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from torch import Tensor

from eval.clip_iqa import SENTENCES
from eval.encoders import Encoder, eight_bits, load_clip, pooled
from prompts import paper43


def write_clip(folder: Path) -> Path:
    from world.models import clip, clip_processor, tokenizer

    words = tokenizer([p.text for p in paper43()] + SENTENCES)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = clip(words)
    with torch.no_grad():
        model.visual_projection.weight.neg_()  # by chance all cosines of seed 0 are negative, and scores would be 0
    model.save_pretrained(folder)
    clip_processor(words).save_pretrained(folder)
    return folder


@cache
def folder() -> Path:
    return write_clip(Path(mkdtemp(prefix="tiny-clip-")))


@cache
def encoder() -> Encoder:
    return load_clip(folder())


class Plain:
    """A CLIPModel whose features are tensors, as they were before transformers 5: what torchmetrics' classes expect."""

    def __init__(self, model: Any):
        self.model, self.config = model, model.config

    def to(self, device: torch.device | str) -> Plain:
        self.model.to(device)
        return self

    @torch.inference_mode()
    def get_image_features(self, pixel_values: Tensor) -> Tensor:
        return pooled(self.model.get_image_features(pixel_values))

    @torch.inference_mode()
    def get_text_features(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return pooled(self.model.get_text_features(input_ids, attention_mask))


def by_torchmetrics(encoder: Encoder, images: Tensor, prompt: str) -> float:
    """The mean CLIP score over views as torchmetrics' own class computes it on the same encoder."""
    from torchmetrics.multimodal.clip_score import CLIPScore

    model: Any = Plain(encoder.model)
    metric = CLIPScore(model_name_or_path=lambda: (model, encoder.processor))
    return float(metric(eight_bits(images), [prompt] * len(images)))
