"""Back views that would rather be fronts, found by hand."""

import pandas as pd
import pytest
import torch

from eval.consistency.view_preference import WORDS, view_preference
from eval.score import Scorer, score_job
from tests.eval.clip import encoder
from tests.reports.synthetic import WORLD, ball, write_job

FRONT, BACK = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])


def seen(views, janus):
    """Features of an orbit whose back looks like its front, or does not."""
    return torch.stack([FRONT if janus else BACK] * views)


@pytest.mark.parametrize(("views", "behind"), [(50, range(19, 32)), (8, [4]), (16, range(7, 10)), (4, [2])])
def test_back_views_alone_have_a_preference(views, behind):
    azimuth = 360 * torch.arange(views) / views
    for janus, value in ((True, 100.0), (False, 0.0)):
        found = view_preference(seen(views, janus), FRONT, BACK)
        assert found[~found.isnan()].tolist() == [value] * len(behind)
        assert (~found.isnan()).nonzero().flatten().tolist() == list(behind)
        assert ((azimuth - 180).abs() < 45).tolist() == (~found.isnan()).tolist()


def test_a_tie_is_no_preference_for_the_front():
    assert view_preference(torch.ones(4, 2), FRONT, BACK)[2] == 0


def test_one_view_is_no_back():
    assert view_preference(torch.ones(1, 2), FRONT, BACK).isnan().all()


def test_scores_ask_the_prompts_own_directions(tmp_path):
    job, clip = write_job(tmp_path, "sdi", WORLD[4], 0, ball(16)), encoder()
    assert WORDS == (", front view", ", back view")
    assert score_job(job, Scorer({"clip": clip}, WORLD, asked={"directions"}))
    image = clip.images((ball(16)[0] * 255).round() / 255)
    front, back = clip.texts([WORLD[4].text + ", front view", WORLD[4].text + ", back view"])
    by_hand = [100.0 * float(image[v] @ front > image[v] @ back) for v in (7, 8, 9)]
    scores = pd.read_csv(job / "scores.csv")
    assert scores["view_preference"].dropna().tolist() == by_hand
    assert scores.index[scores["view_preference"].notna()].tolist() == [7, 8, 9]
    assert score_job(job, Scorer({"clip": clip}, WORLD))
    assert "view_preference" not in pd.read_csv(job / "scores.csv")
