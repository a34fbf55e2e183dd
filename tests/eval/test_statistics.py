"""Statistics, against closed forms and Monte-Carlo."""

import math

import numpy as np
import pytest

from eval.statistics import clustered_stderr, paired_difference, reach, summarise


def test_clusters_of_one_give_the_ordinary_error():
    x = np.random.default_rng(0).normal(size=30)
    assert clustered_stderr(x, np.arange(30)) == pytest.approx(x.std(ddof=1) / math.sqrt(30))


def test_copies_in_a_cluster_tell_nothing_new():
    x = np.random.default_rng(0).normal(size=12)
    views = summarise(np.repeat(x, 50), np.repeat(np.arange(12), 50))
    assert views.stderr == pytest.approx(x.std(ddof=1) / math.sqrt(12))
    assert views.std == pytest.approx(np.repeat(x, 50).std(ddof=1))
    assert views.n == 600


def test_the_error_is_the_spread_of_the_mean():
    rng = np.random.default_rng(1)
    cluster = np.repeat(np.arange(12), 10)
    x = rng.normal(size=(3000, 12)).repeat(10, axis=1) + rng.normal(size=(3000, 120))
    errors = [clustered_stderr(row, cluster) for row in x[:600]]
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(x.mean(1).std(), rel=0.06)
    assert x.mean(1).std() == pytest.approx(math.sqrt(1 / 12 + 1 / 120), rel=0.06)


def test_one_cluster_has_no_error_and_no_value_no_mean():
    assert math.isnan(clustered_stderr(np.arange(3.0), np.zeros(3)))
    empty = summarise(np.array([np.nan]), np.zeros(1))
    assert empty.n == 0
    assert math.isnan(empty.mean)


def test_nan_is_left_out():
    x = np.array([1.0, np.nan, 3.0, 5.0])
    assert summarise(x, np.array([0, 0, 1, 2])) == summarise(x[[0, 2, 3]], np.array([0, 1, 2]))
    assert paired_difference(x, np.zeros(4), np.array([0, 0, 1, 2])).n == 3


def test_pairing_removes_what_prompts_share():
    rng = np.random.default_rng(2)
    cluster = np.repeat(np.arange(12), 20)
    hard = 5 * rng.normal(size=12).repeat(20)
    a, b = hard + 0.3 + 0.1 * rng.normal(size=240), hard + 0.1 * rng.normal(size=240)
    d = paired_difference(a, b, cluster)
    assert d.mean == pytest.approx(0.3, abs=0.05)
    assert d.low > 0.2
    assert d.high < 0.4
    assert d.stderr < 0.05 < clustered_stderr(a, cluster)
    assert (d.n, d.clusters) == (240, 12)


@pytest.mark.parametrize(
    ("prompts", "effects"),
    [
        (4, lambda rng, shape: rng.normal(size=shape)),
        (4, lambda rng, shape: rng.gamma(4.0, size=shape) - 4.0),  # skewed by 1
        (4, lambda rng, shape: rng.exponential(size=shape) - rng.exponential(size=shape)),  # of two skewed methods
        (3, lambda rng, shape: rng.normal(size=shape)),
        (20, lambda rng, shape: rng.exponential(size=shape) - rng.exponential(size=shape)),
    ],
    ids=["normal", "skewed", "difference of skewed", "three", "twenty"],
)
def test_the_interval_covers_as_often_as_it_says(prompts, effects):
    rng, covered, runs, views = np.random.default_rng(3), 0, 4000, 5
    cluster = np.repeat(np.arange(prompts), views)
    for hard, noise in zip(effects(rng, (runs, prompts)), rng.normal(size=(runs, len(cluster))), strict=True):
        d = paired_difference(1.0 + hard.repeat(views) + noise, np.zeros(len(cluster)), cluster)
        covered += d.low < 1.0 < d.high
    assert 0.93 <= covered / runs < 0.985


def test_students_quantiles_are_those_of_the_tables():
    found = {clusters: reach(clusters) for clusters in (3, 4, 5, 11, 31, 1001)}
    assert found == pytest.approx({3: 4.3027, 4: 3.1824, 5: 2.7764, 11: 2.2281, 31: 2.0423, 1001: 1.9623}, abs=1e-4)
    assert reach(4, 0.99) == pytest.approx(5.8409, abs=1e-4)


@pytest.mark.parametrize("prompts", [1, 2])
def test_few_prompts_have_no_interval(prompts):
    x, cluster = np.arange(10.0), np.arange(10) % prompts
    d = paired_difference(x, np.zeros(10), cluster)
    assert d.mean == 4.5
    assert math.isnan(d.low)
    assert math.isnan(d.high)
    assert math.isnan(reach(prompts))


def test_the_interval_is_a_function_of_the_data():
    a = np.random.default_rng(4).normal(size=40)
    cluster = np.repeat(np.arange(8), 5)
    assert paired_difference(a, -a, cluster) == paired_difference(a, -a, cluster)


def test_clusters_of_unequal_size_keep_every_value_equal():
    x, cluster = np.array([0.0, 0, 0, 4]), np.array(["a", "a", "a", "b"])
    assert summarise(x, cluster).mean == 1
    d = paired_difference(x, np.zeros(4), cluster)
    assert (d.mean, d.clusters) == (1.0, 2)
