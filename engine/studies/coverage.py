"""Do intervals cover what they claim, and does a test err as often as it says? Simulated prompts, seeds and views.

    python -m engine.studies.coverage --out docs/statistics.md

Alphabet: G prompts, each with S seeds of V views; value = prompt + seed + view, the last two normal, prompts of several
shapes. For each, how often the 95 % interval of a mean holds the true one: Student's t over prompts, Hall's
transformation (what tables have) and the cluster bootstrap-t; how wide they are; and how often paired tests of two
equal methods, alone and as a family under Holm's correction, call something different.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy import ndarray
from numpy.random import Generator
from rich.progress import track

from files import write_text
from reports.markdown import pipes
from reports.uncertainty.statistics import holm, interval, paired_difference, pulls, reach
from say import Console, say

PROMPTS = (4, 12, 43)
SEEDS, VIEWS = 2, 5
SEED_SD, VIEW_SD = 0.3, 0.5  # of what prompts spread by
FAMILY = 5  # methods against one
RESAMPLES = 399
Draw = Callable[[Generator, tuple[int, ...]], ndarray]
SHAPES: dict[str, tuple[Draw, float, tuple[float, float]]] = {  # how prompts lie, their mean, and bounds
    "normal": (lambda rng, n: rng.normal(size=n), 0.0, (-np.inf, np.inf)),
    "heavy tails (t, 3)": (lambda rng, n: rng.standard_t(3, size=n), 0.0, (-np.inf, np.inf)),
    "skewed by 1 (gamma)": (lambda rng, n: (rng.gamma(4.0, size=n) - 4) / 2, 0.0, (-np.inf, np.inf)),
    "skewed by 2 (exponential)": (lambda rng, n: rng.exponential(size=n) - 1, 0.0, (-np.inf, np.inf)),
    "near its bound (beta 4, 1)": (lambda rng, n: rng.beta(4, 1, size=n), 0.8, (0.0, 1.0)),
    "between bounds (beta .5, .5)": (lambda rng, n: rng.beta(0.5, 0.5, size=n), 0.5, (0.0, 1.0)),
}


def sample(rng: Generator, draw: Draw, prompts: int, bounds: tuple[float, float]) -> tuple[ndarray, ndarray]:
    """Values (N,) and the prompt of each. What is bounded has views and seeds that stay within, and keep the mean: 0
    or 1 with the prompt's value as the odds."""
    centres = draw(rng, (prompts, 1, 1))
    if np.isfinite(bounds[0]):
        x = (rng.random((prompts, SEEDS, VIEWS)) < centres).astype(float)
    else:
        seeds = SEED_SD * rng.normal(size=(prompts, SEEDS, 1))
        x = centres + seeds + VIEW_SD * rng.normal(size=(prompts, SEEDS, VIEWS))
    return x.reshape(-1), np.repeat(np.arange(prompts), SEEDS * VIEWS)


def students(x: ndarray, cluster: ndarray, bounds: tuple[float, float], rng: Generator) -> tuple[float, float]:
    u, m = pulls(x, cluster), x.mean()
    wide = reach(len(u)) * u.std(ddof=1) / len(u) ** 0.5
    return max(m - wide, bounds[0]), min(m + wide, bounds[1])


def halls(x: ndarray, cluster: ndarray, bounds: tuple[float, float], rng: Generator) -> tuple[float, float]:
    return interval(x, cluster, bounds)


def bootstraps(x: ndarray, cluster: ndarray, bounds: tuple[float, float], rng: Generator) -> tuple[float, float]:
    """Prompts drawn anew, and the quantiles of their t (Efron, 1982)."""
    u, m = pulls(x, cluster), x.mean()
    again = u[rng.integers(0, len(u), (RESAMPLES, len(u)))]
    s, root = u.std(ddof=1), len(u) ** 0.5
    if not s > 0:
        return float("nan"), float("nan")
    t = again.mean(1) * root / np.maximum(again.std(1, ddof=1), 1e-9 * s)
    low, high = np.quantile(t, (0.025, 0.975))
    return max(m - high * s / root, bounds[0]), min(m - low * s / root, bounds[1])


WAYS = {"Student's t": students, "Hall's": halls, "bootstrap-t": bootstraps}


def covered(way: str, shape: str, prompts: int, runs: int, rng: Generator) -> tuple[float, float, float]:
    """How often the interval holds the true mean, in per cent of those that there are; its median width; and how often
    there is none, as all prompts say the same."""
    draw, truth, bounds = SHAPES[shape]
    ends = np.array([WAYS[way](*sample(rng, draw, prompts, bounds), bounds, rng) for _ in range(runs)])
    ends = ends[~np.isnan(ends).any(1) & (ends[:, 1] > ends[:, 0])]
    held = (ends[:, 0] <= truth) & (truth <= ends[:, 1])
    return 100 * held.mean(), float(np.median(ends[:, 1] - ends[:, 0])), 100 * (1 - len(ends) / runs)


def errors(shape: str, prompts: int, runs: int, rng: Generator) -> tuple[float, float, float]:
    """Of methods that are equal, each prompt's values drawn for each method: how often the interval of a difference
    holds 0, in per cent; how often one paired test is below .05; and how often any of FAMILY is, by Holm's."""
    draw, _, bounds = SHAPES[shape]
    held, alone, family = [], [], []
    for _ in range(runs):
        base, cluster = sample(rng, draw, prompts, bounds)
        found = [paired_difference(sample(rng, draw, prompts, bounds)[0], base, cluster) for _ in range(FAMILY)]
        held.append(not (found[0].low > 0 or found[0].high < 0))
        alone.append(found[0].p < 0.05)
        family.append(bool((holm([d.p for d in found]) < 0.05).any()))
    return tuple(100 * float(np.mean(x)) for x in (held, alone, family))  # type: ignore[return-value]


def page(runs: int, rng: Generator, console: Console) -> str:
    means, tests, inside = [], [], dict.fromkeys(WAYS, 0)
    rows = [(shape, prompts) for shape in SHAPES for prompts in PROMPTS]
    for shape, prompts in track(rows, "simulating", console=console, transient=True):
        cells = [covered(way, shape, prompts, runs if way != "bootstrap-t" else runs // 5, rng) for way in WAYS]
        none = f"{cells[1][2]:.1f}"
        inside = {way: inside[way] + (93 <= cell[0] <= 97) for way, cell in zip(WAYS, cells, strict=True)}
        means.append([shape, str(prompts), *(f"{c:.1f} ({w:.2f})" for c, w, _ in cells), none])
        tests.append([shape, str(prompts), *(f"{x:.1f}" for x in errors(shape, prompts, runs // 5, rng))])
    return TEXT.format(
        means="\n".join(pipes(["Prompts lie", "Prompts", *WAYS, "None (%)"], means)),
        tests="\n".join(
            pipes(["Prompts lie", "Prompts", "Interval holds 0 (%)", "p < .05 (%)", "Any of 5 (%)"], tests)
        ),
        runs=runs,
        cells=len(means),
        inside=", ".join(f"{way} {n}" for way, n in inside.items()),
        fewer=runs // 5,
        seeds=SEEDS,
        views=VIEWS,
    )


TEXT = """# How sure the numbers are

Made by `uv run python -m engine.studies.coverage --out docs/statistics.md`: {runs} simulated runs a cell
({fewer} for the bootstrap and the tests), each of so many prompts with {seeds} seeds of {views} views.

## Intervals of a mean

How often the 95 % interval holds the true mean, in per cent, and in brackets its median width. Tables have Hall's
transformation (Hall, 1992), which takes the skewness of prompts out of Student's t and is the same where there is none.
The bootstrap covers as well at twice the width. None: all prompts say the same, and there is no interval.

{means}

Of {cells} cells, within 93 to 97 %: {inside}. Four prompts show little of a long tail, by any way that is not twice as
wide: where prompts may be skewed by 2, read intervals of four as of less than 95 %.

## Differences of two methods

Paired by prompt, seed and view, Student's t over prompts. The methods are equal: the interval should hold 0 95 times in
100, a test err 5 times, and a family of five under Holm's correction err anywhere at most 5 times. Where prompts spread
by more than normal tails do, or values are few, the test errs less often than it may.

{tests}

## Prompts are independent

All this takes prompts as independent, and so they are: a job's random numbers start from its seed and its prompt. In
the official code they start from the seed alone, and all prompts draw the same times, cameras and noise. Tried that
way in the known world (two prompts, 20 seeds, 200 steps), the prompts' scores moved together with the seed: by SDS,
which draws its times, their correlation was .6 in CLIP score, .5 in quality and in ImageReward, .7 in sharpness, .1 in
PSNR; by SDI, whose times fall by plan, .1 in CLIP score and .0 in PSNR. An interval over the prompts of one seed then
holds of that seed.

## What is where

`table.csv` has each mean with `std` (over prompts x views, as the paper prints it), `stderr`, `low` and `high`, and, of
several seeds, `seed_sd`, how far a prompt's seeds lie apart, and `seed_stderr`, the error of a mean over these very
prompts; `differences.csv` the paired differences with intervals, `p`, `p_holm` (the methods' differences of a metric
are one family), and `detectable`, the least difference that so many prompts show four times in five. `table RUN
--against METHOD` prints them, `--see METRIC=D` says how many prompts a difference D takes, and `table RUN --judges`
whether judges order jobs as the truth does. An interval never goes beyond the bounds of its metric; under three prompts
there is none.
"""


def main() -> None:
    parser = argparse.ArgumentParser("python -m engine.studies.coverage", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--runs", type=int, default=4000, metavar="N", help="simulated runs a cell; default: 4000")
    parser.add_argument("--out", type=Path, metavar="FILE", help="a page in Markdown; default: to the terminal")
    options, console = parser.parse_args(), Console()
    text = page(options.runs, np.random.default_rng(0), Console(stderr=True))
    say(console, write_text(options.out, text) if options.out else text)


if __name__ == "__main__":
    main()
