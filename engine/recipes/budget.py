"""Equal calls of the U-Net for all rules: how many steps of each come nearest to a budget (`--budget nfe=N`).

Calls are counted by a dry run of the rule itself, gradient and learning, over the whole of its schedule: on latents of
4x4 and a Gaussian for a prior, whose every call is counted as the real one's. Rules that choose their number of calls
at random (ISM, by its timesteps) are counted with one seed, and come out near.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from engine.recipes.base import Recipe
from errors import RuleError, UserError
from methods.base import Views, phi_of, with_fields
from priors.analytic import GaussianPrior
from priors.text import make_text
from suites import SUITES

SIDE = 4  # of the latents; their channels are the suite's
PROBE, TRIES = 64, 8  # steps of the first count, corrections after it


class Stub(GaussianPrior):
    """A prior that costs nothing, with a suite's channels, whose images have the side of its latents."""

    def __init__(self, channels: int):
        super().__init__(torch.zeros(channels, SIDE, SIDE), 1.0)

    def decode(self, latent: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 3 h w"]:
        return torch.zeros(len(latent), 3, SIDE, SIDE)


def steps_for(recipe: Recipe, nfe: int, console: Console) -> tuple[Recipe, int]:
    """The recipe with the number of steps whose calls are nearest to `nfe`, and those calls.

    Raises UserError where one step has more, where the rule makes none, and where it fails."""
    counts: dict[int, int] = {}
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"steps of {recipe.name} for {nfe} calls", total=None)

        def count(steps: int) -> int:
            if steps not in counts:
                counts[steps] = calls(recipe, steps, lambda k: bar.update(task, completed=k, total=steps))
            return counts[steps]

        if count(1) > nfe:
            raise UserError(f"--budget nfe={nfe} is less than one step of {recipe.name} costs: {count(1)}.")
        steps, calls_there = PROBE, count(PROBE)
        if not calls_there:
            raise UserError(f"--budget cannot be kept by {recipe.name}: it makes no call of the prior.")
        for _ in range(TRIES):  # nearly proportional
            nearer = max(steps + round((nfe - count(steps)) * steps / count(steps)), 1)
            if nearer in counts:
                break
            steps = nearer
        around = [s for best in [_nearest(counts, nfe)] for s in (best - 1, best + 1) if s > 0]
        for steps in around:
            count(steps)
    best = _nearest(counts, nfe)
    return replace(recipe, steps=best), counts[best]


def _nearest(counts: dict[int, int], nfe: int) -> int:
    return min(counts, key=lambda steps: (abs(counts[steps] - nfe), steps))


def calls(recipe: Recipe, steps: int, each=lambda k: None) -> int:
    """Calls of the network in a job of so many steps. `each` is told of every step."""
    prior, rng = Stub(SUITES[recipe.suite].latents[0]), torch.Generator().manual_seed(0)
    method = with_fields(recipe.method, phi="") if phi_of(recipe.method) else recipe.method
    try:
        state, text = method.start(prior), make_text(prior, "a thing", method.negative)
        prior.nfe = 0
        for k in range(steps):
            cameras = recipe.cameras.sample(recipe.batch, rng)
            x0 = torch.randn(recipe.batch, *prior.latent_shape, generator=rng)
            image = torch.rand(recipe.batch, 3, SIDE, SIDE, generator=rng)
            views = Views(x0, image, text, cameras, k / steps, rng)
            with torch.no_grad():
                method.gradient(views, prior, state)
            method.learn(views, prior, state)
            each(k + 1)
    except RuleError as error:
        raise UserError(f"--budget cannot count the calls of {recipe.name}: {error}.") from error
    return prior.nfe
