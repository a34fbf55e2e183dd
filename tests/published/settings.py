"""The published settings as their files have them, byte for byte where the manifest pins them, and what is smaller in
the small ones."""

from __future__ import annotations

import json
from typing import Any

START, END = "<|startoftext|>", "<|endoftext|>"
IMAGE_MEAN, IMAGE_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


def text_of(settings: dict[str, Any], indent: int | None = 2) -> str:
    """As diffusers and transformers write them."""
    return json.dumps(settings, indent=indent) + ("\n" if indent else "")


def _marker(content: str) -> dict[str, Any]:
    return {"content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}


def _added(content: str) -> dict[str, Any]:
    return {"__type": "AddedToken", **_marker(content)}


def _clip_marker(content: str) -> dict[str, Any]:
    return {"content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": True}


def _clip_added(content: str) -> dict[str, Any]:
    return {**_clip_marker(content), "__type": "AddedToken"}


UNET: dict[str, Any] = {
    "_class_name": "UNet2DConditionModel", "_diffusers_version": "0.10.0.dev0", "act_fn": "silu",
    "attention_head_dim": [5, 10, 20, 20], "block_out_channels": [320, 640, 1280, 1280], "center_input_sample": False,
    "cross_attention_dim": 1024, "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "downsample_padding": 1, "dual_cross_attention": False, "flip_sin_to_cos": True, "freq_shift": 0, "in_channels": 4,
    "layers_per_block": 2, "mid_block_scale_factor": 1, "norm_eps": 1e-05, "norm_num_groups": 32,
    "num_class_embeds": None, "only_cross_attention": False, "out_channels": 4, "sample_size": 64,
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3, "use_linear_projection": True,
}  # fmt: skip
VAE: dict[str, Any] = {
    "_class_name": "AutoencoderKL", "_diffusers_version": "0.10.0.dev0", "act_fn": "silu",
    "block_out_channels": [128, 256, 512, 512], "down_block_types": ["DownEncoderBlock2D"] * 4, "in_channels": 3,
    "latent_channels": 4, "layers_per_block": 2, "norm_num_groups": 32, "out_channels": 3, "sample_size": 768,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}  # fmt: skip
VAE_21 = {k: VAE[k] for k in ("_class_name", "_diffusers_version")}
VAE_21 |= {"_diffusers_version": "0.8.0", "_name_or_path": "hf-models/stable-diffusion-v2-768x768/vae"}
VAE_21 |= {k: v for k, v in VAE.items() if k not in VAE_21}
TEXT: dict[str, Any] = {
    "_name_or_path": "hf-models/stable-diffusion-v2-768x768/text_encoder", "architectures": ["CLIPTextModel"],
    "attention_dropout": 0.0, "bos_token_id": 0, "dropout": 0.0, "eos_token_id": 2, "hidden_act": "gelu",
    "hidden_size": 1024, "initializer_factor": 1.0, "initializer_range": 0.02, "intermediate_size": 4096,
    "layer_norm_eps": 1e-05, "max_position_embeddings": 77, "model_type": "clip_text_model", "num_attention_heads": 16,
    "num_hidden_layers": 23, "pad_token_id": 1, "projection_dim": 512, "torch_dtype": "float32",
    "transformers_version": "4.25.0.dev0", "vocab_size": 49408,
}  # fmt: skip
SCHEDULER: dict[str, Any] = {
    "_class_name": "DDIMScheduler", "_diffusers_version": "0.8.0", "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "beta_start": 0.00085, "clip_sample": False, "num_train_timesteps": 1000, "prediction_type": "v_prediction",
    "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1, "trained_betas": None,
}  # fmt: skip
MARKERS = {"bos_token": _marker(START), "eos_token": _marker(END), "pad_token": "!", "unk_token": _marker(END)}
TOKENIZER = {
    "add_prefix_space": False, "bos_token": _added(START), "do_lower_case": True, "eos_token": _added(END),
    "errors": "replace", "model_max_length": 77, "name_or_path": "hf-models/stable-diffusion-v2-768x768/tokenizer",
    "pad_token": END, "special_tokens_map_file": "./special_tokens_map.json", "tokenizer_class": "CLIPTokenizer",
    "unk_token": _added(END),
}  # fmt: skip
PIPELINE = {
    "_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.8.0",
    "feature_extractor": ["transformers", "CLIPImageProcessor"], "requires_safety_checker": False,
    "safety_checker": [None, None], "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
}  # fmt: skip
PICTURES = {
    "crop_size": 224, "do_center_crop": True, "do_normalize": True, "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": IMAGE_MEAN, "image_std": IMAGE_STD, "resample": 3,
    "size": 224,
}  # fmt: skip
CLIP_MARKERS = {"bos_token": _clip_marker(START), "eos_token": _clip_marker(END)}
CLIP_MARKERS |= {"unk_token": _clip_marker(END), "pad_token": END}
CLIP_TOKENIZER = {"unk_token": _clip_added(END), "bos_token": _clip_added(START), "eos_token": _clip_added(END)}
CLIP_TOKENIZER |= {"pad_token": END, "add_prefix_space": False, "errors": "replace", "do_lower_case": True}
CLIP_TOKENIZER |= {"name_or_path": "./clip_ViT_B_32/", "model_max_length": 77}

SD21_BASE = {
    "model_index.json": text_of(PIPELINE | {"scheduler": ["diffusers", "PNDMScheduler"]}),
    "scheduler/scheduler_config.json": text_of(
        SCHEDULER | {"_class_name": "PNDMScheduler", "prediction_type": "epsilon"}
    ),
    "tokenizer/special_tokens_map.json": text_of(MARKERS),
    "tokenizer/tokenizer_config.json": text_of(TOKENIZER),
    "text_encoder/config.json": text_of(TEXT),
    "unet/config.json": text_of(UNET),
    "vae/config.json": text_of(VAE),
}
SD21 = SD21_BASE | {
    "model_index.json": text_of(PIPELINE),
    "scheduler/scheduler_config.json": text_of(SCHEDULER),
    "unet/config.json": text_of(UNET | {"sample_size": 96, "upcast_attention": True}),
    "vae/config.json": text_of(VAE_21),
}
CLIP = {
    "preprocessor_config.json": text_of(PICTURES),
    "special_tokens_map.json": text_of(CLIP_MARKERS, None),
    "tokenizer_config.json": text_of(CLIP_TOKENIZER, None),
}
PUBLISHED: dict[str, dict[str, str]] = {
    "sd21-base": SD21_BASE,
    "sd21": SD21,
    "clip-vit-b32": CLIP,
    "clip-iqa-rn50": {"tokenizer_config.json": CLIP["tokenizer_config.json"]},
    "image-reward": {"tokenizer_config.json": text_of({"do_lower_case": True, "model_max_length": 512}, None)},
}

# a call's time is that of the attentions over 64 x 64 latents: three in place of five, of one head each
SMALL: dict[str, dict[str, Any]] = {
    "unet/config.json": {
        "attention_head_dim": [1, 2, 2, 2], "block_out_channels": [8, 16, 16, 16], "cross_attention_dim": 32,
        "layers_per_block": 1, "norm_num_groups": 8,
    },
    "vae/config.json": {"block_out_channels": [4, 8, 8, 8], "layers_per_block": 1, "norm_num_groups": 4},
    "text_encoder/config.json": {
        "hidden_size": 32, "intermediate_size": 128, "num_attention_heads": 2, "num_hidden_layers": 2,
        "projection_dim": 16,
    },
}  # fmt: skip
