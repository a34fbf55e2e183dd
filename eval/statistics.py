"""Means and how far to trust them, where views of one object are no independent samples: prompts are.

Alphabet: x (N,) values; cluster (N,) the prompt of each; G clusters; m the mean.

An interval is m ± t(G - 1) stderr: Student's quantile knows that few prompts tell little of their own spread, the
normal's does not. Over four prompts it covers .95 where prompts are normal, .97 where they are differences of two
methods that are skewed alike, and .93 where they are skewed themselves by 1 (1.96 errors: .86, .88, .83); but .88 where
they are exponential: long tails are not seen in four numbers. Of fewer than FEWEST prompts there is none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped
from numpy import ndarray
from scipy.special import stdtrit

FEWEST = 3  # prompts of an interval


@dataclass(frozen=True)
class Summary:
    """Of n values: `std` over prompts x views, as the paper prints it; `stderr` the mean's, of `clusters` prompts."""

    mean: float
    std: float
    stderr: float
    n: int
    clusters: int


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
        return Summary(np.nan, np.nan, np.nan, 0, 0)
    std = float(x.std(ddof=1)) if len(x) > 1 else np.nan
    return Summary(float(x.mean()), std, clustered_stderr(x, cluster), len(x), len(np.unique(cluster)))


def clustered_stderr(x: Float[ndarray, " N"], cluster: Shaped[ndarray, " N"]) -> float:
    """sqrt(G/(G-1) sum_g (sum_{i in g} (x_i - m))^2) / N: the cluster-robust error of a mean (Liang & Zeger, 1986).

    With clusters of one value it is std / sqrt(N); NaN for a single cluster, which tells nothing of others."""
    sums, _ = _by_cluster(np.asarray(x) - np.mean(x), cluster)
    g = len(sums)
    return float(np.sqrt(g / (g - 1) * (sums**2).sum()) / len(x)) if g > 1 else float("nan")


def reach(clusters: int, confidence: float = 0.95) -> float:
    """How many standard errors an interval reaches to either side, with `clusters` - 1 degrees of freedom; NaN where
    those are too few for one."""
    return float(stdtrit(clusters - 1, (1 + confidence) / 2)) if clusters >= FEWEST else float("nan")


def paired_difference(
    a: Float[ndarray, " N"], b: Float[ndarray, " N"], cluster: Shaped[ndarray, " N"], confidence: float = 0.95
) -> Difference:
    """How much a exceeds b on the same N (prompt, seed, view)s, with an interval clustered by prompt.

    Pairing removes what is hard about a prompt; clustering keeps its views together. Pairs with a NaN are left out."""
    s = summarise(np.asarray(a, float) - np.asarray(b, float), cluster)
    wide = reach(s.clusters, confidence) * s.stderr
    return Difference(s.mean, s.stderr, s.mean - wide, s.mean + wide, confidence, s.n, s.clusters)


def _by_cluster(x: Float[ndarray, " N"], cluster: Shaped[ndarray, " N"]) -> tuple[ndarray, ndarray]:
    """The sum and the size of each cluster."""
    _, number = np.unique(cluster, return_inverse=True)
    return np.bincount(number, weights=x), np.bincount(number)
