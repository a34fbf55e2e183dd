"""ImageReward (Xu et al., arXiv 2304.05977): how well a person would say that a picture shows its prompt.

r = (MLP(BLIP(picture, text)_[CLS]) - mean) / std

BLIP's image encoder is a ViT; its text encoder a BERT that attends to the picture in every layer; the MLP has no
activations. Scores are about N(0, 1) over the pictures that `mean` and `std` were measured on: negative is normal.

A folder holds config.json, model.safetensors, a BERT tokenizer and CLIP's image processor. The sizes in config.json
are those of transformers' BlipVisionConfig and BlipTextConfig. ImageReward-v1.0 has a ViT-L/16 at 224 pixels,
BERT-base, a head of 1024, 128, 64, 16 with dropouts .2, .2, .1, at most 35 tokens, mean .16717362830052426 and std
1.0333394966054072; the folder of the published file itself is read too (`eval.published_reward`).
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from errors import UserError, first_line
from eval import published_reward as published
from eval.encoders import BATCH, checksum, eight_bits, half
from eval.metric import Metric
from files import read_json
from priors.folder import amiss, compared

PARTS = ("config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json")


class ImageReward(nn.Module):
    """Alphabet: pixels (B,3,S,S), normalised; seen (B,N,D), a picture's patches and its class token; words (B,L)."""

    def __init__(self, config: dict[str, Any], tokenizer: Any, processor: Any):
        """`config`: vision_config, text_config, head (widths), dropout (behind the first), max_tokens, mean, std."""
        from transformers import BlipTextConfig, BlipTextModel, BlipVisionConfig, BlipVisionModel

        super().__init__()
        self.config, self.tokenizer, self.processor = dict(config), tokenizer, processor
        self.checksum = ""  # of the folder that it was loaded from
        vision = BlipVisionConfig(**config["vision_config"])
        # transformers builds cross-attention for decoders alone; `judge` runs them as an encoder
        text = BlipTextConfig(**config["text_config"], encoder_hidden_size=vision.hidden_size, is_decoder=True)
        self.visual_encoder = BlipVisionModel(vision)
        self.text_encoder = BlipTextModel(text, add_pooling_layer=False)
        self.mlp = head([text.hidden_size, *config["head"], 1], config["dropout"])

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def on(self, device: torch.device | str) -> ImageReward:
        """The same on a device: it goes there."""
        return self.to(device)

    def pixels(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 S S"]:
        """Images in [0, 1], by way of 8 bits: resized (bicubic), cropped to the middle, normalised."""
        made = self.processor(images=list(eight_bits(images).cpu()), return_tensors="pt")["pixel_values"]
        return made.to(self.device)

    def words(self, texts: list[str]) -> dict[str, Tensor]:
        """Token numbers and mask, (B,L), cut at `max_tokens`."""
        limit = self.config["max_tokens"]
        tokens = self.tokenizer(texts, padding=True, truncation=True, max_length=limit, return_tensors="pt")
        return {name: tokens[name].to(self.device) for name in ("input_ids", "attention_mask")}

    @property
    def longest(self) -> int:
        """Tokens of the longest text that the model reads whole."""
        return self.config["max_tokens"]

    def cut(self, text: str) -> int:
        """Tokens of the text beyond the model's longest: those that no score sees."""
        return max(len(self.tokenizer(text, verbose=False)["input_ids"]) - self.longest, 0)

    def look(self, pixels: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B N D"]:
        return self.visual_encoder(pixels).last_hidden_state

    def judge(self, seen: Float[Tensor, "B N D"], words: dict[str, Tensor]) -> Float[Tensor, " B"]:
        """The reward of each picture for each text, before mean and std."""
        read = self.text_encoder(**words, encoder_hidden_states=seen, is_decoder=False).last_hidden_state
        return self.mlp(read[:, 0]).squeeze(-1)

    @torch.inference_mode()
    def score(self, images: Float[Tensor, "V 3 H W"], prompt: str) -> Float[Tensor, " V"]:
        """The reward of images in [0, 1] for a prompt."""
        words, rewards = self.words([prompt]), []
        for chunk in images.split(BATCH):
            with half(self.device):
                seen = self.look(self.pixels(chunk))
                rewards.append(self.judge(seen, {k: v.expand(len(seen), -1) for k, v in words.items()}))
        return ((torch.cat(rewards).float() - self.config["mean"]) / self.config["std"]).cpu()

    def save(self, folder: str | Path) -> None:
        """Write the folder, with the weights in the model's precision."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_file({k: v.contiguous() for k, v in self.state_dict().items()}, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(self.config, indent=2) + "\n", "utf-8")
        self.tokenizer.save_pretrained(folder)
        self.processor.save_pretrained(folder)

    @classmethod
    def load(cls, folder: str | Path, device: torch.device | str = "cpu") -> ImageReward:
        """The reward in a local folder, frozen, in single precision.

        Raises UserError where a part of the folder is missing or damaged."""
        from transformers import BertTokenizer, CLIPImageProcessorPil

        folder = Path(folder)
        as_published = (folder / published.WEIGHTS).is_file()
        parts = (published.MED, published.WEIGHTS, "tokenizer.json") if as_published else PARTS
        if missing := [name for name in parts if not (folder / name).is_file()]:
            raise UserError(
                f"There is no ImageReward in {folder}: {missing[0]} is missing; name a folder with {', '.join(parts)}."
            )
        try:
            tokenizer = BertTokenizer.from_pretrained(folder, local_files_only=True)
            if as_published:
                state = load_file(folder / published.WEIGHTS)
                config = published.config_of(state, read_json(folder / published.MED))
                state, size = published.renamed(state), config["vision_config"]["image_size"]
                processor = CLIPImageProcessorPil(
                    size={"shortest_edge": size}, crop_size={"height": size, "width": size},
                    image_mean=published.MEAN_RGB, image_std=published.STD_RGB,
                )  # fmt: skip
            else:
                state = load_file(folder / "model.safetensors")
                config = read_json(folder / "config.json")
                processor = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
            model = cls(config, tokenizer, processor)
            said = amiss(compared(model.state_dict(), state))
            if not said:
                model.load_state_dict(state)
        except Exception as error:  # of many kinds: damaged JSON, weights, settings that transformers refuses
            raise UserError(f"The ImageReward in {folder} cannot be read: {first_line(error)}.") from error
        if said:
            raise UserError(
                f"The ImageReward in {folder} cannot be read: its weights are of another model, they {said}."
            )
        model.checksum = checksum(folder)
        return model.eval().requires_grad_(False).to(device)


def head(widths: list[int], dropout: list[float]) -> nn.Sequential:
    """Linear layers through `widths`, with dropout behind the first of them."""
    layers: list[nn.Module] = []
    for k, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        layers.append(nn.Linear(inputs, outputs))
        layers += [nn.Dropout(dropout[k])] if k < len(dropout) else []
    return nn.Sequential(*layers)


IMAGE_REWARD = Metric(
    "image_reward", "ImageReward", "", "up", 2, 0.2, needs=("reward",), group="paper",
    about="What people prefer for the prompt, as a model learnt it: 0 is the mean, 1 a standard deviation.",
    bounds=(-20.0, 20.0),  # in standard deviations of people's judgements: what lies beyond is damage
    function=lambda seen: seen.judges["reward"].score(seen.rgb, seen.prompt),
)  # fmt: skip
