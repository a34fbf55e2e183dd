"""ImageReward-v1.0 as published (ImageReward.pt's tensors and med_config.json), in the names of transformers' BLIP.

Its picture encoder has timm's names, its text encoder BERT's, which transformers kept. The two projections of BLIP's
pretraining are in the file, and no reward reads them.
"""

from __future__ import annotations

import math
import re
from typing import Any

from torch import Tensor

WEIGHTS = "ImageReward.safetensors"  # the published archive's tensors under their own names
MED = "med_config.json"
MAX_TOKENS, MEAN, STD = 35, 0.16717362830052426, 1.0333394966054072
DROPOUT = [0.2, 0.2, 0.1]
HEAD_CHANNELS = 64  # of each attention head of a ViT
MEAN_RGB, STD_RGB = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
RENAMED = (
    (r"^blip\.visual_encoder\.cls_token$", "visual_encoder.embeddings.class_embedding"),
    (r"^blip\.visual_encoder\.pos_embed$", "visual_encoder.embeddings.position_embedding"),
    (r"^blip\.visual_encoder\.patch_embed\.proj\.", "visual_encoder.embeddings.patch_embedding."),
    (r"^blip\.visual_encoder\.norm\.", "visual_encoder.post_layernorm."),
    (r"^blip\.visual_encoder\.blocks\.(\d+)\.norm([12])\.", r"visual_encoder.encoder.layers.\1.layer_norm\2."),
    (r"^blip\.visual_encoder\.blocks\.(\d+)\.attn\.qkv\.", r"visual_encoder.encoder.layers.\1.self_attn.qkv."),
    (r"^blip\.visual_encoder\.blocks\.(\d+)\.attn\.proj\.", r"visual_encoder.encoder.layers.\1.self_attn.projection."),
    (r"^blip\.visual_encoder\.blocks\.(\d+)\.mlp\.", r"visual_encoder.encoder.layers.\1.mlp."),
    (r"^blip\.text_encoder\.", "text_encoder."),
    (r"^mlp\.layers\.", "mlp."),
)
UNREAD = re.compile(r"^blip\.(vision_proj|text_proj)\.|\.position_ids$")


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The published tensors under the names of `eval.image_reward.ImageReward`; a name not known stays as it is."""
    return {_name(name): tensor for name, tensor in state.items() if not UNREAD.search(name)}


def _name(name: str) -> str:
    for pattern, new in RENAMED:
        name, found = re.subn(pattern, new, name)
        if found:
            return name
    return name


def config_of(state: dict[str, Tensor], med: dict[str, Any]) -> dict[str, Any]:
    """The configuration of `eval.image_reward.ImageReward`: sizes of the picture encoder and of the head from the
    published tensors' shapes, those of the text encoder from med_config.json. Raises KeyError where one is missing."""
    vit = "blip.visual_encoder."
    _, places, width = state[vit + "pos_embed"].shape
    patch = state[vit + "patch_embed.proj.weight"].shape[-1]
    vision = {
        "hidden_size": width,
        "intermediate_size": state[vit + "blocks.0.mlp.fc1.weight"].shape[0],
        "num_hidden_layers": 1 + max(int(n.split(".")[3]) for n in state if n.startswith(vit + "blocks.")),
        "num_attention_heads": width // HEAD_CHANNELS,
        "image_size": patch * math.isqrt(places - 1),
        "patch_size": patch,
        "layer_norm_eps": 1e-6,
        "hidden_act": "gelu",
    }
    sizes = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    text = {name: med[name] for name in (*sizes, "max_position_embeddings", "layer_norm_eps", "hidden_act")}
    text["vocab_size"] = state["blip.text_encoder.embeddings.word_embeddings.weight"].shape[0]
    widths = [len(state[f"mlp.layers.{k}.weight"]) for k in sorted(int(n.split(".")[2]) for n in state
              if n.startswith("mlp.layers.") and n.endswith(".weight"))]  # fmt: skip
    return {
        "vision_config": vision, "text_config": text, "head": widths[:-1], "dropout": DROPOUT,
        "max_tokens": MAX_TOKENS, "mean": MEAN, "std": STD,
    }  # fmt: skip
