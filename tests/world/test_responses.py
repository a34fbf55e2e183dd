"""Response curves: means by distortion, strength and toy, and which of them fall."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from eval.clip_iqa import SENTENCES
from world.dataset import Pictures
from world.train import held_out, responses
from world.train.check import response_rows
from world.train.responses import NAMED, STRENGTHS

PROMPTS = ["A red block", "A blue block"]
METRICS = {"clip_score": 80.0, "image_reward": 1.0, "iqa_quality": 90.0, "iqa_sharpness": 85.0, "iqa_real": 80.0}


@pytest.fixture
def blocks() -> Pictures:
    """Eight views of each block, from all around."""
    rgba = torch.zeros(16, 4, 64, 64)
    rgba[:, 3, 16:48, 16:48] = 1
    rgba[:8, 0, 16:48, 16:48] = 1
    rgba[8:, 2, 16:48, 16:48] = 1
    azimuth = torch.arange(0.0, 360.0, 45.0).repeat(2)
    return Pictures((255 * rgba).to(torch.uint8), torch.arange(2).repeat_interleave(8), azimuth, azimuth)


class ByColour:
    """An encoder to which prompts are pure colours, and the better sentences red."""

    def images(self, images):
        return torch.nn.functional.normalize(images[:, :, 24:40, 24:40].mean((2, 3)), dim=1)

    def texts(self, texts):
        red, blue = torch.tensor([1.0, 0, 0]), torch.tensor([0, 0, 1.0])
        return torch.stack([blue if "blue" in text or text in SENTENCES[1::2] else red for text in texts])


class Bright:
    def score(self, images, prompt):
        return images.mean((1, 2, 3))


def test_each_toy_is_scored_for_its_own_prompt(blocks):
    judges = responses.Judges(ByColour(), ByColour(), Bright())
    found = responses.responses(judges, blocks, PROMPTS, [held_out.foggy], (0.0, 1.0), views=4)
    assert found.index.names == ["distortion", "strength", "prompt"]
    true = found.loc["foggy", 0.0]
    assert true["clip_score"].tolist() == pytest.approx([100, 100])
    assert true["r_precision_2"].tolist() == [100, 100]
    assert true["iqa_quality"].tolist() == pytest.approx([100, 0])
    assert (found.loc["foggy", 1.0]["clip_score"] < 90).all()
    assert responses.falling(responses.curve(found), "clip_score", ["foggy"]) == ["foggy"]


def test_some_views_of_each_toy_are_from_all_around(blocks):
    assert responses.some(blocks, 4).azimuth.tolist() == [0, 90, 180, 270] * 2
    assert responses.some(blocks, 4).label.tolist() == [0] * 4 + [1] * 4


def made(fall: float = 1.0, least: float = 0.0) -> pd.DataFrame:
    """Metrics of two toys, the second lower by `least`, that fall by `fall` a step."""
    rows = {
        (way.__name__, s, prompt): {name: top - least * k - fall * 5 * s for name, top in METRICS.items()}
        for way in held_out.HELD_OUT
        for s in STRENGTHS
        for k, prompt in enumerate(PROMPTS)
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["distortion", "strength", "prompt"])


def test_judges_that_fall_from_one_height_meet_every_aim():
    assert all(row.met for row in response_rows(made()))


def test_a_judge_that_tells_toys_apart_misses_its_aims():
    missed = [row.name for row in response_rows(made(least=60.0)) if not row.met]
    assert sum("deviation over toys" in name for name in missed) == 3
    assert sum("least toy" in name for name in missed) == 3
    assert any(PROMPTS[1] in name for name in missed)


def test_a_judge_that_rises_once_is_said_not_to_fall():
    found = made()
    found["iqa_real"] += 5.0 * found.index.isin([("noised", 0.6, PROMPTS[0])])
    missed = {row.name: row.value for row in response_rows(found) if not row.met}
    assert missed == {"CLIP-IQA real, distortions with which it falls": len(NAMED["iqa_real"]) - 1}
