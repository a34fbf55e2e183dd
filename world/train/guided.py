"""What guidance does to a scene that is nearly right: the prior's one-step x0 at noised true views.

    python -m world.train.guided [DIR ...]      of the shipped prior, or of others of the world

A rule that scales (with text - without) by 7.5 keeps a true view only where both answers are nearly the same there, as
Stable Diffusion's are. So unseen true views are noised to a time, and three answers are held against them: with the
caption of the toy and its side, without any, and guided; errors are mean squares of x0, of which the latents' variance
is 1. The last column asks the reverse, whether words still lead where the picture says nothing: from the mean latent of
all views, noised, in how many of 43 captions the guided x0 lies nearest to the mean latent of the toy that is named.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from rich.console import Console
from rich.table import Table
from torch import Tensor

from errors import UserError, exit_code
from priors.text import SECTORS
from prompts import paper43
from world import models
from world.dataset import CHUNK, pictures
from world.train.run import rng_of
from world.train.unet import latents

CFG, TIMES, SEED = 7.5, (400, 700, 900), 1
Errors = tuple[float, float, float]


@torch.no_grad()
def x0(pipe: StableDiffusionPipeline, x_t: Tensor, t: int, texts: list[str]) -> Tensor:
    """One-step x0 (B,C,h,w) of v-prediction at noised latents x_t, with a text each."""
    words = pipe.tokenizer(
        texts, padding="max_length", truncation=True, max_length=models.TOKENS, return_tensors="pt"
    )  # fmt: skip
    a = pipe.scheduler.alphas_cumprod[t]
    embedded = pipe.text_encoder(words["input_ids"]).last_hidden_state
    return a.sqrt() * x_t - (1 - a).sqrt() * pipe.unet(x_t, t, embedded).sample


def noised(pipe: StableDiffusionPipeline, x: Tensor, t: int) -> Tensor:
    noise = torch.randn(x.shape, generator=rng_of(SEED, t))
    return pipe.scheduler.add_noise(x, noise, torch.full((len(x),), t))


def answers(pipe: StableDiffusionPipeline, x_t: Tensor, t: int, texts: list[str]) -> tuple[Tensor, Tensor, Tensor]:
    """x0 with text, without, and guided."""
    with_text, without = x0(pipe, x_t, t, texts), x0(pipe, x_t, t, [""] * len(texts))
    return with_text, without, without + CFG * (with_text - without)


def errors(pipe: StableDiffusionPipeline, codes: Tensor, texts: list[str], t: int) -> Errors:
    """Mean squares of the three answers' errors at true latents (B,C,h,w)."""
    found = answers(pipe, noised(pipe, codes, t), t, texts)
    with_text, without, guided = ((answer - codes).square().mean().item() for answer in found)
    return with_text, without, guided


def led(pipe: StableDiffusionPipeline, means: Tensor, prompts: list[str], t: int) -> float:
    """Per cent of prompts whose guided x0, from the mean of mean latents (T,C,h,w), is nearest to its own."""
    start = means.mean(0, keepdim=True).expand_as(means)
    *_, guided = answers(pipe, noised(pipe, start, t), t, prompts)
    apart = torch.cdist(guided.flatten(1), means.flatten(1))
    return 100 * (apart.argmin(1) == torch.arange(len(prompts))).float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m world.train.guided", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("priors", nargs="*", type=Path, default=[models.TINY_SD], metavar="DIR")
    folders = parser.parse_args().priors
    for folder in folders:
        if not (folder / "unet").is_dir():
            raise UserError(f"{folder} is not a Stable Diffusion folder: it has no unet/.")
    prompts = [prompt.text for prompt in paper43()]
    data = pictures(prompts, CHUNK, seed=SEED)
    (codes,) = latents(models.shipped_vae(), data, SEED, grounds=1).float()
    texts = [
        prompts[k] + SECTORS[round(azimuth / 45) % len(SECTORS)]
        for k, azimuth in zip(data.label.tolist(), data.azimuth.tolist(), strict=True)
    ]
    means = codes.unflatten(0, (len(prompts), CHUNK)).mean(1)
    some = slice(None, None, 5)
    table = Table("prior", "t", "with text", "without", f"guided {CFG:g}", "words lead %")
    for folder in folders:
        pipe = StableDiffusionPipeline.from_pretrained(
            folder, torch_dtype=torch.float32, safety_checker=None, local_files_only=True
        )
        for t in TIMES:
            found = errors(pipe, codes[some], texts[some], t)
            table.add_row(
                folder.name, f"{t / 1000:g}", *(f"{e:.2f}" for e in found), f"{led(pipe, means, prompts, t):.0f}"
            )
    Console().print(table)


if __name__ == "__main__":
    sys.exit(exit_code("world.train.guided", main))
