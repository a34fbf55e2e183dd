"""Train the tiny CLIP: pictures, clean and distorted, against prompts, and against CLIP-IQA's antonym sentences."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPModel

from world import models
from world.dataset import Pictures, over_grey
from world.train.distort import DISTORTIONS, blurred, grey_scale
from world.train.run import Plan, Training

BATCH, PEAK = 60, 1e-3
SENTENCES = ["Good photo.", "Bad photo.", "Sharp photo.", "Blurry photo.", "Real photo.", "Abstract photo."]


def batch(data: Pictures, rng: torch.Generator, n: int = BATCH) -> tuple[Tensor, Tensor, Tensor]:
    """Images (n,3,H,W) in [0, 1], half of them distorted and a quarter grey; labels (n,); which antonym of each of the
    three pairs is true (n,3): 0 for good, sharp, real."""
    pick = torch.randint(len(data.rgba), (n,), generator=rng)
    rgba, bad = data.rgba[pick].float() / 255, torch.zeros(n, 3, dtype=torch.long)
    share = n // (2 * len(DISTORTIONS))
    for k, distort in enumerate(DISTORTIONS):
        rows = slice(k * share, (k + 1) * share)
        rgba[rows] = distort(rgba[rows], rng)
        bad[rows, 0] = 1
        bad[rows, 1] = int(distort is blurred)
        bad[rows, 2] = int(distort is not blurred)
    image = over_grey((rgba.clamp(0, 1) * 255).to(torch.uint8), rng)
    grey = torch.rand(n, generator=rng) < 0.25
    image[grey] = grey_scale(image[grey])
    return image, data.label[pick], bad


def tokens(words, texts: list[str]) -> dict[str, Tensor]:
    return dict(words(texts, padding=True, truncation=True, max_length=models.TOKENS, return_tensors="pt"))


def similarities(model: CLIPModel, image: Tensor, texts: dict[str, Tensor]) -> Tensor:
    """Scaled cosines (B, texts)."""
    out = model(pixel_values=(image - 0.5) / 0.25, **texts)
    return out.logits_per_image


def train(data: Pictures, prompts: list[str], words, plan: Plan, **sizes: int) -> CLIPModel:
    """`sizes` are those of `models.clip`."""
    torch.manual_seed(plan.seed)
    model = models.clip(words, **sizes)
    training = Training(plan, model, PEAK)
    texts = tokens(words, prompts + SENTENCES)

    def loss_of(rng: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        image, label, bad = batch(data, rng)
        logits = similarities(model, image, texts)
        kind, quality = logits[:, : len(prompts)], logits[:, len(prompts) :].unflatten(1, (3, 2))
        ranking = F.cross_entropy(kind, label)
        antonyms = F.cross_entropy(quality.flatten(0, 1), bad.flatten())
        with torch.no_grad():
            model.logit_scale.clamp_(max=4.6052)  # 100, as in CLIP
            right = (kind.argmax(1) == label).float().mean().item()
            sound = (quality.argmax(2) == bad).float().mean().item()
        return ranking + antonyms, {"prompts": right, "antonyms": sound}

    training.run(loss_of)
    return training.averaged().eval()


@torch.no_grad()
def accuracy(model: CLIPModel, data: Pictures, prompts: list[str], words, rng: torch.Generator, grey: bool) -> float:
    """Share in % of the pictures that rank first to their own prompt."""
    texts, right = tokens(words, prompts), []
    for rgba, label in zip(data.rgba.split(100), data.label.split(100), strict=True):
        image = over_grey(rgba, rng)
        image = grey_scale(image) if grey else image
        right.append((similarities(model, image, texts).argmax(1) == label).float())
    return 100 * torch.cat(right).mean().item()
