"""Statistics, against closed forms and Monte-Carlo."""

import math

import numpy as np
import pytest

from eval.statistics import clustered_stderr, paired_difference, summarise


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


def test_the_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(3)
    cluster = np.repeat(np.arange(20), 5)
    covered = 0
    for _ in range(150):
        a = 1.0 + rng.normal(size=20).repeat(5) + rng.normal(size=100)
        d = paired_difference(a, np.zeros(100), cluster)
        covered += d.low < 1.0 < d.high
    assert 0.87 < covered / 150 < 0.99


def test_the_interval_is_a_function_of_the_data():
    a = np.random.default_rng(4).normal(size=40)
    cluster = np.repeat(np.arange(8), 5)
    assert paired_difference(a, -a, cluster) == paired_difference(a, -a, cluster)


def test_clusters_of_unequal_size_keep_every_value_equal():
    x, cluster = np.array([0.0, 0, 0, 4]), np.array(["a", "a", "a", "b"])
    assert summarise(x, cluster).mean == 1
    d = paired_difference(x, np.zeros(4), cluster)
    assert (d.mean, d.low, d.high) == (1.0, 0.0, 4.0)
