"""A small RN50 under OpenAI's names, and what torchmetrics' default CLIP-IQA says through `piq`'s network of it.

In this project's environment, with piq 0.8 and torchvision beside it:

    python tests/eval/clip_iqa_equality.py tests/eval/clip_iqa_record.safetensors

torchmetrics' own function runs whole; only its two downloads, of weights and of a tokenizer, give the small ones. The
record holds pictures and per cent.
"""

from __future__ import annotations

import json
import sys
import zlib
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

ROOT = Path(__file__).parents[2]
CHANNELS, TEXT, DIMENSIONS, LONGEST = 8, 64, 32, 77  # the last is torchmetrics' own
BLOCKS, LAYERS = (1, 2, 1, 1), 2
PAIRS = ("quality", "sharpness", "real")
RECORD = Path(__file__).with_name("clip_iqa_record.safetensors")


def vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Tokens and merges of the world's CLIP, numbered as CLIP's: the end of a text is the highest."""
    model = json.loads((ROOT / "world/models/tiny-clip/tokenizer.json").read_text("utf-8"))["model"]
    special = ("<|startoftext|>", "<|endoftext|>")
    words = [*(w for w in sorted(model["vocab"], key=model["vocab"].__getitem__) if w not in special), *special]
    return {word: k for k, word in enumerate(words)}, [tuple(m) for m in model["merges"]]


def tokenizer() -> Any:
    from transformers import CLIPTokenizer

    vocab, merges = vocabulary()
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=LONGEST)


def shapes(
    tokens: int, channels: int, blocks: tuple[int, ...], text: int, dimensions: int, layers: int
) -> dict[str, tuple[int, ...]]:
    """The tensors of RN50.safetensors by name, at any sizes."""
    found: dict[str, tuple[int, ...]] = {"logit_scale": (), "text_projection": (text, dimensions)}
    found |= {"token_embedding.weight": (tokens, text), "positional_embedding": (LONGEST, text)}

    def convolution(conv: str, norm: str, out: int, into: int, size: int) -> None:
        found[f"{conv}.weight"] = (out, into, size, size)
        found.update({f"{norm}.{part}": (out,) for part in ("weight", "bias", "running_mean", "running_var")})

    def linear(name: str, out: int, into: int | None) -> None:
        found.update({f"{name}.weight": (out,) if into is None else (out, into), f"{name}.bias": (out,)})

    for k, (out, into) in enumerate(((channels // 2, 3), (channels // 2,) * 2, (channels, channels // 2)), 1):
        convolution(f"visual.conv{k}", f"visual.bn{k}", out, into, 3)
    into = channels
    for layer, count in enumerate(blocks):
        width = channels * 2**layer
        for k in range(count):
            name = f"visual.layer{layer + 1}.{k}."
            convolution(f"{name}conv1", f"{name}bn1", width, into, 1)
            convolution(f"{name}conv2", f"{name}bn2", width, width, 3)
            convolution(f"{name}conv3", f"{name}bn3", 4 * width, width, 1)
            if k == 0:
                convolution(f"{name}downsample.0", f"{name}downsample.1", 4 * width, into, 1)
            into = 4 * width
    found["visual.attnpool.positional_embedding"] = (50, into)
    for part in "qkvc":
        linear(f"visual.attnpool.{part}_proj", dimensions if part == "c" else into, into)
    for k in range(layers):
        name = f"transformer.resblocks.{k}."
        found |= {f"{name}attn.in_proj_weight": (3 * text, text), f"{name}attn.in_proj_bias": (3 * text,)}
        linear(f"{name}attn.out_proj", text, text)
        linear(f"{name}mlp.c_fc", 4 * text, text)
        linear(f"{name}mlp.c_proj", text, 4 * text)
        linear(f"{name}ln_1", text, None)
        linear(f"{name}ln_2", text, None)
    linear("ln_final", text, None)
    return found


def small_shapes() -> dict[str, tuple[int, ...]]:
    return shapes(len(vocabulary()[0]), CHANNELS, BLOCKS, TEXT, DIMENSIONS, LAYERS)


def weights() -> dict[str, Tensor]:
    """Each drawn from its name, in half precision as published; matrices keep the size of what they multiply."""
    return {name: _drawn(name, shape).half().float() for name, shape in small_shapes().items()}


def _drawn(name: str, shape: tuple[int, ...]) -> Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    if name.endswith("running_var"):
        return 0.5 + x.abs()
    if len(shape) == 1 and name.endswith("weight"):
        return 1 + 0.1 * x
    if len(shape) < 2 or "embedding" in name:
        return (0.03 if "token" in name else 0.1) * x
    gain = 1.5 if "conv" in name else 3 if "q_proj" in name else 1  # or all pictures would be nearly one
    return gain * x * x[0].numel() ** -0.5


def pictures() -> Tensor:
    """Three pictures (3,3,72,104) of 8 bits, flat colours under noise: neither square nor of whole 32 pixels."""
    rng = torch.Generator().manual_seed(0)
    flat = torch.rand(3, 3, 1, 1, generator=rng)
    return ((0.7 * flat + 0.3 * torch.rand(3, 3, 72, 104, generator=rng)) * 255).round().byte()


def write_folder(folder: Path) -> Path:
    """As `run_benchmark.py fetch clip-iqa-rn50` leaves one."""
    tokenizer().save_pretrained(folder)
    save_file(weights(), folder / "RN50.safetensors")
    return folder


def by_torchmetrics() -> Tensor:
    """Per cent (pairs, pictures) of torchmetrics' function with its default model."""
    import piq
    from torchmetrics.functional.multimodal import clip_image_quality_assessment
    from transformers import CLIPImageProcessorPil, CLIPProcessor

    network = piq.clip_iqa.clip.build_model(weights())
    theirs = {n: tuple(p.shape) for n, p in network.state_dict().items() if not n.endswith("num_batches_tracked")}
    if theirs != small_shapes():
        raise SystemExit(f"piq's tensors are others: {sorted(theirs.items() ^ small_shapes().items())}")
    processor = CLIPProcessor(image_processor=CLIPImageProcessorPil(), tokenizer=tokenizer())
    piq.clip_iqa.clip.load = lambda: network.float()
    CLIPProcessor.from_pretrained = lambda *_: processor
    with torch.no_grad():
        found = clip_image_quality_assessment(pictures() / 255, data_range=1.0, prompts=PAIRS)
    return 100 * torch.stack([found[name] for name in PAIRS])


if __name__ == "__main__":
    percent = by_torchmetrics()
    save_file({"pictures": pictures(), "percent": percent}, sys.argv[1])
    print(percent)
