"""Scoring jobs: what is in scores.csv, what is done again, and what is not."""

import copy
import dataclasses

import pandas as pd
import pytest
import torch

from errors import UserError
from eval.cost import cost
from eval.divergence import classify
from eval.score import Scorer, score_job, score_run
from scene.background import GREY
from tests.eval.clip import encoder
from tests.eval.reward import reward
from tests.reports.synthetic import WORLD, ball, save, write_job

CLIP = ["clip_score", "iqa_quality", "iqa_sharpness", "iqa_real", "r_precision"]
TRUTH = ["yaw", "iou", "psnr", "sharpness", "chroma", "clipped", "fog"]


def true_ball(text):
    rgb, opacity = ball(8)
    return (rgb - GREY * (1 - opacity))[None], opacity[None]


@pytest.fixture(scope="module")
def scorer():
    return Scorer(encoder(), WORLD, true_ball)


def test_a_row_a_view_with_all_metrics(tmp_path, scorer):
    job = write_job(tmp_path, "sdi", WORLD[3], 0, ball(8))
    assert score_job(job, scorer)
    scores = pd.read_csv(job / "scores.csv")
    assert [*scores] == ["view", "azimuth", *CLIP, "opacity", *TRUTH, "encoder", "candidates", "truth"]
    assert scores["azimuth"].tolist() == [45.0 * v for v in range(8)]
    assert (scores["iou"] > 0.999).all()
    assert scores["iqa_quality"].between(0, 100).all()
    assert set(scores["r_precision"]) <= {0.0, 100.0}
    assert scores["opacity"].mean() == pytest.approx(ball(8)[1].mean().item(), abs=1e-3)
    assert not list(job.glob("*.aside"))


def test_scores_are_of_the_jobs_own_prompt(tmp_path, scorer):
    clip, (rgb, _) = encoder(), ball(8)
    texts, image = clip.texts([p.text for p in WORLD]), clip.images((rgb * 255).round() / 255)
    for prompt in (WORLD[1], WORLD[5]):
        job = write_job(tmp_path, "sdi", prompt, 0, ball(8))
        score_job(job, scorer)
        expected = (100 * image @ texts[WORLD.index(prompt)]).clamp(min=0)
        torch.testing.assert_close(
            torch.tensor(pd.read_csv(job / "scores.csv")["clip_score"].to_numpy()).float(), expected, atol=1e-3, rtol=0
        )


def test_scored_jobs_are_left_alone_until_the_encoder_changes(tmp_path, scorer):
    job = write_job(tmp_path, "sdi", WORLD[0], 0, ball(8))
    assert score_run(tmp_path, scorer) == [job]
    before = (job / "scores.csv").stat().st_mtime_ns
    assert score_run(tmp_path, scorer) == []
    assert (job / "scores.csv").stat().st_mtime_ns == before
    other = Scorer(dataclasses.replace(encoder(), checksum="another"), WORLD, true_ball)
    assert score_job(job, other)
    assert set(pd.read_csv(job / "scores.csv")["encoder"]) == {"another"}
    assert score_job(job, Scorer(encoder(), WORLD[:5], true_ball))


def test_a_second_encoder_and_a_reward_add_their_columns_and_checksums(tmp_path, scorer):
    job = write_job(tmp_path, "sdi", WORLD[2], 0, ball(8))
    score_job(job, scorer)
    before = pd.read_csv(job / "scores.csv")
    flipped = encoder().model.visual_projection.weight.neg()
    second = dataclasses.replace(encoder(), model=copy.deepcopy(encoder().model), checksum="s" * 64)
    second.model.visual_projection.weight.copy_(flipped)  # the nearest text becomes the farthest
    full = Scorer(encoder(), WORLD, true_ball, second, reward())
    assert score_job(job, full)
    assert not score_job(job, full)
    scores = pd.read_csv(job / "scores.csv")
    columns = [*CLIP[:4], "image_reward", "r_precision", "r_precision_2", "opacity", *TRUTH]
    assert [*scores] == ["view", "azimuth", *columns, "encoder", "candidates", "truth", "encoder_2", "reward"]
    pd.testing.assert_frame_equal(scores[before.columns], before)
    assert set(scores["encoder_2"]) == {"s" * 16}
    assert set(scores["reward"]) == {reward().checksum[:16]}
    rgb = (ball(8)[0] * 255).round() / 255
    expected = reward().score(rgb, WORLD[2].text)
    assert scores["image_reward"].to_numpy() == pytest.approx(expected.numpy(), abs=1e-4)
    image, texts = second.images(rgb), second.texts([p.text for p in WORLD])
    assert scores["r_precision_2"].tolist() == (100.0 * ((image @ texts.mT).argmax(-1) == 2)).tolist()
    assert score_job(job, scorer)  # without them again, the columns go
    pd.testing.assert_frame_equal(pd.read_csv(job / "scores.csv"), before)


def test_a_second_encoder_that_was_asked_for_gives_a_clip_score_too(tmp_path):
    second = dataclasses.replace(encoder(), model=copy.deepcopy(encoder().model), checksum="s" * 64)
    second.model.visual_projection.weight.neg_()
    job = write_job(tmp_path, "sdi", WORLD[2], 0, ball(8))
    score_job(job, Scorer(encoder(), WORLD, true_ball, second, scores=True))
    image, text = second.images((ball(8)[0] * 255).round() / 255), second.texts([WORLD[2].text])[0]
    expected = (100 * image @ text).clamp(min=0)
    assert pd.read_csv(job / "scores.csv")["clip_score_2"].to_numpy() == pytest.approx(expected.numpy(), abs=1e-3)


def test_clip_iqa_by_an_encoder_of_its_own_or_by_none(tmp_path, scorer):
    job = write_job(tmp_path, "sdi", WORLD[2], 0, ball(8))
    score_job(job, scorer)
    before = pd.read_csv(job / "scores.csv")
    turned = dataclasses.replace(encoder(), model=copy.deepcopy(encoder().model), checksum="i" * 64)
    turned.model.visual_projection.weight.neg_()
    assert score_job(job, Scorer(encoder(), WORLD, true_ball, iqa=turned))
    scores = pd.read_csv(job / "scores.csv")
    assert set(scores["encoder_iqa"]) == {"i" * 16}
    assert scores["iqa_real"].to_numpy() == pytest.approx(100 - before["iqa_real"].to_numpy(), abs=0.1)
    rest = [c for c in before if not c.startswith("iqa_")]
    pd.testing.assert_frame_equal(scores[rest], before[rest])
    without = Scorer(encoder(), WORLD, true_ball, iqa=None)
    assert score_job(job, without)
    assert not score_job(job, without)
    scores = pd.read_csv(job / "scores.csv")
    assert set(scores["encoder_iqa"]) == {"none"}
    pd.testing.assert_frame_equal(scores.drop(columns="encoder_iqa"), before[rest])
    assert score_job(job, scorer)
    pd.testing.assert_frame_equal(pd.read_csv(job / "scores.csv"), before)


def test_a_torn_file_of_scores_is_written_again(tmp_path, scorer):
    job = write_job(tmp_path, "sdi", WORLD[0], 0, ball(8))
    score_job(job, scorer)
    text = (job / "scores.csv").read_text()
    (job / "scores.csv").write_text(text[:40])
    assert score_job(job, scorer)
    assert (job / "scores.csv").read_text() == text


@pytest.mark.parametrize("status", ["non-finite", "out-of-memory"])
def test_a_diverged_job_is_scored_as_its_background(tmp_path, scorer, status):
    job = write_job(tmp_path, "sds", WORLD[0], 0, None, status)
    assert score_job(job, scorer)
    scores = pd.read_csv(job / "scores.csv")
    assert len(scores) == 8
    assert scores["clip_score"].nunique() == 1
    assert (scores["iou"] == 0).all()
    assert (scores["opacity"] == 0).all()


def test_a_crashed_job_has_no_scores(tmp_path, scorer):
    job = write_job(tmp_path, "sds", WORLD[0], 0, None, "crashed")
    assert not score_job(job, scorer)
    assert not (job / "scores.csv").exists()


def test_pictures_made_elsewhere_are_scored_without_truth(tmp_path, scorer):
    folder = tmp_path / "mine" / WORLD[2].id / "0"
    folder.mkdir(parents=True)
    for v, rgb in enumerate(ball(4)[0]):
        save(rgb, folder / f"rgb_{v:03d}.png")
    told = []
    assert score_run(tmp_path, scorer, lambda path, fresh: told.append((path, fresh))) == [folder]
    assert told == [(folder, True)]
    scores = pd.read_csv(folder / "scores.csv")
    assert [*scores] == ["view", "azimuth", *CLIP, "encoder", "candidates", "truth"]
    assert scores["azimuth"].tolist() == [0, 90, 180, 270]


def test_what_is_wrong_is_said(tmp_path, scorer):
    job = write_job(tmp_path, "sdi", WORLD[0], 0, None)
    with pytest.raises(UserError, match=r"views of .* are missing"):
        score_job(job, scorer)
    (job / "record.json").write_text("{torn")
    with pytest.raises(UserError, match=r"record\.json cannot be read"):
        score_job(job, scorer)
    stranger = write_job(tmp_path, "sdi", dataclasses.replace(WORLD[0], id="99-moon"), 0, ball(8))
    with pytest.raises(UserError, match="no prompt '99-moon'"):
        score_job(stranger, scorer)
    wide = write_job(tmp_path, "sdi", WORLD[1], 0, ball(8, 48))
    with pytest.raises(UserError, match="have shape"):
        score_job(wide, scorer)


def test_prompts_too_long_for_the_encoder_are_named():
    long = dataclasses.replace(WORLD[0], text="A ripe strawberry " * 30)
    assert list(Scorer(encoder(), [long, WORLD[1]]).cut) == [long.id]


def test_status_of_a_job():
    solid, thin = torch.full((5, 1, 4, 4), 0.3), torch.full((5, 1, 4, 4), 0.0099)
    assert classify({"status": "finished"}, solid) == "ok"
    assert classify({"status": "finished"}, thin) == "empty"
    assert classify({"status": "non-finite"}, None) == "non-finite"
    assert classify({"status": "out-of-memory"}, None) == "out-of-memory"
    assert classify({"status": "crashed"}, None) == "failed"
    assert classify({}, None) == "ok"


def test_cost_in_the_tables_units():
    record = {"seconds": 90.0, "nfe": 2100, "network_rows": 4200, "peak_bytes": 3_500_000_000}
    assert cost(record) == {"time_min": 1.5, "nfe": 2100, "network_rows": 4200, "memory_gb": 3.5}
    assert all(value != value for value in cost({}).values())
