"""Views that are of one object, and such that are not: the warp error tells them apart, and asks for no truth."""

from __future__ import annotations

import math
from functools import cache

import pandas as pd
import pytest
import torch

from eval.consistency.warp_error import SIDE, WARP_ERROR, warp_error
from eval.metric import Seen
from eval.score import Scorer, score_job
from eval.truth import depths, over
from eval.views import Depths, Pictures
from scene.background import GREY
from scene.cameras import orbit, rays
from tests.reports.synthetic import WORLD, ball, write_job
from world import truth_views

V = 24  # 15 degrees apart
TOYS = ("A plush dragon toy", "A ripe strawberry", "A blue tulip")


@cache
def seen(toy, views=V, size=64):
    render = truth_views(toy, orbit(views), size)
    return over(render.rgb, render.opacity, GREY), depths(render.depth, render.opacity)


def mean(rgb, d, cameras=None):
    return float(warp_error(rgb, d, cameras or orbit(len(rgb))).nanmean())


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def card(d):
    """The depth of a card through the origin that always faces the camera, where the views are solid."""
    cameras = orbit(len(d))
    _, along = rays(cameras, *d.shape[-2:])
    ahead = -torch.einsum("bij,bhwi->bhwj", cameras.c2w[:, :3, :3], along)[..., 2]
    return torch.where(d.isfinite(), (2.0 / ahead)[:, None], torch.inf)


def flickers(rgb, d, by):
    solid = d.isfinite()
    return (rgb + by * noise(len(rgb), 3, 1, 1) * solid).clamp(0, 1), d


def is_bulged(rgb, d):
    return rgb, 2 + 1.5 * (d - 2)


def stands_too_far(rgb, d):
    return rgb, d + 0.1


def turns_along(rgb, d):
    """The front's picture on a card."""
    front = d[:1].expand_as(d)
    return rgb[:1].expand_as(rgb), card(front)


def has_its_front_on_all_sides(rgb, d):
    """Its front in relief, for every camera again."""
    return rgb[:1].expand_as(rgb), d[:1].expand_as(d)


def is_painted_on_a_card(rgb, d):
    """True colours, and a depth that is flat."""
    return rgb, card(d)


@pytest.mark.parametrize("toy", TOYS)
def test_the_truth_has_the_least(toy):
    true = mean(*seen(toy))
    assert true < 2
    for broken in (is_bulged, stands_too_far, turns_along, has_its_front_on_all_sides, is_painted_on_a_card):
        assert mean(*broken(*seen(toy))) > 1.5 * true, broken.__name__
    for by in (0.02, 0.05):
        assert mean(*flickers(*seen(toy), by)) > 1.5 * true


@pytest.mark.parametrize("toy", TOYS)
def test_more_of_a_failure_is_more_of_an_error(toy):
    rgb, d = seen(toy)
    flicker = [mean(*flickers(rgb, d, by)) for by in (0, 0.02, 0.05, 0.1, 0.2)]
    bulge = [mean(rgb, 2 + by * (d - 2)) for by in (1, 1.2, 1.5, 2)]
    for errors in (flicker, bulge):
        assert errors == sorted(set(errors))
    assert mean(*has_its_front_on_all_sides(rgb, d)) > mean(*turns_along(rgb, d))  # what is in relief turns more


def test_by_hand_a_ball_of_one_colour_has_none_and_its_flicker_is_the_error():
    """Of a matt ball all is known: it hides nothing of itself that both cameras see."""
    origin, along = rays(orbit(V), 64, 64)
    middle = -(origin * along).sum(-1)
    away = (origin * origin).sum(-1) - middle**2
    solid = away < 0.4**2
    d = torch.where(solid, middle - (0.16 - away).clamp(min=0).sqrt(), torch.inf)[:, None]
    shade = torch.full((V, 3, 64, 64), 0.5)  # on a background of its own colour: no rim
    assert mean(shade, d) == pytest.approx(0, abs=1e-4)
    every_other = shade + 0.1 * (torch.arange(V) % 2).view(V, 1, 1, 1)
    assert mean(every_other, d) == pytest.approx(10, abs=1e-3)
    one = shade.clone()
    one[:, 0] += 0.3 * (torch.arange(V) % 2).view(V, 1, 1)  # of one channel
    assert mean(one, d) == pytest.approx(10, abs=1e-3)


def test_what_is_hidden_is_left_out_and_what_is_seen_through_is_not():
    """A wall behind a stick is hidden by it, whatever stands there; a stick that the neighbour lacks is an error."""
    toy = "A plush dragon toy"
    rgb, d = seen(toy)
    near = d.clone()
    near[::2] = 0.5  # every other camera looks at a screen before its lens
    others = rgb.clone()
    others[::2] = 1 - rgb[::2]
    assert warp_error(others, near, orbit(V))[1::2].isnan().all()  # its neighbours see nothing of it
    gone = torch.full_like(d, math.inf)
    gone[0] = d[0]
    white = torch.ones_like(rgb)
    white[0] = rgb[0]
    errors = warp_error(white, gone, orbit(V))
    solid = d[0, 0].isfinite()
    assert errors[0] == pytest.approx(100 * float((1 - rgb[0][:, solid]).mean()), rel=0.02)
    assert errors[1:].isnan().all()


def test_it_has_no_size_of_its_own():
    """Twice as far and twice as large is the same picture, and the same error."""
    rgb, d = seen(TOYS[0])
    assert mean(rgb, 2 * d, orbit(V, distance=4.0)) == pytest.approx(mean(rgb, d), rel=1e-3)


def test_where_it_cannot_tell_it_says_nothing():
    rgb, d = seen(TOYS[0])
    for views in (1, 2, 6, 11):
        assert warp_error(rgb[:views], d[:views], orbit(views)).isnan().all()
    assert warp_error(rgb, torch.full_like(d, math.inf), orbit(V)).isnan().all()


def test_larger_views_are_averaged_down_and_depth_is_asked_for_as_large(monkeypatch):
    rgb, d = seen(TOYS[0])
    large = rgb.repeat_interleave(2, -1).repeat_interleave(2, -2)
    asked = []
    given = Depths("", orbit(V), lambda side: asked.append(side) or d)
    found = WARP_ERROR.function(Seen(Pictures(large, None, given), ("",), 0, {}))
    assert asked == [SIDE]
    assert torch.allclose(found, warp_error(rgb, d, orbit(V)), atol=1e-4)
    assert torch.allclose(found, WARP_ERROR.function(Seen(Pictures(rgb, None, given), ("",), 0, {})), atol=1e-4)


def test_no_truth_is_needed(tmp_path):
    """Scores of a suite without one have the column where depth is given, and only there; a job that left no views has
    no number."""
    job = write_job(tmp_path, "sdi", WORLD[3], 0, ball(24, 64))
    scorer = Scorer({}, WORLD)
    d = torch.where(ball(24, 64)[1] > 0.5, 2.0, math.inf)
    asked = []
    given = Depths("a scene", orbit(24), lambda side: asked.append(side) or d)
    assert score_job(job, scorer, given)
    rgb = (ball(24, 64)[0] * 255).round() / 255
    found = pd.read_csv(job / "scores.csv")["warp_error"]
    assert found.to_numpy() == pytest.approx(warp_error(rgb, d, orbit(24)).numpy(), rel=1e-5)
    assert not score_job(job, scorer, given)
    assert asked == [64]
    assert score_job(job, scorer)
    assert "warp_error" not in pd.read_csv(job / "scores.csv")
    lost = write_job(tmp_path, "sds", WORLD[3], 0, None, "non-finite")
    assert score_job(lost, scorer)
    assert pd.read_csv(lost / "scores.csv")["warp_error"].isna().all()
