"""Means and how far to trust them, where views of one object are no independent samples: prompts are.

Alphabet: x (N,) values; cluster (N,) the prompt of each; G clusters; m the mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped
from numpy import ndarray

DRAWS = 10_000  # of the bootstrap


@dataclass(frozen=True)
class Summary:
    """Of n values: `std` over prompts x views, as the paper prints it; `stderr`, the mean's, clustered by prompt."""

    mean: float
    std: float
    stderr: float
    n: int


@dataclass(frozen=True)
class Difference:
    """Mean of a - b over what both methods have, its standard error, and an interval at `confidence`."""

    mean: float
    stderr: float
    low: float
    high: float
    confidence: float
    n: int
    clusters: int


def summarise(x: Float[ndarray, " N"], cluster: Shaped[ndarray, " N"]) -> Summary:
    """The summary of the values that are not NaN; NaN throughout where there are none."""
    x, cluster = np.asarray(x, float), np.asarray(cluster)
    here = ~np.isnan(x)
    x, cluster = x[here], cluster[here]
    if not len(x):
        return Summary(np.nan, np.nan, np.nan, 0)
    std = float(x.std(ddof=1)) if len(x) > 1 else np.nan
    return Summary(float(x.mean()), std, clustered_stderr(x, cluster), len(x))


def clustered_stderr(x: Float[ndarray, " N"], cluster: Shaped[ndarray, " N"]) -> float:
    """sqrt(G/(G-1) sum_g (sum_{i in g} (x_i - m))^2) / N: the cluster-robust error of a mean (Liang & Zeger, 1986).

    With clusters of one value it is std / sqrt(N); NaN for a single cluster, which tells nothing of others."""
    sums, _ = _by_cluster(np.asarray(x) - np.mean(x), cluster)
    g = len(sums)
    return float(np.sqrt(g / (g - 1) * (sums**2).sum()) / len(x)) if g > 1 else float("nan")


def paired_difference(
    a: Float[ndarray, " N"],
    b: Float[ndarray, " N"],
    cluster: Shaped[ndarray, " N"],
    confidence: float = 0.95,
    seed: int = 0,
) -> Difference:
    """How much a exceeds b on the same N (prompt, seed, view)s, with a cluster bootstrap's percentile interval.

    Pairing removes what is hard about a prompt; resampling whole prompts keeps their views together. Pairs with a NaN
    are left out. With few prompts (under ten) such intervals are somewhat too short."""
    d = np.asarray(a, float) - np.asarray(b, float)
    here = ~np.isnan(d)
    d, cluster = d[here], np.asarray(cluster)[here]
    if not len(d):
        return Difference(np.nan, np.nan, np.nan, np.nan, confidence, 0, 0)
    sums, sizes = _by_cluster(d, cluster)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=DRAWS)
    means = (draws @ sums) / (draws @ sizes)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2]) if len(sums) > 1 else (np.nan, np.nan)
    stderr = clustered_stderr(d, cluster)
    return Difference(float(d.mean()), stderr, float(low), float(high), confidence, len(d), len(sums))


def _by_cluster(x: Float[ndarray, " N"], cluster: Shaped[ndarray, " N"]) -> tuple[ndarray, ndarray]:
    """The sum and the size of each cluster."""
    _, number = np.unique(cluster, return_inverse=True)
    return np.bincount(number, weights=x), np.bincount(number)
