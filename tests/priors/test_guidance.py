"""CFG and Perp-Neg: which branches are evaluated, published weights, and independence of the batch."""

from dataclasses import replace

import pytest
import torch

from priors.analytic import MixturePrior
from priors.base import Text
from priors.guidance import guided_eps, perp_neg_texts, perp_neg_weights, perpendicular
from tests.helpers import cameras_at, mixture

SIDES = [0.0, 30.0, 90.0, 180.0, -60.0, -170.0]


@pytest.fixture
def scene():
    prior, text = mixture()
    rng = torch.Generator().manual_seed(1)
    x_t = torch.randn(len(SIDES), *prior.latent_shape, generator=rng, dtype=torch.float64)
    return prior, text, x_t, torch.tensor([20, 200, 400, 600, 800, 980])


@pytest.mark.parametrize(
    ("azimuth", "first", "second"), [(0, 0, -1.574), (90, 0, -1.5735), (-90, 0, -1.5735), (180, -0.394, -1.967)]
)
def test_published_weights(azimuth, first, second):
    """Negatives are (front, side) ahead of +-90 degrees and (side, front) from there on."""
    weights = perp_neg_weights(cameras_at([float(azimuth)]))[0]
    assert weights[0] == pytest.approx(first, abs=6e-4)
    assert weights[1] == pytest.approx(second, abs=5e-5)


def test_positive_turns_from_front_over_side_to_back(scene):
    _, text, *_ = scene
    positive, first, second = perp_neg_texts(text, cameras_at([0.0, 45.0, 90.0, -135.0, 180.0]))
    halves = [text.front, (text.front + text.side) / 2, text.side, (text.side + text.back) / 2, text.back]
    torch.testing.assert_close(positive, torch.cat(halves))
    torch.testing.assert_close(first, torch.cat([text.front] * 2 + [text.side] * 3))
    torch.testing.assert_close(second, torch.cat([text.side] * 2 + [text.front] * 3))


def test_overhead_has_no_negatives(scene):
    prior, text, x_t, t = scene
    cameras = cameras_at(SIDES, 70.0)
    assert (perp_neg_weights(cameras) == 0).all()
    plain = guided_eps(prior, x_t, t, text, cameras, 7.5)
    torch.testing.assert_close(guided_eps(prior, x_t, t, text, cameras, 7.5, perp_neg=True), plain)


def test_perpendicular_per_item_with_a_floor():
    e = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    to = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    to[2] *= 1e-5  # |to|^2 is below the floor of 1e-6: nearly nothing is removed
    out = perpendicular(e, to)
    along = (out * to).flatten(1).sum(1) / to.flatten(1).norm(dim=1)
    assert along[:2].abs().max() < 1e-5
    torch.testing.assert_close(out[2], e[2], atol=1e-3, rtol=0)
    torch.testing.assert_close(perpendicular(e[:1], to[:1]), out[:1])


def test_cfg_is_uncond_plus_scale_times_the_difference(scene):
    prior, text, x_t, t = scene
    cameras = cameras_at(SIDES)
    eps_u = prior.eps(x_t, t, text.uncond.expand(len(x_t), -1, -1))
    eps_c = guided_eps(prior, x_t, t, text, cameras, 1.0)
    torch.testing.assert_close(guided_eps(prior, x_t, t, text, cameras, -7.5), eps_u - 7.5 * (eps_c - eps_u))
    torch.testing.assert_close(guided_eps(prior, x_t, t, text, cameras, 0.0), eps_u)


@pytest.mark.parametrize(
    ("scale", "perp_neg", "branches"),
    [(0.0, False, 1), (1.0, False, 1), (7.5, False, 2), (0.0, True, 1), (7.5, True, 4)],
)
def test_one_call_and_no_branch_that_counts_for_nothing(scene, scale, perp_neg, branches):
    prior, text, x_t, t = scene
    prior.nfe = prior.rows = 0
    guided_eps(prior, x_t, t, text, cameras_at(SIDES), scale, perp_neg)
    assert (prior.nfe, prior.rows) == (1, branches * len(x_t))


@pytest.mark.parametrize("scale", [0.0, 1.0, 7.5, -7.5])
@pytest.mark.parametrize("perp_neg", [False, True])
@pytest.mark.parametrize("negative", [False, True], ids=["", "with a negative prompt"])
def test_a_prior_that_says_a_third_is_guided_as_one_that_says_all_at_a_third_of_the_scale(
    scene, scale, perp_neg, negative, monkeypatch
):
    prior, text, x_t, t = scene
    cameras, empty = cameras_at(SIDES), text.uncond
    if negative:
        text = replace(text, uncond=text.back, null=empty)
    monkeypatch.setattr(prior, "embed", lambda prompts: empty.expand(len(prompts), -1, -1))
    u = guided_eps(prior, x_t, t, replace(text, uncond=empty), cameras, 0.0)
    low = guided_eps(prior, x_t, t, text, cameras, 0.0)
    whole = guided_eps(prior, x_t, t, text, cameras, scale, perp_neg)
    prior.text_share, prior.nfe, prior.rows = 1 / 3, 0, 0
    near = 5e-3 if perp_neg else 1e-9  # the floor under |e_pos|^2
    third = guided_eps(prior, x_t, t, text, cameras, scale, perp_neg)
    torch.testing.assert_close(third, u + (whole - u) / 3, atol=near, rtol=near)
    alone = perp_neg and not negative  # the empty text is one of the branches already
    assert prior.nfe == 1
    assert prior.rows <= len(x_t) * (4 if alone else 5)
    assert torch.equal(low, u) is not negative


@pytest.mark.parametrize(("scale", "branches"), [(0.0, 1), (1.0, 2), (7.5, 2)])
def test_a_share_of_a_text_asks_for_the_empty_one_once(scene, scale, branches, monkeypatch):
    prior, text, x_t, t = scene
    monkeypatch.setattr(prior, "embed", lambda prompts: text.uncond.expand(len(prompts), -1, -1))
    prior.text_share, prior.nfe, prior.rows = 1 / 3, 0, 0
    guided_eps(prior, x_t, t, text, cameras_at(SIDES), scale)
    assert (prior.nfe, prior.rows) == (1, branches * len(x_t))


@pytest.mark.parametrize("perp_neg", [False, True])
def test_a_row_of_a_batch_is_the_row_alone(scene, perp_neg):
    prior, text, x_t, t = scene
    together = guided_eps(prior, x_t, t, text, cameras_at(SIDES), 7.5, perp_neg)
    for i, azimuth in enumerate(SIDES):
        row = slice(i, i + 1)
        alone = guided_eps(prior, x_t[row], t[row], text, cameras_at([azimuth]), 7.5, perp_neg)
        torch.testing.assert_close(together[row], alone)


def test_perp_neg_by_hand(scene):
    """One camera at 30 degrees, the sum over negatives written out."""
    prior, text, x_t, t = scene
    x_t, t, cameras = x_t[:1], t[1:2], cameras_at([30.0])

    def eps(condition: torch.Tensor) -> torch.Tensor:
        return prior.network(x_t, t, condition)

    u = eps(text.uncond)
    e_pos = eps(2 / 3 * text.front + 1 / 3 * text.side) - u
    total = e_pos.clone()
    for w, negative in zip(perp_neg_weights(cameras)[0], (text.front, text.side), strict=True):
        e = eps(negative) - u
        total += w * (e - e_pos * (e * e_pos).sum() / (e_pos**2).sum())
    torch.testing.assert_close(guided_eps(prior, x_t, t, text, cameras, 7.5, True), u + 7.5 * total)


def test_with_sectors_the_positive_is_the_sector_and_the_negatives_stay_coarse():
    prior, text = mixture()
    sectors = torch.rand(8, 1, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    fine = Text(text.uncond, text.plain, text.front, text.side, text.back, text.overhead, sectors)
    positive, first, second = perp_neg_texts(fine, cameras_at([45.0, 100.0]))
    torch.testing.assert_close(positive[0], sectors[1])
    assert torch.equal(first, torch.cat([text.front, text.side]))
    assert torch.equal(second, torch.cat([text.side, text.front]))
    assert isinstance(prior, MixturePrior)
