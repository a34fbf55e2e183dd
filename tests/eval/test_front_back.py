"""Front and back by CLIP: what the cosine tells, and by what it is fooled."""

import pandas as pd
import pytest
import torch

from eval.consistency.front_back import FRONT_BACK, front_back_cosine
from eval.encoders import load_clip
from eval.score import Scorer, score_job
from eval.truth import over
from scene.background import GREY
from scene.cameras import look_at
from suites import SUITES
from suites.world import MODELS
from tests.eval.clip import encoder
from tests.reports.synthetic import WORLD, ball, write_job
from world import truth_views

FACES = ("A plush dragon toy", "A DSLR photo of a white fluffy cat", "A photograph of a firefighter")


@pytest.fixture(scope="module")
def clip():
    return load_clip(MODELS / "tiny-clip")


def views(toy, *azimuths):
    render = truth_views(toy, look_at(15.0, torch.tensor([float(a) for a in azimuths]), 2.0, 40.0), 64)
    return over(render.rgb, render.opacity, GREY)


def cosine(clip, pictures):
    return float(front_back_cosine(clip.images(pictures))[0])


def test_it_is_the_cosine_of_the_first_view_and_the_opposite_one():
    x, y, z = torch.eye(3)
    assert front_back_cosine(torch.stack([x, y, x, z])).tolist() == pytest.approx([1, *[float("nan")] * 3], nan_ok=True)
    for opposite, value in ((y, 0.0), (-x, -1.0), (0.6 * x + 0.8 * z, 0.6)):
        for views, half in ((2, 1), (4, 2), (5, 2), (50, 25)):
            image = torch.stack([x] + [z] * (views - 1))
            image[half] = opposite
            assert front_back_cosine(image)[0] == pytest.approx(value)
    assert front_back_cosine(x[None]).isnan().all()


@pytest.mark.parametrize("toy", FACES)
def test_a_second_face_is_more_alike_than_a_true_back(clip, toy):
    """On its back a two-faced object shows its front from nearly the same side, or mirrored."""
    true = cosine(clip, views(toy, 0, 180))
    assert cosine(clip, views(toy, 0, 10)) > true + 0.04
    assert cosine(clip, torch.cat([views(toy, 0), views(toy, 8).flip(-1)])) > true + 0.04


def test_what_is_round_fools_it(clip):
    """A true strawberry, alike from all sides, is more suspect than any true toy with a face: read no level into it."""
    strawberry = cosine(clip, views("A ripe strawberry", 0, 180))
    assert strawberry > 0.99 > max(cosine(clip, views(toy, 0, 180)) for toy in FACES)


def score(job, clip, has_front):
    assert score_job(job, Scorer({"clip": clip}, WORLD, has_front=has_front))
    return pd.read_csv(job / "scores.csv")["front_back_cosine"]


def test_a_thing_that_is_known_to_have_no_front_has_none(tmp_path):
    """It needs no true views, so that renders from nobody knows where have it, too; what is not known is compared, and
    what becomes known is scored again."""
    clip, has_front = encoder(), SUITES["world"].truth.has_front
    dragon, strawberry = (next(p for p in WORLD if p.text == text) for text in (FACES[0], "A ripe strawberry"))
    assert [has_front(text) for text in (dragon.text, strawberry.text, "A dragon of mine")] == [True, False, None]
    for prompt, known in ((dragon, 1), (strawberry, 0)):
        job = write_job(tmp_path, "sdi", prompt, 0, ball(8))
        before = score(job, clip, lambda text: None)
        found = score(job, clip, has_front)
        assert (before.notna().sum(), found.notna().sum()) == (1, known)
        assert found.dropna().equals(before.dropna()[:known])
        assert not score_job(job, Scorer({"clip": clip}, WORLD, has_front=has_front))


def test_scores_have_it_at_the_front(tmp_path):
    job, clip = write_job(tmp_path, "sdi", WORLD[4], 0, ball(8)), encoder()
    assert score_job(job, Scorer({"clip": clip}, WORLD))
    image = clip.images((ball(8)[0] * 255).round() / 255)
    found = pd.read_csv(job / "scores.csv")["front_back_cosine"]
    assert found[0] == pytest.approx(float(image[0] @ image[4]), abs=1e-5)
    assert found[1:].isna().all()
    assert (FRONT_BACK.needs, FRONT_BACK.limits) == (("clip",), (-1, 1))
