"""Statistics, against closed forms and Monte-Carlo."""

import math

import numpy as np
import pytest

from engine.studies import coverage
from reports.uncertainty.statistics import (
    clustered_stderr,
    detectable,
    holm,
    interval,
    levels,
    nested,
    paired_difference,
    power,
    prompts_needed,
    reach,
    summarise,
)


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


@pytest.mark.parametrize("prompts", coverage.PROMPTS)
def test_the_interval_of_a_mean_covers_as_often_as_it_says(prompts):
    rng = np.random.default_rng(5)
    for shape in ("normal", "skewed by 1 (gamma)"):
        held, _, none = coverage.covered("Hall's", shape, prompts, 1500, rng)
        assert 93 <= held <= 97
        assert none == 0


@pytest.mark.parametrize("prompts", coverage.PROMPTS)
def test_a_test_errs_as_often_as_it_says_alone_and_in_a_family(prompts):
    held, alone, family = coverage.errors("normal", prompts, 500, np.random.default_rng(6))
    assert held == pytest.approx(100 - alone)
    assert 2.5 <= alone <= 8  # 5 +- 3 standard errors
    assert family <= 8


def test_halls_interval_is_students_where_prompts_are_symmetric_and_leans_to_the_tail_where_not():
    cluster = np.arange(4)
    even = np.array([-3.0, -1, 1, 3])
    assert interval(even, cluster) == pytest.approx((-reach(4) * clustered_stderr(even, cluster),
                                                     reach(4) * clustered_stderr(even, cluster)))  # fmt: skip
    low, high = interval(np.array([0.0, 0, 1, 9]), cluster)
    assert high - 2.5 > 2.5 - low


def test_intervals_stay_within_the_bounds_of_what_is_measured():
    x, cluster = np.array([100.0, 100, 100, 60]), np.arange(4)
    assert summarise(x, cluster).high > 100
    bounded = summarise(x, cluster, (0.0, 100.0))
    assert bounded.high == 100
    assert 0 <= bounded.low < 90
    d = paired_difference(x, np.zeros(4), cluster, bounds=(0.0, 100.0))
    assert d.high == 100


def test_prompts_that_say_the_same_tell_nothing_of_others():
    s = summarise(np.full(20, 100.0), np.repeat(np.arange(4), 5), (0.0, 100.0))
    assert (s.mean, s.stderr) == (100, 0)
    assert math.isnan(s.low)
    assert math.isnan(paired_difference(np.ones(4), np.ones(4), np.arange(4)).p)


def test_holm_and_power_are_those_of_statsmodels():
    from statsmodels.stats.multitest import multipletests
    from statsmodels.stats.power import TTestPower

    p = np.array([0.01, 0.04, 0.03, 0.005, 0.9])
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert holm([0.02, np.nan, 0.04])[[0, 2]] == pytest.approx([0.04, 0.04])
    assert math.isnan(holm([0.02, np.nan])[1])
    assert len(holm([])) == 0
    for d, n in ((0.5, 10), (0.2, 43), (1.5, 4)):
        assert power(d, 1.0, n) == pytest.approx(TTestPower().power(d, n, 0.05), abs=1e-6)


def test_prompts_needed_are_the_fewest_that_see_it():
    n = prompts_needed(1.0, 2.0)
    assert power(1.0, 2.0, n) >= 0.8 > power(1.0, 2.0, n - 1)
    assert n == 34  # Cohen's table for d = .5
    assert power(detectable(2.0, n), 2.0, n) == pytest.approx(0.8)
    assert prompts_needed(1.0, float("nan")) is None
    assert prompts_needed(1e-9, 1.0) is None
    assert math.isnan(detectable(1.0, 2))


def test_levels_of_a_column_without_any_value_are_unknown():
    """Janus, where no object has a front."""
    found = levels(np.full(6, np.nan), nested(np.repeat([0, 1], 3), np.tile([0, 1, 2], 2)))
    assert np.isnan([found.prompt, found.seed, found.view, found.seed_stderr]).all()


def test_levels_part_prompts_from_seeds_from_views():
    rng = np.random.default_rng(7)
    x = 3 * rng.normal(size=(60, 1, 1)) + 2 * rng.normal(size=(60, 4, 1)) + rng.normal(size=(60, 4, 6))
    prompt, seed = (
        np.broadcast_to(a, x.shape).reshape(-1) for a in (np.arange(60)[:, None, None], np.arange(4)[:, None])
    )
    found = levels(x.reshape(-1), nested(prompt, seed))
    assert (found.prompt, found.seed, found.view) == pytest.approx((3, 2, 1), rel=0.15)
    assert found.seed_stderr == pytest.approx(math.sqrt((4 + 1 / 6) / 240), rel=0.1)
    alone = levels(x[:, 0].reshape(-1), nested(prompt.reshape(60, 4, 6)[:, 0].reshape(-1), np.zeros(360)))
    assert math.isnan(alone.seed)
    assert alone.view == pytest.approx(1, rel=0.1)
