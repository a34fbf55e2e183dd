"""View words: strict thresholds, the meaning of left, and the interpolation between sectors."""

import pytest
import torch

from priors.analytic import ExactPrior
from priors.base import Text
from priors.text import COARSE, SECTORS, ViewWords, condition, make_text, view_index
from tests.helpers import cameras_at


def word(azimuth: float, elevation: float = 0.0, **thresholds: float) -> str:
    return list(COARSE)[int(view_index(cameras_at([azimuth], elevation), **thresholds))]


@pytest.mark.parametrize(
    ("azimuth", "elevation", "expected"),
    [
        (0, 0, "front"), (44.9, 0, "front"), (45, 0, "side"), (-45, 0, "side"), (-44.9, 0, "front"),
        (135, 0, "side"), (-135, 0, "side"), (135.1, 0, "back"), (180, 0, "back"), (-180, 0, "back"), (190, 0, "back"),
        (360, 0, "front"), (315, 0, "side"), (316, 0, "front"), (540, 0, "back"),
        (0, 60, "front"), (0, 60.1, "overhead"), (90, 89, "overhead"), (180, 61, "overhead"), (0, -80, "front"),
    ],
)  # fmt: skip
def test_thresholds_are_strict_and_overhead_wins(azimuth, elevation, expected):
    assert word(azimuth, elevation) == expected


def test_words_of_another_recipe():
    """ProlificDreamer's front ends at 30 degrees; SJC's words stand before the prompt."""
    prior, at = exact("coarse"), cameras_at([0, 29, 31, 149, 151, 180])
    known: list[str] = []

    def embed(prompts: list[str]) -> torch.Tensor:
        known.extend(p for p in prompts if p not in known)
        return torch.eye(16)[[known.index(p) for p in prompts]][:, None]

    prior.embed = embed  # type: ignore[method-assign]
    narrow = make_text(prior, "a duck", words=ViewWords(front=30.0, back=30.0))
    words = ("front", "front", "side", "side", "back", "back")
    assert torch.equal(condition(narrow, at), prior.embed([f"a duck, {w} view" for w in words]))
    before = make_text(prior, "a duck", words=ViewWords(before=True))
    words = ("front", "front", "front", "backside", "backside", "backside")
    assert torch.equal(condition(before, at), prior.embed([f"{w} view of a duck" for w in words]))
    above = condition(before, cameras_at([10.0], 75.0))
    assert torch.equal(above, prior.embed(["overhead view of a duck"]))
    assert torch.equal(before.plain, prior.embed(["a duck"]))


def test_thresholds_of_another_method():
    assert word(29.9, front=30.0, back=30.0) == "front"
    assert word(30, front=30.0, back=30.0) == "side"
    assert word(150, front=30.0, back=30.0) == "side"
    assert word(150.1, front=30.0, back=30.0) == "back"


def exact(view_words: str) -> ExactPrior:
    points = torch.eye(4).view(4, 1, 2, 2)
    azimuth = torch.tensor([0.0, 90.0, 180.0, 270.0])
    return ExactPrior(
        points,
        torch.zeros(4, dtype=torch.long),
        azimuth,
        ["a duck"],
        lambda image, rng: image,
        lambda x: x,
        2,
        view_words=view_words,
    )


def test_each_camera_gets_its_own_word():
    prior = exact("coarse")
    text = make_text(prior, "a duck")
    assert text.sectors is None
    rows = condition(text, cameras_at([0, 90, 180, -90]))
    expected = prior.embed([f"a duck, {w} view" for w in ("front", "side", "back", "side")])
    assert torch.equal(rows, expected)
    assert torch.equal(condition(text, cameras_at([10.0], 75.0)), prior.embed(["a duck, overhead view"]))


def test_sectors_turn_counter_clockwise_with_left_at_plus_90():
    prior = exact("sectors")
    text = make_text(prior, "a duck")
    assert text.sectors.shape[0] == len(SECTORS) == 8
    rows = condition(text, cameras_at([0, 45, 90, 180, -90, 315, 360]))
    words = ["front", "front left", "left", "back", "right", "front right", "front"]
    assert torch.equal(rows, prior.embed([f"a duck, seen from the {w}" for w in words]))


@pytest.mark.parametrize("azimuth", [10.0, 80.0, 200.0, 350.0, -5.0])
def test_between_two_sectors_the_condition_is_linear(azimuth):
    text = make_text(exact("sectors"), "a duck")
    place = (azimuth % 360) / 45
    left, share = int(place), place - int(place)
    expected = (1 - share) * text.sectors[left] + share * text.sectors[(left + 1) % 8]
    torch.testing.assert_close(condition(text, cameras_at([azimuth]))[0], expected)


def test_interpolation_is_continuous_over_the_full_turn():
    text = make_text(exact("sectors"), "a duck")
    rows = condition(text, cameras_at([0.5 * k for k in range(721)]))
    assert (rows[1:] - rows[:-1]).abs().max() < 0.02


def test_negative_prompt_is_the_unconditional_text():
    prior = exact("coarse")
    assert torch.equal(make_text(prior, "a duck", "a duck").uncond, prior.embed(["a duck"]))
    assert torch.equal(make_text(prior, "a duck").uncond, prior.embed([""]))
    assert isinstance(make_text(prior, "a duck"), Text)
