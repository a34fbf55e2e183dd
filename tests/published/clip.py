"""CLIP in small: ViT-B/32 in transformers' format, RN50 under the names of OpenAI's archive."""

from __future__ import annotations

import zlib
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.eval.clip_iqa_equality import shapes
from tests.published import words
from tests.published.settings import PUBLISHED, text_of

BLOCKS = (3, 4, 6, 3)  # of RN50's four layers
WIDTH, TEXT, OUT, LAYERS = 4, 64, 64, 2  # RN50's are 64, 512, 1024 and 12; its heads have 64 channels
PLACES, LENGTH = 50, 77


def write_vit(folder: Path) -> None:
    from transformers import CLIPConfig, CLIPModel

    _write_settings(folder, "clip-vit-b32")
    words.write_bpe(folder)
    words.write_fast_bpe(folder)
    sizes = {"hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 4, "num_hidden_layers": 2}
    numbers = {"vocab_size": len(words.numbers()), "max_position_embeddings": LENGTH}
    numbers |= {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
    settings = {
        "architectures": ["CLIPModel"], "initializer_factor": 1.0, "logit_scale_init_value": 2.6592,
        "model_type": "clip", "projection_dim": 64,
        "text_config": {"model_type": "clip_text_model", "hidden_act": "quick_gelu", **sizes, **numbers},
        "vision_config": {
            "model_type": "clip_vision_model", "hidden_act": "quick_gelu", **sizes, "image_size": 224, "patch_size": 32,
        },
    }  # fmt: skip
    (folder / "config.json").write_text(text_of(settings), "utf-8")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = CLIPModel(CLIPConfig.from_dict(settings)).state_dict()
    state |= {"text_model.embeddings.position_ids": torch.arange(LENGTH)[None]}
    state |= {"vision_model.embeddings.position_ids": torch.arange(PLACES)[None]}
    save_file({n: t.contiguous() for n, t in state.items()}, folder / "model.safetensors", metadata={"format": "pt"})


def write_rn50(folder: Path) -> None:
    _write_settings(folder, "clip-iqa-rn50")
    words.write_fast_bpe(folder)
    state = {name: _drawn(name, shape) for name, shape in rn50_shapes().items()}
    save_file(state, folder / "RN50.safetensors", metadata={"format": "pt"})


def rn50_shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of RN50.pt by name, at small sizes: the archive counts batches too."""
    found = shapes(len(words.numbers()), WIDTH, BLOCKS, TEXT, OUT, LAYERS)
    norms = [name.removesuffix("running_var") for name in found if name.endswith("running_var")]
    return found | {f"{norm}num_batches_tracked": () for norm in norms}


def _drawn(name: str, shape: tuple[int, ...]) -> Tensor:
    """A tensor drawn from its name; matrices keep the size of what they multiply."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    last = name.rsplit(".", 1)[-1]
    if last == "num_batches_tracked":
        return torch.tensor(1)
    if last == "logit_scale":
        return torch.tensor(100.0).log()
    if last == "running_var" or (last == "weight" and len(shape) == 1):
        return 1 + 0.1 * x.abs()
    if len(shape) == 1:
        return 0.1 * x
    embedding = "embedding" in name
    return 0.5 * x if embedding else x * x[0].numel() ** -0.5


def _write_settings(folder: Path, weight: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in PUBLISHED[weight].items():
        (folder / path).write_text(text, "utf-8")
