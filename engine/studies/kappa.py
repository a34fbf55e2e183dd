"""How well five choices of noise solve eq. 8 of SDI (2405.15891): kappa = eps^(a_t x + sigma_t kappa; y, t).

    x       DDIM's predictions x0^(t) on its way to a sample, for which eq. 8 has a solution: DDIM's own eps^
    error   s~_t RMS(kappa - eps^(a_t x + sigma_t kappa)), in the units of x0: how far x stands from its target

The inversion goes to t itself, without the extra noise of SDI's algorithm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from engine.job import stream_of
from engine.recipes.base import Orbit
from files import read_json, write_json
from methods.base import Views
from methods.sdi import SDI
from methods.sdi_kappas import SDIKappa
from methods.target import target
from priors.base import Prior
from priors.sampling import ddim, falling_grid
from priors.text import make_text
from prompts import Prompt

CHOICES = {
    "Random, resampled": "random",
    "Random, fixed": "fixed",
    "Fixed-point iteration (10)": "fixed point",
    "SGD on eq. 8 (10)": "sgd",
    "DDIM inversion": "ddim",
}
FOLDERS = {label: f"{k}-{choice.replace(' ', '-')}" for k, (label, choice) in enumerate(CHOICES.items(), 1)}
SCALES = (-7.5, 0.0, 7.5)  # of the inversion
SIDES = 2  # views at once
TIMES = 8  # of the falling grid


def with_kappa(sdi: SDI, choice: str) -> SDI | SDIKappa:
    """The rule with one of CHOICES, and all else that both have."""
    return sdi if choice == "ddim" else SDIKappa(choice, sdi.scale, sdi.perp_neg, sdi.t_range, sdi.steps)


def measure(
    prior: Prior, sdi: SDI, prompt: str, seed: int, steps: int = 48, each: Callable[[], object] = lambda: None
) -> list[dict[str, Any]]:
    """Rows of choice, inversion_scale (None but for inversions), t and error: a mean over SIDES views. "DDIM's own" is
    the solution itself. `each` is called after each of TIMES timesteps."""
    text = make_text(prior, prompt)
    cameras = Orbit(views=SIDES).cameras().to(text.plain.device)
    rng = torch.Generator().manual_seed(stream_of(seed, prompt))
    x_T = torch.randn(SIDES, *prior.latent_shape, generator=rng).to(text.plain.device)
    still = replace(sdi, eta=0.0, tau=0.0)
    path = list(ddim(prior, text, cameras, x_T, falling_grid(prior, steps), still.scale))
    rows: list[dict[str, Any]] = []
    for now, x0, eps in path[:: steps // TIMES]:
        views, t = Views(x0, x0, text, cameras, 0.0, rng), torch.full((SIDES,), now)
        time = t.double() / len(prior.schedule)
        x0_hat, _ = target(views, prior, eps, t, still.scale, still.perp_neg)
        rows.append(_row("DDIM's own", None, now, (x0 - x0_hat).square().mean().sqrt().item()))
        for label, choice in CHOICES.items():
            for scale in SCALES if choice == "ddim" else (None,):
                rule = with_kappa(still if scale is None else replace(still, inversion_scale=scale), choice)
                rows.append(_row(label, scale, now, rule.pull(views, prior, time).log["eq8"]))
        each()
    return rows


def _row(choice: str, scale: float | None, t: int, error: float) -> dict[str, Any]:
    return {"choice": choice, "inversion_scale": scale, "t": t, "error": error}


def measure_missing(
    folder: Path,
    prior: Prior,
    checksum: str,
    sdi: SDI,
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
    console: Console,
) -> None:
    """FOLDER/eq8/<prompt>/<seed>.json, where they are not there yet from the same prior and random numbers; `sdi` is
    its rule there."""
    wanted = {folder / "eq8" / p.id / f"{seed}.json": (p.text, seed) for p in prompts for seed in seeds}
    made_of = {path: {"prior": checksum, "stream": stream_of(seed, text)} for path, (text, seed) in wanted.items()}
    missing = [path for path in wanted if not path.exists() or not made_of[path].items() <= read_json(path).items()]
    with torch.no_grad(), Progress(console=console, transient=True, disable=not missing) as bar:
        task = bar.add_task("error of eq. 8", total=len(missing) * TIMES)
        for path in missing:
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = measure(prior, sdi, *wanted[path], each=lambda: bar.advance(task))
            write_json(path, {**made_of[path], "rows": rows})
