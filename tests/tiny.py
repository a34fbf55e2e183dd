"""A Stable Diffusion folder with random weights, small enough to run a job in a second: 32x32 images, 4x8x8 latents."""

from __future__ import annotations

import json
from pathlib import Path

import torch

PROMPT = "a red ball"


def write_prior(folder: Path, prediction: str = "epsilon", view_words: str | None = None) -> Path:
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from world.models import tokenizer

    words = tokenizer([PROMPT, PROMPT + ", side view"])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            block_out_channels=(8, 16),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            cross_attention_dim=16,
            attention_head_dim=2,
            norm_num_groups=4,
        )
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            block_out_channels=(4, 4, 8),
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=1,
            sample_size=32,
            scaling_factor=0.5,
            mid_block_add_attention=False,
        )
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(words),
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=1,
                num_attention_heads=2,
                max_position_embeddings=words.model_max_length,
                bos_token_id=words.bos_token_id,
                eos_token_id=words.eos_token_id,
                pad_token_id=words.pad_token_id,
            )
        )
    noise = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction,
        clip_sample=False,
    )
    parts = {"unet": unet, "vae": vae, "text_encoder": text_encoder, "tokenizer": words, "scheduler": noise}
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    if view_words:
        (folder / "views.json").write_text(json.dumps({"view_words": view_words}))
    return folder
