"""Means and how far to trust them, where views of one object are no independent samples: prompts are.

Alphabet: x (N,) values; cluster (N,) the prompt of each; G clusters; m the mean; u_g = G/N sum_{i in g} (x_i - m), how
a cluster pulls it (of clusters of one size, its mean less m); s = sd(u) / sqrt(G) the mean's error; q = t(G - 1)'s
quantile. Two intervals, chosen by simulation (`python -m engine.studies.coverage`; docs/statistics.md):

    of a mean         m - s h(q) ... m - s h(-q): Hall's transformation (1992), which takes the skewness of prompts out
    of a difference   m ± q s: what two methods share is gone, and what is left is hardly skewed

Neither goes beyond the bounds of what is measured. There is none of fewer than FEWEST prompts, nor where all prompts
say the same: those tell nothing of others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped
from numpy import ndarray
from scipy.optimize import brentq
from scipy.special import nctdtr, stdtr, stdtrit

FEWEST = 3  # prompts of an interval
UNBOUNDED = (-np.inf, np.inf)
MOST_PROMPTS = 100_000  # that anyone could be told to run


@dataclass(frozen=True)
class Summary:
    """Of n values: `std` over prompts x views, as the paper prints it; `stderr` the mean's, of `clusters` prompts;
    `low` and `high` its 95 % interval."""

    mean: float
    std: float
    stderr: float
    low: float
    high: float
    n: int
    clusters: int


@dataclass(frozen=True)
class Difference:
    """Mean of a - b over what both methods have, its standard error, an interval at `confidence`, the two-sided `p` of
    no difference (Student's t over prompts), and the spread `sd` of prompts' differences."""

    mean: float
    stderr: float
    low: float
    high: float
    p: float
    sd: float
    confidence: float
    n: int
    clusters: int


@dataclass(frozen=True)
class Levels:
    """Where values differ: standard deviations between prompts, between the seeds of a prompt, and between the views of
    a seed. `seed_stderr`: the error of the mean over these very prompts, were they done again with other seeds. NaN
    where a level has one member alone."""

    prompt: float
    seed: float
    view: float
    seed_stderr: float


class Nest(NamedTuple):
    """Which of N values belong together: `job` (N,) the number of each one's prompt and seed, prompt by prompt, as if
    each prompt had `seeds` of them."""

    job: Int[ndarray, " N"]
    seeds: int


def summarise(
    x: Float[ndarray, " N"], cluster: Shaped[ndarray, " N"], bounds: tuple[float, float] = UNBOUNDED
) -> Summary:
    """The summary of the values that are not NaN; NaN throughout where there are none. `bounds` are those that a value
    may have."""
    x, cluster = _known(x, cluster)
    if not len(x):
        return Summary(np.nan, np.nan, np.nan, np.nan, np.nan, 0, 0)
    std = float(x.std(ddof=1)) if len(x) > 1 else np.nan
    u, m = pulls(x, cluster), float(x.mean())
    return Summary(m, std, _stderr(u), *_interval(u, m, bounds), len(x), len(u))


def clustered_stderr(x: Float[ndarray, " N"], cluster: Shaped[ndarray, " N"]) -> float:
    """sqrt(G/(G-1) sum_g (sum_{i in g} (x_i - m))^2) / N: the cluster-robust error of a mean (Liang & Zeger, 1986).

    With clusters of one value it is std / sqrt(N); NaN for a single cluster, which tells nothing of others."""
    return _stderr(pulls(x, cluster))


def _stderr(u: Float[ndarray, " G"]) -> float:
    return float(u.std(ddof=1) / np.sqrt(len(u))) if len(u) > 1 else float("nan")


def pulls(x: Float[ndarray, " N"], cluster: Shaped[ndarray, " N"]) -> Float[ndarray, " G"]:
    """u: how each cluster pulls the mean; they sum to 0."""
    x = np.asarray(x, float)
    _, number = _numbered(cluster)
    sums = np.bincount(number, weights=x - x.mean())
    return sums * len(sums) / len(x)


def interval(
    x: Float[ndarray, " N"],
    cluster: Shaped[ndarray, " N"],
    bounds: tuple[float, float] = UNBOUNDED,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Of a mean, by Hall's transformation, within the bounds; (NaN, NaN) where there is none."""
    return _interval(pulls(x, cluster), float(np.mean(x)), bounds, confidence)


def _interval(
    u: Float[ndarray, " G"], m: float, bounds: tuple[float, float], confidence: float = 0.95
) -> tuple[float, float]:
    s, q = u.std(ddof=1) / np.sqrt(len(u)) if len(u) > 1 else 0.0, reach(len(u), confidence)
    if not s > 1e-12 * max(abs(m), 1e-3) or np.isnan(q):
        return float("nan"), float("nan")
    skewness = (u**3).mean() / u.std(ddof=1) ** 3
    low, high = (m - s * _hall(end, skewness, len(u)) for end in (q, -q))
    return float(np.clip(low, *bounds)), float(np.clip(high, *bounds))


def _hall(y: float, skewness: float, g: int) -> float:
    """h: the inverse of T + a T^2 / sqrt(G) + a^2 T^3 / (3 G) + a / (2 sqrt(G)) with a = skewness / 3 (Hall, 1992, "On
    the removal of skewness by transformation")."""
    a, root = skewness / 3, np.sqrt(g)
    if abs(a) < 1e-6:
        return y
    return float(root * (np.cbrt(1 + 3 * a * (y / root - a / (2 * g))) - 1) / a)


def reach(clusters: int, confidence: float = 0.95) -> float:
    """Student's quantile with `clusters` - 1 degrees of freedom; NaN where those are too few for an interval."""
    return float(stdtrit(clusters - 1, (1 + confidence) / 2)) if clusters >= FEWEST else float("nan")


def paired_difference(
    a: Float[ndarray, " N"],
    b: Float[ndarray, " N"],
    cluster: Shaped[ndarray, " N"],
    confidence: float = 0.95,
    bounds: tuple[float, float] = UNBOUNDED,
) -> Difference:
    """How much a exceeds b on the same N (prompt, seed, view)s, clustered by prompt; `bounds` of a and b themselves.

    Pairing removes what is hard about a prompt; clustering keeps its views together. Pairs with a NaN are left out."""
    x, cluster = _known(np.asarray(a, float) - np.asarray(b, float), cluster)
    if not len(x):
        return Difference(np.nan, np.nan, np.nan, np.nan, np.nan, np.nan, confidence, 0, 0)
    u, m = pulls(x, cluster), float(x.mean())
    s, q = _stderr(u), reach(len(u), confidence)
    low = high = p = float("nan")
    if s > 0 and not np.isnan(q):
        widest = bounds[1] - bounds[0]
        low, high = float(max(m - q * s, -widest)), float(min(m + q * s, widest))
        p = float(2 * stdtr(len(u) - 1, -abs(m) / s))
    sd = float(u.std(ddof=1)) if len(u) > 1 else float("nan")
    return Difference(m, s, low, high, p, sd, confidence, len(x), len(u))


def holm(p: Sequence[float] | ndarray) -> Float[ndarray, " M"]:
    """P-values of a family of M tests, so that what is called different at level alpha is wrongly so, anywhere in it,
    with at most alpha (Holm, 1979). NaN, of what was not tested, stays, and does not count."""
    p = np.asarray(p, float)
    adjusted, order = np.full(len(p), np.nan), np.argsort(p)[: int((~np.isnan(p)).sum())]
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)).clip(max=1)
    return adjusted


def power(d: float, sd: float, prompts: int, level: float = 0.05) -> float:
    """How often a paired t test at a level, two-sided, sees a difference d whose prompts spread by sd."""
    edge = stdtrit(prompts - 1, 1 - level / 2)
    away = abs(d) / sd * np.sqrt(prompts)
    return float(1 - nctdtr(prompts - 1, away, edge) + nctdtr(prompts - 1, away, -edge))


def prompts_needed(d: float, sd: float, wanted: float = 0.8, level: float = 0.05) -> int | None:
    """The fewest prompts of which a paired t test sees a difference d with the power `wanted`; None where that is more
    than anyone could run, or nothing is known of the spread."""
    if not (np.isfinite(sd) and d):
        return None
    few, many = FEWEST - 1, FEWEST
    while not _sees(d, sd, many, wanted, level):
        few, many = many, many * 2
        if few > MOST_PROMPTS:
            return None
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if _sees(d, sd, middle, wanted, level) else (middle, many)
    return many


def detectable(sd: float, prompts: int, wanted: float = 0.8, level: float = 0.05) -> float:
    """The least difference that a paired t test of so many prompts, which spread by sd, sees with the power `wanted`;
    NaN where there are too few for a test."""
    if prompts < FEWEST or not sd > 0:
        return float("nan")
    return sd * _least(prompts, wanted, level)


@cache  # of all metrics and methods of a run the same
def _least(prompts: int, wanted: float, level: float) -> float:
    """What is detectable of prompts that spread by 1."""
    most = 1.0
    while power(most, 1.0, prompts, level) < wanted:
        most *= 2
    return float(brentq(lambda d: power(d, 1.0, prompts, level) - wanted, 0.0, most))


def _sees(d: float, sd: float, prompts: int, wanted: float, level: float) -> bool:
    return sd == 0 or power(d, sd, prompts, level) >= wanted


def nested(prompt: Shaped[ndarray, " N"], seed: Shaped[ndarray, " N"]) -> Nest:
    """Whose job each value is, by the names of its prompt and seed: once for all columns of the same rows."""
    (_, of_prompt), (seeds, of_seed) = (_texts(names) for names in (prompt, seed))
    return Nest(of_prompt * len(seeds) + of_seed, len(seeds))


def levels(x: Float[ndarray, " N"], nest: Nest) -> Levels:
    """How far prompts, seeds and views spread: the nested analysis of variance by its moments, of seeds of equal
    numbers of views where they are so, nearly where not. A level that spreads less than the one within explains has 0.
    NaN where nothing is known, as of Janus where no object has a front."""
    x, number = _known(x, nest.job)
    if not len(x):
        return Levels(*[float("nan")] * 4)
    jobs, job = _numbered(number)
    n = np.bincount(job)
    means = np.bincount(job, weights=x) / n
    view = _spread((x - means[job]) ** 2, len(x) - len(n))
    prompts, of = _numbered(jobs // nest.seeds)
    seeds = np.bincount(of)
    centres = np.bincount(of, weights=means) / seeds
    within = _spread((means - centres[of]) ** 2, len(means) - len(prompts))  # of a prompt's seeds, as they were seen
    seen = _spread((centres - centres.mean()) ** 2, len(prompts) - 1)
    seed_var = max(within - view / n.mean(), 0.0) if not np.isnan(view) else within
    prompt_var = max(seen - within / seeds.mean(), 0.0) if not np.isnan(within) else seen
    again = float(np.sqrt(within * (1 / seeds).sum())) / len(prompts)
    return Levels(float(np.sqrt(prompt_var)), float(np.sqrt(seed_var)), float(np.sqrt(view)), again)


def _texts(names: Shaped[ndarray, " N"]) -> tuple[ndarray, ndarray]:
    """The names in the order of their texts, and of each its number among them: only those that differ are sorted."""
    number, found = pd.factorize(np.asarray(names))
    texts, rank = np.unique(np.asarray(found, str), return_inverse=True)
    return texts, rank[number]


def _numbered(names: Shaped[ndarray, " N"]) -> tuple[ndarray, ndarray]:
    """Those that differ, in order, and of each name its number among them: np.unique, but small numbers are counted, in
    a tenth of the time that sorting them takes."""
    names = np.asarray(names)
    if names.dtype.kind not in "iu" or not len(names) or names.min() < 0 or names.max() > 4 * len(names):
        return np.unique(names, return_inverse=True)
    here = np.bincount(names) > 0
    return np.flatnonzero(here), (np.cumsum(here) - 1)[names]


def _spread(squares: ndarray, freedom: int) -> float:
    return float(squares.sum() / freedom) if freedom > 0 else float("nan")


def _known(x: Float[ndarray, " N"], cluster: Shaped[ndarray, " N"]) -> tuple[ndarray, ndarray]:
    x, cluster = np.asarray(x, float), np.asarray(cluster)
    here = ~np.isnan(x)
    return x[here], cluster[here]
