"""Train the tiny CLIP: pictures, true and distorted, against prompts, and against CLIP-IQA's antonym sentences.

A picture distorted by a strength s in [0, 1] (`distort`) is to be, of its own prompt and of the better sentence,

    p_prompt = 1 - DOUBT s        the rest of it in equal parts of all prompts
    p_better = BEST - FALL s      of the pairs that the distortion is named by; else BEST

so that both CLIP score and CLIP-IQA fall as a picture grows worse.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPModel

from eval.clip_iqa import SENTENCES
from world import models
from world.dataset import Pictures, over_grey
from world.train.distort import SOFTENING, beside, grey_scale, in_shares
from world.train.run import Plan, Training, muon_and_adamw
from world.train.unet import fast

BATCH, PEAK = 60, 3e-3
EMA = 0.99
BEST, FALL, DOUBT = 0.9, 0.8, 0.5


class Batch(NamedTuple):
    """Images in [0, 1]; the numbers of their prompts; by how much they are distorted, and by how much each antonym
    pair (quality, sharpness, real) says so."""

    image: Float[Tensor, "n 3 H W"]
    label: Tensor
    strength: Float[Tensor, " n"]
    named: Float[Tensor, "n 3"]


def batch(data: Pictures, rng: torch.Generator, n: int = BATCH) -> Batch:
    """Half of them distorted, in equal shares of the distortions, and a quarter grey."""
    pick = torch.randint(len(data.rgba), (n,), generator=rng)
    rgba, label = data.rgba[pick].float() / 255, data.label[pick]
    others, strength, named = beside(data, label, rng), torch.rand(n, generator=rng), torch.zeros(n, 3)
    strength[n // 2 :] = 0
    for distort, rows in in_shares(n // 2):
        rgba[rows] = distort(rgba[rows], others.rows(rows), strength[rows].view(-1, 1, 1, 1), rng)
        named[rows, 0] = strength[rows]
        named[rows, 1 if distort in SOFTENING else 2] = strength[rows]
    image = over_grey((rgba.clamp(0, 1) * 255).to(torch.uint8), rng)
    grey = torch.rand(n, generator=rng) < 0.25
    image[grey] = grey_scale(image[grey])
    return Batch(image, label, strength, named)


def optimisers(model: nn.Module, peak: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the transformers' layers, AdamW for all else."""
    return muon_and_adamw(model, lambda name, weight: ".layer" in name and weight.ndim == 2, peak, peak / 3)


def tokens(words, texts: list[str]) -> dict[str, Tensor]:
    return dict(words(texts, padding=True, truncation=True, max_length=models.TOKENS, return_tensors="pt"))


def similarities(model: CLIPModel, image: Tensor, texts: dict[str, Tensor]) -> Tensor:
    """Scaled cosines (B, texts)."""
    out = model(pixel_values=(image - 0.5) / 0.25, **texts)
    return out.logits_per_image


def loss(model: CLIPModel, made: Batch, texts: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
    """Of a batch, against texts that are the prompts and then the antonyms; with the shares that are ranked rightly
    and the error of p_better, both in [0, 1]."""
    with torch.autocast("cpu", torch.bfloat16, enabled=fast("cpu")), sdpa_kernel(SDPBackend.MATH):
        out = model(pixel_values=(made.image - 0.5) / 0.25, **texts)
    cosine = out.image_embeds.float() @ out.text_embeds.float().mT
    toys = cosine.shape[1] - len(SENTENCES)
    kind = model.logit_scale.exp() * cosine[:, :toys]
    pairs = 100 * cosine[:, toys:].unflatten(1, (3, 2))  # at CLIP-IQA's scale
    doubt = DOUBT * made.strength[:, None]
    wanted = (1 - doubt) * F.one_hot(made.label, toys) + doubt / toys
    better = BEST - FALL * made.named
    ranking = F.cross_entropy(kind, wanted)
    antonyms = F.cross_entropy(pairs.flatten(0, 1), torch.stack([better, 1 - better], 2).flatten(0, 1))
    with torch.no_grad():
        right = (kind.argmax(1) == made.label).float().mean().item()
        off = (pairs.softmax(2)[..., 0] - better).abs().mean().item()
    return ranking + antonyms, {"prompts": right, "antonyms_off": off}


def train(data: Pictures, prompts: list[str], words, plan: Plan, **sizes: int) -> CLIPModel:
    """`sizes` are those of `models.clip`."""
    torch.manual_seed(plan.seed)
    model = models.clip(words, **sizes)
    training = Training(plan, model, PEAK, EMA, optimisers)
    texts = tokens(words, prompts + SENTENCES)

    def loss_of(rng: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        with torch.no_grad():
            model.logit_scale.clamp_(max=4.6052)  # 100, as in CLIP
        return loss(model, batch(data, rng), texts)

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
