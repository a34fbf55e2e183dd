"""CLIP as an encoder of images and texts, from a local folder, with the checksum of what it computes from.

Every metric reads unit features, so that a picture is encoded once for all of them.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from errors import UserError, first_line, is_out_of_memory
from files import digest, read_json
from priors import folder as folders

BATCH = 50  # images encoded together
CONFIG, STEM = "config.json", "model"
SPREAD = (0.02, 50.0)  # of what a network is shown of noise
PICTURES = ("preprocessor_config.json", "processor_config.json")  # older and newer name of the same settings
HALVED = ("cuda",)  # kinds of device on which encoders compute in half precision


class Encodes(Protocol):
    """What a metric over features asks of an encoder; `checksum` tells encoders apart."""

    @property
    def checksum(self) -> str: ...

    def images(self, images: Float[Tensor, "V 3 H W"]) -> Float[Tensor, "V D"]:
        """Unit features of images in [0, 1], by way of 8 bits."""

    def texts(self, texts: list[str]) -> Float[Tensor, "N D"]:
        """Unit features of texts, cut at the model's longest."""


@dataclass(frozen=True)
class Encoder:
    """A transformers CLIPModel, its processor, and the checksum of the folder they came from."""

    model: Any
    processor: Any
    checksum: str

    @torch.inference_mode()
    def images(self, images: Float[Tensor, "V 3 H W"]) -> Float[Tensor, "V D"]:
        """Unit features of images in [0, 1], by way of 8 bits, as a picture on disk has them."""
        features = []
        for chunk in images.split(BATCH):
            pixels = self.seen(chunk).to(self.model.device)
            with half(self.model.device):
                features.append(pooled(self.model.get_image_features(pixels)))
        return F.normalize(torch.cat(features).float(), dim=-1).cpu()

    def seen(self, images: Float[Tensor, "V 3 H W"]) -> Float[Tensor, "V 3 h w"]:
        """What the network is given of images."""
        return self.processor(images=list(eight_bits(images).cpu()), return_tensors="pt")["pixel_values"]

    @torch.inference_mode()
    def texts(self, texts: list[str]) -> Float[Tensor, "N D"]:
        """Unit features of texts, cut at the model's longest."""
        tokens = self.processor.tokenizer(
            texts, padding=True, truncation=True, max_length=self.longest, return_tensors="pt"
        ).to(self.model.device)
        with half(self.model.device):
            features = self.model.get_text_features(tokens["input_ids"], tokens["attention_mask"])
        return F.normalize(pooled(features).float(), dim=-1).cpu()

    def on(self, device: torch.device | str) -> Encoder:
        """The same on a device: its network goes there."""
        return replace(self, model=self.model.to(device))

    @property
    def longest(self) -> int:
        """Tokens of the longest text that the model reads whole."""
        return self.model.config.text_config.max_position_embeddings

    def cut(self, text: str) -> int:
        """Tokens of the text beyond the model's longest: those that no score sees."""
        return max(len(self.processor.tokenizer(text, verbose=False)["input_ids"]) - self.longest, 0)


def load_clip(folder: str | Path, device: torch.device | str = "cpu") -> Encoder:
    """The encoder in a local folder of transformers' format (the world's tiny CLIP, ViT-B/32).

    Raises UserError where the folder is not there, not CLIP, has no safetensors, or cannot judge."""
    from transformers import CLIPImageProcessorPil, CLIPModel, CLIPProcessor

    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        raise UserError(
            f"There is no CLIP in {folder}: {CONFIG} is missing; name a folder with it and {STEM}.safetensors."
        )
    if (kind := read_json(folder / CONFIG, "fetch it again").get("model_type", "clip")) != "clip":
        raise UserError(f"The folder {folder} is no CLIP: its {CONFIG} says {kind}.")
    variant, files = folders.weights(folder, STEM)
    folders.refuse_quantised(files)
    folders.refuse_lost_words(folder)
    if not any((folder / name).is_file() for name in PICTURES):
        raise UserError(f"The CLIP in {folder} does not say how it sees pictures: {PICTURES[0]} is missing; fetch it.")
    try:
        with folders.without_marks(folder) as read:
            model, info = CLIPModel.from_pretrained(
                read, variant=variant or None, local_files_only=True, use_safetensors=True, dtype=torch.float32,
                output_loading_info=True, ignore_mismatched_sizes=True,  # they are named below
            )  # fmt: skip
            processor = CLIPProcessor.from_pretrained(read, local_files_only=True)
            # where torchvision is installed, it would resize in its own way: pixels by .016 apart
            processor.image_processor = CLIPImageProcessorPil.from_pretrained(read, local_files_only=True)
    except Exception as error:  # each library has its own
        if is_out_of_memory(error):
            raise
        raise UserError(f"The CLIP in {folder} cannot be read: {first_line(error)}.") from error
    if said := folders.amiss(info):  # what is missing would be random
        raise UserError(f"The CLIP in {folder} cannot be read: its weights are of another model, they {said}.")
    folders.refuse_unsound(folder, model)
    folders.refuse_other_words(folder, processor.tokenizer, model.config.text_config.vocab_size)
    encoder = Encoder(model.eval().requires_grad_(False).to(device), processor, checksum(folder))
    _refuse_blind(encoder, folder)
    return encoder


def _refuse_blind(encoder: Encoder, folder: Path) -> None:
    """Raise UserError where an encoder takes unlike pictures, or unlike texts, for the same, or sees pictures in
    numbers that no network was trained on: scores would be of nothing."""
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for what, ask in {"pictures": lambda: encoder.images(images), "texts": lambda: encoder.texts(["a", "b"])}.items():
        try:
            features = ask()
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise UserError(f"The CLIP in {folder} cannot read {what}: {first_line(error)}.") from error
        if not features.isfinite().all() or torch.equal(*features):
            raise UserError(f"The CLIP in {folder} takes unlike {what} for the same: take another.")
    spread = encoder.seen(images).std().item()
    if not SPREAD[0] < spread < SPREAD[1]:
        raise UserError(
            f"The CLIP in {folder} is shown pictures in numbers of a spread of {spread:.2g}, where a CLIP is "
            "trained on 1: its settings of pictures scale them wrongly."
        )


def half(device: torch.device) -> AbstractContextManager:
    """Half precision where it is the faster, on a GPU; what leaves an encoder is of single precision all the same."""
    return torch.autocast(device.type, torch.float16, enabled=device.type in HALVED)


def tokenizer_of(folder: Path) -> Any:
    """CLIP's tokenizer in a local folder."""
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def checksum(folder: Path) -> str:
    """sha256, as hex, over the names and contents of the folder's weights and settings of pictures and tokens."""
    stems = [file.name for file in folder.glob(f"{STEM}*.safetensors*")]
    read = folders.weights(folder, STEM)[1] if stems else folder.glob("*.safetensors")
    return digest({*read, *filter(folders.is_read, folder.iterdir())})


def eight_bits(images: Float[Tensor, "V 3 H W"]) -> Tensor:
    """uint8 in 0 ... 255, rounded."""
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


def pooled(features: Any) -> Tensor:
    """The features of an output object of transformers >= 5, or the tensor that they are before it."""
    return features if isinstance(features, Tensor) else features.pooler_output
