"""Measure the guidance weights of the controlled track: `python -m engine.calibrate` prints the table to freeze.

A rule's weight is 1 / RMS(g) over the first 50 steps of one prompt, so that RMS(guidance_weight g) is 1 there.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace

import torch

from engine.job import Job
from engine.optimize import Training
from engine.prior import WORLD, open_prior
from engine.recipes import RULES, recipe
from priors.base import Prior
from prompts import select


def weight(job: Job, prior: Prior, device: str = "cpu", steps: int = 50, rounds: int = 2) -> float:
    """1 / RMS(g) of a job's rule. Its path depends a little on the weight, through the regularisers: hence rounds."""
    value = job.recipe.guidance_weight
    for _ in range(rounds):
        training = Training(replace(job, recipe=replace(job.recipe, guidance_weight=value)), prior, device)
        squares = [training.advance()["g_rms"] ** 2 for _ in range(min(steps, job.recipe.steps))]
        value = 1 / math.sqrt(sum(squares) / len(squares))
    return value


def main() -> None:
    parser = argparse.ArgumentParser("python -m engine.calibrate", description=__doc__)
    parser.add_argument("--prior", default=str(WORLD))
    parser.add_argument("--prompt", default="A ripe strawberry")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", nargs="+", default=list(RULES), choices=list(RULES), metavar="NAME")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    (prompt,), prior = select("world", [options.prompt]), open_prior(options.prior, options.device)
    for name in options.only:
        job = Job(recipe("world", "controlled", name), prompt, seed=0)
        value = weight(job, prior, options.device, options.steps, options.rounds)
        print(f'    "{name}":{" " * (14 - len(name))}{value:.3g},', flush=True)


if __name__ == "__main__":
    main()
