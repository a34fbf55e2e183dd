"""CLIP RN50 (Radford et al., arXiv 2103.00020, section 2.4): what CLIP-IQA looks through where nothing else is said.

A ResNet of three stem convolutions, average pooling in front of what strides, and attention in place of the last
pooling. As CLIP-IQA has it (arXiv 2207.12396, section 3.1): no resizing, no cropping, and no positional embedding in
the attention, so that pictures of any size from 32 x 32 are read. Texts are padded with 0 to the longest.

Alphabet: w, tensors under OpenAI's names; x (V,C,H,W), feature maps; tokens (N,L). Sizes are those of w's shapes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from safetensors.torch import load_file
from torch import Tensor

from errors import UserError, first_line
from eval.encoders import BATCH, checksum, eight_bits, half, tokenizer_of

WEIGHTS = "RN50.safetensors"
PARTS = (WEIGHTS, "tokenizer.json", "tokenizer_config.json")
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of RGB in [0, 1], CLIP's
CHANNELS = 64  # of each head of attention, here and in the text encoder
Weights = dict[str, Tensor]


@dataclass(frozen=True)
class RN50:
    """The network's tensors, CLIP's tokenizer, and the checksum of the folder they came from."""

    weights: Weights
    tokenizer: Any
    checksum: str

    @property
    def device(self) -> torch.device:
        return self.weights["text_projection"].device

    def on(self, device: torch.device | str) -> RN50:
        """The same on a device."""
        return replace(self, weights={name: tensor.to(device) for name, tensor in self.weights.items()})

    @torch.inference_mode()
    def images(self, images: Float[Tensor, "V 3 H W"]) -> Float[Tensor, "V D"]:
        """Unit features of images in [0, 1], by way of 8 bits, as a picture on disk has them."""
        mean, std = (torch.tensor(c, device=self.device).view(3, 1, 1) for c in (MEAN, STD))
        features = []
        for chunk in images.split(BATCH):
            with half(self.device):
                features.append(seen(self.weights, (eight_bits(chunk).to(self.device) / 255 - mean) / std))
        return F.normalize(torch.cat(features).float(), dim=-1).cpu()

    @torch.inference_mode()
    def texts(self, texts: list[str]) -> Float[Tensor, "N D"]:
        """Unit features of texts, cut at the model's longest."""
        limit = len(self.weights["positional_embedding"])
        tokens = torch.zeros(len(texts), limit, dtype=torch.long)
        for row, found in zip(
            tokens, self.tokenizer(texts, truncation=True, max_length=limit)["input_ids"], strict=True
        ):
            row[: len(found)] = torch.tensor(found)
        with half(self.device):
            features = read(self.weights, tokens.to(self.device))
        return F.normalize(features.float(), dim=-1).cpu()


def load_rn50(folder: str | Path, device: torch.device | str = "cpu") -> RN50:
    """The encoder in a folder as `run_benchmark.py fetch clip-iqa-rn50` leaves it.

    Raises UserError where a part is missing or damaged."""
    folder = Path(folder)
    if missing := [name for name in PARTS if not (folder / name).is_file()]:
        raise UserError(f"There is no RN50 in {folder}: {missing[0]} is missing; run_benchmark.py fetch brings it.")
    try:
        weights = {name: tensor.to(device) for name, tensor in load_file(folder / WEIGHTS).items()}
        encoder = RN50(weights, tokenizer_of(folder), checksum(folder))
        encoder.images(torch.zeros(1, 3, 32, 32)), encoder.texts(["a photo"])  # what is missing is missed now
    except KeyError as error:
        raise UserError(f"The RN50 in {folder} lacks the tensor {error}: delete the folder and fetch again.") from error
    except Exception as error:  # of many kinds: damaged tensors, unlike shapes, a tokenizer that is none
        reason = first_line(error)
        raise UserError(
            f"The RN50 in {folder} cannot be read ({reason}): delete the folder and fetch again."
        ) from error
    return encoder


def seen(w: Weights, x: Float[Tensor, "V 3 H W"]) -> Float[Tensor, "V D"]:
    """Features of normalised pixels, before they are made of unit length."""
    for k in (1, 2, 3):
        x = F.relu(convolved(w, f"visual.conv{k}", f"visual.bn{k}", x, 2 if k == 1 else 1))
    x = F.avg_pool2d(x, 2)
    for layer in (1, 2, 3, 4):
        for k in range(count(w, f"visual.layer{layer}.")):
            x = residual(w, f"visual.layer{layer}.{k}.", x, 2 if layer > 1 and k == 0 else 1)
    return pooled(w, "visual.attnpool.", x)


def residual(w: Weights, name: str, x: Float[Tensor, "V C H W"], stride: int) -> Float[Tensor, "V K h w"]:
    """relu(f(x) + x), with x brought to f(x)'s size where it has another."""
    y = F.relu(convolved(w, f"{name}conv1", f"{name}bn1", x))
    y = F.relu(convolved(w, f"{name}conv2", f"{name}bn2", y))
    y = convolved(w, f"{name}conv3", f"{name}bn3", F.avg_pool2d(y, stride))
    if f"{name}downsample.0.weight" in w:
        x = convolved(w, f"{name}downsample.0", f"{name}downsample.1", F.avg_pool2d(x, stride))
    return F.relu(x + y)


def convolved(w: Weights, conv: str, norm: str, x: Float[Tensor, "V C H W"], stride: int = 1) -> Tensor:
    """A convolution that keeps the size (but for its stride), then batch normalisation with the stored statistics."""
    kernel = w[f"{conv}.weight"]
    x = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
    mean, var, scale, shift = (w[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, mean, var, scale, shift)


def pooled(w: Weights, name: str, x: Float[Tensor, "V C H W"]) -> Float[Tensor, "V D"]:
    """Attention from the mean over all places to the places and itself."""
    places = x.flatten(2).mT
    places = torch.cat([places.mean(1, keepdim=True), places], 1)
    q, k, v = (
        heads(F.linear(z, w[f"{name}{part}_proj.weight"], w[f"{name}{part}_proj.bias"]))
        for part, z in (("q", places[:, :1]), ("k", places), ("v", places))
    )
    found = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(1)
    return F.linear(found, w[f"{name}c_proj.weight"], w[f"{name}c_proj.bias"])


def read(w: Weights, tokens: Int[Tensor, "N L"]) -> Float[Tensor, "N D"]:
    """Features of texts at their last token, which has CLIP's highest number, before they are made of unit length."""
    x = w["token_embedding.weight"][tokens] + w["positional_embedding"]
    for k in range(count(w, "transformer.resblocks.")):
        name = f"transformer.resblocks.{k}."
        x = x + attended(w, f"{name}attn.", normed(w, f"{name}ln_1", x))
        y = F.linear(normed(w, f"{name}ln_2", x), w[f"{name}mlp.c_fc.weight"], w[f"{name}mlp.c_fc.bias"])
        x = x + F.linear(y * (1.702 * y).sigmoid(), w[f"{name}mlp.c_proj.weight"], w[f"{name}mlp.c_proj.bias"])
    last = normed(w, "ln_final", x)[torch.arange(len(x), device=x.device), tokens.argmax(-1)]
    return last @ w["text_projection"]


def attended(w: Weights, name: str, x: Float[Tensor, "N L C"]) -> Float[Tensor, "N L C"]:
    """Each token attends to itself and to those before it."""
    q, k, v = (heads(z) for z in F.linear(x, w[f"{name}in_proj_weight"], w[f"{name}in_proj_bias"]).chunk(3, -1))
    found = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
    return F.linear(found, w[f"{name}out_proj.weight"], w[f"{name}out_proj.bias"])


def normed(w: Weights, name: str, x: Float[Tensor, "N L C"]) -> Float[Tensor, "N L C"]:
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])


def heads(x: Float[Tensor, "N L C"]) -> Float[Tensor, "N heads L 64"]:
    return x.unflatten(-1, (-1, CHANNELS)).transpose(1, 2)


def count(w: Weights, prefix: str) -> int:
    """How many numbered parts are named so."""
    return 1 + max((int(n.removeprefix(prefix).split(".")[0]) for n in w if n.startswith(prefix)), default=-1)
