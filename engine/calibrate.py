"""Measure the guidance weights of the controlled track: `python -m engine.calibrate` prints the table to freeze.

A rule's weight is 1 / RMS(g) over the first 50 steps of one prompt, so that RMS(guidance_weight g) is 1 there.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from engine.apart import apart
from engine.job import Job
from engine.prior import open_prior
from engine.recipes.base import Recipe
from engine.recipes.outside import Outside
from engine.recipes.tables import TABLE, recipe
from engine.training import NonFinite, Training
from errors import RuleError
from files import read_json, write_json
from priors.base import Prior
from say import say
from suites import SUITES
from suites.world import WORLD

PROMPT, STEPS, ROUNDS = "A ripe strawberry", 50, 2


def weight(
    job: Job,
    prior: Prior,
    device: str = "cpu",
    steps: int = STEPS,
    rounds: int = ROUNDS,
    each: Callable[[], object] = lambda: None,
) -> float:
    """1 / RMS(g) of a job's rule. Its path depends a little on the weight, through the regularisers: hence rounds.
    `each` is called after every step. Raises ZeroDivisionError where g is 0 throughout."""
    value = job.recipe.guidance_weight
    for _ in range(rounds):
        training = Training(replace(job, recipe=replace(job.recipe, guidance_weight=value)), prior, device)
        squares = []
        for _ in range(min(steps, job.recipe.steps)):
            squares.append(training.advance()["g_rms"] ** 2)
            each()
        value = 1 / math.sqrt(sum(squares) / len(squares))
    return value


def measure(job: Job, prior: str, device: str, each: Callable[[], object]) -> float:
    """The weight of a job's rule on a prior by its name, with one thread, as jobs have."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return weight(job, open_prior(prior, device, job.recipe.half), device, each=each)
    finally:
        torch.set_num_threads(threads)


def _here(task: Callable[..., float], *arguments: Any, each: Callable[[], object]) -> float:
    return task(*arguments, each=each)


def measured(run: Path, made: Recipe, prior: str, weights: str, device: str, console: Console) -> Recipe:
    """The recipe with its weight measured, once: RUN/guidance_weights/<key>.json remembers it. `weights` identifies
    the prior's.

    A rule that fails while it is measured keeps the weight it has, as is said: its jobs record how they fail."""
    (prompt,) = SUITES[made.suite].select([PROMPT])
    job = Job(replace(made, name=""), prompt, seed=0)
    path = run / "guidance_weights" / f"{job.key(weights)}.json"
    if path.exists():
        return replace(made, guidance_weight=read_json(path)["guidance_weight"])
    bar = Progress(console=console, transient=True, disable=not console.is_terminal)
    # a rule from a file may change whatever its process has, or end it
    carried_out = apart if isinstance(made.method, Outside) else _here
    try:
        with bar:
            task = bar.add_task(f"guidance weight of {made.name}", total=ROUNDS * min(STEPS, made.steps))
            value = carried_out(measure, job, prior, device, each=lambda: bar.advance(task))
    except (RuleError, NonFinite, ZeroDivisionError) as error:
        cause = "its gradient is 0" if isinstance(error, ZeroDivisionError) else error
        said = f"The guidance weight of {made.name} was not measured ({cause}): its jobs have {made.guidance_weight:g}."
        say(console, said, "yellow")
        return made
    value = float(f"{value:.3g}")  # as the frozen ones
    path.parent.mkdir(parents=True, exist_ok=True)
    how = {"steps": STEPS, "rounds": ROUNDS, "prior": weights, "device": device}
    write_json(path, {"guidance_weight": value, **job.settings, **how})
    say(console, f"The guidance weight of {made.name}, measured: {value:g}")
    return replace(made, guidance_weight=value)


def main() -> None:
    parser = argparse.ArgumentParser("python -m engine.calibrate", description=__doc__)
    parser.add_argument("--prior", default=str(WORLD.prior))
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", nargs="+", default=list(TABLE), choices=list(TABLE), metavar="NAME")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    (prompt,), prior = WORLD.select([options.prompt]), open_prior(options.prior, options.device)
    for name in options.only:
        job = Job(recipe("world", "controlled", name), prompt, seed=0)
        value = weight(job, prior, options.device, options.steps, options.rounds)
        print(f'    "{name}":{" " * (14 - len(name))}{value:.3g},', flush=True)


if __name__ == "__main__":
    main()
