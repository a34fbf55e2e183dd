"""Stable-Diffusion-format folders as people have them: a tiny prior, and what may be done to it."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

STEMS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
SCHEDULER = "scheduler/scheduler_config.json"


def weights(folder: Path, part: str, variant: str = "") -> Path:
    return folder / part / f"{STEMS[part]}{variant}.safetensors"


def tensors(folder: Path, part: str) -> dict[str, torch.Tensor]:
    return {name: t.bfloat16().float() for name, t in load_file(weights(folder, part)).items()}


def save(found: dict[str, torch.Tensor], file: Path) -> None:
    save_file(found, file, metadata={"format": "pt"})


def edit(file: Path, **settings) -> None:
    """Change settings of a configuration; those that are None go."""
    kept = {k: v for k, v in (json.loads(file.read_text()) | settings).items() if v is not None}
    file.write_text(json.dumps(kept))


def shard(folder: Path, part: str, variant: str = "") -> None:
    found, index = tensors(folder, part), {}
    weights(folder, part).unlink()
    for k in (0, 1):
        file = f"{STEMS[part]}{variant}-0000{k + 1}-of-00002.safetensors"
        names = sorted(found)[k::2]
        save({name: found[name].half() if variant else found[name] for name in names}, folder / part / file)
        index |= dict.fromkeys(names, file)
    text = json.dumps({"metadata": {}, "weight_map": index})
    (folder / part / f"{STEMS[part]}.safetensors.index{variant}.json").write_text(text)


def rename(folder: Path, part: str, variant: str, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    found = tensors(folder, part)
    weights(folder, part).unlink()
    save({name: t.to(dtype) for name, t in found.items()}, weights(folder, part, variant))
    return found


def rebuilt(folder: Path, **settings) -> None:
    """The folder's U-Net with other settings, and weights that fit them."""
    from diffusers import UNet2DConditionModel

    config = UNet2DConditionModel.load_config(folder / "unet")
    UNet2DConditionModel.from_config(dict(config) | settings).save_pretrained(folder / "unet")
