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
from rich.console import Console
from rich.table import Table
from torch import Tensor

from errors import exit_code
from priors import stable_diffusion
from priors.base import Prior
from priors.guidance import branches
from priors.text import SECTORS
from prompts import paper43
from world import models
from world.dataset import CHUNK, pictures
from world.train.run import rng_of
from world.train.unet import latents

CFG, TIMES, SEED = 7.5, (400, 700, 900), 1
Errors = tuple[float, float, float]


@torch.no_grad()
def answers(prior: Prior, x: Tensor, t: int, texts: list[str]) -> tuple[Tensor, Tensor, Tensor]:
    """One-step x0 (B,C,h,w) of latents x, noised to t: with their texts, without any, and guided."""
    noise, times = torch.randn(x.shape, generator=rng_of(SEED, t)), torch.full((len(x),), t)
    x_t, empty = prior.schedule.noised(x, noise, times), prior.embed([""]).expand(len(x), -1, -1)
    without, told = (
        prior.schedule.x0_of(x_t, eps, times) for eps in branches(prior, x_t, times, empty, prior.embed(texts))
    )
    return told, without, without + CFG * (told - without)


def errors(prior: Prior, codes: Tensor, texts: list[str], t: int) -> Errors:
    """Mean squares of the three answers' errors at true latents (B,C,h,w)."""
    found = answers(prior, codes, t, texts)
    with_text, without, guided = ((answer - codes).square().mean().item() for answer in found)
    return with_text, without, guided


def led(prior: Prior, means: Tensor, prompts: list[str], t: int) -> float:
    """Per cent of prompts whose guided x0, from the mean of mean latents (T,C,h,w), is nearest to its own."""
    start = means.mean(0, keepdim=True).expand_as(means)
    *_, guided = answers(prior, start, t, prompts)
    apart = torch.cdist(guided.flatten(1), means.flatten(1))
    return 100 * (apart.argmin(1) == torch.arange(len(prompts))).float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m world.train.guided", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("priors", nargs="*", type=Path, default=[models.TINY_SD], metavar="DIR")
    folders = parser.parse_args().priors
    for folder in folders:
        stable_diffusion.checksum(folder)  # before minutes of pictures are made
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
        prior = stable_diffusion.load(folder)
        for t in TIMES:
            found = errors(prior, codes[some], texts[some], t)
            table.add_row(
                folder.name, f"{t / 1000:g}", *(f"{e:.2f}" for e in found), f"{led(prior, means, prompts, t):.0f}"
            )
    Console().print(table)


if __name__ == "__main__":
    sys.exit(exit_code("world.train.guided", main))
