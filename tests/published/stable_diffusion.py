"""Stable Diffusion 2.1 and 2.1-base in small: half-precision files under the names that the published ones have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.published import words
from tests.published.settings import PUBLISHED, SMALL, text_of

FILES = {
    "unet": "diffusion_pytorch_model.fp16.safetensors",
    "vae": "diffusion_pytorch_model.fp16.safetensors",
    "text_encoder": "model.fp16.safetensors",
}


def write(folder: Path, name: str) -> None:
    """`name`: sd21-base or sd21. Their text encoders and VAEs are the same, as the published are; U-Nets differ."""
    for path, text in PUBLISHED[name].items():
        settings = json.loads(text) | SMALL.get(path, {})
        if path == "text_encoder/config.json":
            settings["vocab_size"] = len(words.numbers())
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text_of(settings), "utf-8")
    words.write_bpe(folder / "tokenizer")
    for part, file in FILES.items():
        settings = json.loads((folder / part / "config.json").read_text("utf-8"))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(name == "sd21" and part == "unet"))
            save_file(state(part, settings), folder / part / file, metadata={"format": "pt"})


def state(part: str, settings: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of a part by their published names, half floating ones."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    if part == "text_encoder":
        found = CLIPTextModel(CLIPTextConfig.from_dict(settings)).state_dict()
        found = {n if n.startswith("text_model.") else f"text_model.{n}": t for n, t in found.items()}
        found["text_model.embeddings.position_ids"] = torch.arange(settings["max_position_embeddings"])[None]
    else:
        kind = UNet2DConditionModel if part == "unet" else AutoencoderKL
        found = kind.from_config(settings).state_dict()
    return {n: (t.half() if t.is_floating_point() else t).contiguous() for n, t in found.items()}
