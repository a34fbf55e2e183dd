"""CLIPs of open_clip (Cherti et al., arXiv 2212.07143) as a second encoder, from a local file of weights.

Named `open_clip:ARCHITECTURE=FILE.safetensors`. OpenAI's weights want the architecture's -quickgelu form.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from errors import UserError, first_line
from eval.encoders import BATCH, digest, eight_bits, half

PREFIX = "open_clip:"


@dataclass(frozen=True)
class OpenClip:
    """A model of open_clip, its transform of pictures, its tokenizer, and the checksum of architecture and weights."""

    model: Any
    transform: Any
    tokenizer: Any
    checksum: str
    device: torch.device

    @torch.inference_mode()
    def images(self, images: Float[Tensor, "V 3 H W"]) -> Float[Tensor, "V D"]:
        """Unit features of images in [0, 1], by way of 8 bits, as a picture on disk has them."""
        from PIL import Image

        features = []
        for chunk in images.split(BATCH):
            pictures = [Image.fromarray(p.permute(1, 2, 0).numpy()) for p in eight_bits(chunk).cpu()]
            pixels = torch.stack([self.transform(picture) for picture in pictures]).to(self.device)
            with half(self.device):
                features.append(self.model.encode_image(pixels))
        return F.normalize(torch.cat(features).float(), dim=-1).cpu()

    @torch.inference_mode()
    def texts(self, texts: list[str]) -> Float[Tensor, "N D"]:
        """Unit features of texts, cut at the model's longest."""
        tokens = self.tokenizer(texts).to(self.device)
        with half(self.device):
            features = self.model.encode_text(tokens)
        return F.normalize(features.float(), dim=-1).cpu()

    def on(self, device: torch.device | str) -> OpenClip:
        """The same on a device: its network goes there."""
        return replace(self, model=self.model.to(device), device=torch.device(device))

    @property
    def longest(self) -> int:
        """Tokens of the longest text that the model reads whole."""
        return self.model.context_length

    def cut(self, text: str) -> int:
        """Tokens of the text beyond the model's longest: those that no score sees; 1 where a full one may have lost
        some, for tokenizers that do not say how many."""
        if hasattr(self.tokenizer, "encode"):  # of words alone, without the marks of start and end
            return max(len(self.tokenizer.encode(text)) + 2 - self.longest, 0)
        return int((self.tokenizer([text]) != 0).sum() >= self.longest)


def parts_of(name: str) -> tuple[str, Path]:
    """Architecture and file. Raises UserError where a name says neither, nothing is there, or no library reads it."""
    architecture, _, path = name.removeprefix(PREFIX).partition("=")
    if not architecture or ":" in architecture or not path.endswith(".safetensors"):
        raise UserError(f"{name!r} names no CLIP of open_clip: write {PREFIX}ARCHITECTURE=FILE.safetensors.")
    if find_spec("open_clip") is None:
        raise UserError("CLIPs of open_clip need a library that is not here: install it by uv sync --extra metrics.")
    if not Path(path).is_file():
        raise UserError(f"There are no weights {path}: name a safetensors file of open_clip's {architecture}.")
    return architecture, Path(path)


def load_open_clip(name: str, device: torch.device | str = "cpu") -> OpenClip:
    """The encoder named, frozen, in single precision. Raises UserError for what is not there or cannot be read."""
    architecture, path = parts_of(name)
    import open_clip

    if architecture not in open_clip.list_models():
        raise UserError(f"open_clip has no architecture {architecture}: open_clip.list_models() names all.")
    try:
        model, _, transform = open_clip.create_model_and_transforms(architecture, pretrained=str(path))
        tokenizer = open_clip.get_tokenizer(architecture)
    except Exception as error:  # of many kinds: damaged weights, those of another architecture, tokenizers from a hub
        reason = first_line(error)
        raise UserError(f"The weights {path} cannot be read as open_clip's {architecture}: {reason}") from error
    model = model.eval().requires_grad_(False).to(device)
    return OpenClip(model, transform, tokenizer, digest([path], name=architecture), torch.device(device))
