"""Scoring jobs: what is in scores.csv, what is done again, and what is not."""

import contextlib
import copy
import dataclasses
import json

import pandas as pd
import pytest
import torch
from PIL import Image

import files
import locks
from errors import UserError
from eval import metrics, outside
from eval.divergence import classify
from eval.score import Scorer, score_job, score_run
from eval.truth import Shape, Truth
from eval.views import Depths
from prompts import own
from records import NewerError
from reports import load
from reports.columns import cost
from scene.background import GREY
from scene.cameras import orbit
from tests.eval.clip import encoder
from tests.eval.reward import reward
from tests.reports.synthetic import WORLD, ball, save, write_job

CLIP = ["clip_score", "iqa_quality", "iqa_sharpness", "iqa_real", "r_precision", "front_back_cosine"]
SIDES = ["scale_error", "chirality", "janus"]
TRUTH = ["iou", *SIDES, "psnr_paired", "ssim", "psnr", "sharpness", "chroma", "clipped", "fog"]
HIDDEN = ["yaw", "scale"]


def true_ball(text):
    rgb, opacity = ball(8)
    return (rgb - GREY * (1 - opacity))[None], opacity[None]


def in_space(text):
    """A ball of radius .4 as eight cameras see it."""
    return Shape(
        orbit(8), at_once(torch.full((1, 8, 1, 32, 32), 1.6)), lambda points, variant: points.norm(dim=-1) - 0.4
    )


def at_once(depth):
    """Where the ball's pictures are solid."""
    return torch.where(ball(8)[1] > 0.5, depth, torch.inf)


KNOWN = Truth(true_ball, lambda text: "a ball")
CAT = dataclasses.replace(WORLD[4], text="A cat")
ONE = {"clip": encoder(), "iqa": encoder()}


@pytest.fixture(scope="module")
def scorer():
    return Scorer(ONE, WORLD, KNOWN)


def turned(checksum):
    """An encoder to which the nearest text is the farthest."""
    other = dataclasses.replace(encoder(), model=copy.deepcopy(encoder().model), checksum=checksum)
    other.model.visual_projection.weight.neg_()
    return other


def scores_of(job):
    return pd.read_csv(job / "scores.csv")


@pytest.fixture
def computed(monkeypatch):
    """The metrics that are computed from here on, in order."""
    found = []

    def watched(metric):
        def function(seen):
            found.append(metric.key)
            return metric.function(seen)

        return dataclasses.replace(metric, function=function)

    codes = {m.key: m.code for m in metrics.METRICS}
    monkeypatch.setattr("eval.metric.Metric.code", property(lambda metric: codes.get(metric.key, "new")))
    monkeypatch.setattr(metrics, "METRICS", tuple(map(watched, metrics.METRICS)))
    return found


def test_a_row_a_view_with_all_metrics(tmp_path, scorer):
    job = write_job(tmp_path, "sdi", WORLD[3], 0, ball(8))
    assert score_job(job, scorer)
    scores = scores_of(job)
    assert [*scores] == ["view", "azimuth", *CLIP, *TRUTH, "opacity", *HIDDEN]
    assert scores["azimuth"].tolist() == [45.0 * v for v in range(8)]
    assert (scores["iou"] > 0.999).all()
    assert scores["iqa_quality"].between(0, 100).all()
    assert set(scores["r_precision"]) <= {0.0, 100.0}
    assert scores["opacity"].mean() == pytest.approx(ball(8)[1].mean().item(), abs=1e-3)
    assert not list(job.glob("*.aside"))
    judges = load(tmp_path).jobs["judges"].item()
    assert judges == {"encoder": encoder().checksum[:16], "encoder_iqa": encoder().checksum[:16]}


def test_a_scene_adds_its_columns_in_space_and_one_that_is_gone_takes_them_along(tmp_path):
    """Its views are asked for depth where a stamp has changed, and only then. A job that left none has no volume."""
    space = ["volume_iou", "f_score", "depth_error"]
    scorer = Scorer(ONE, WORLD, dataclasses.replace(KNOWN, shape=in_space))
    job = write_job(tmp_path, "sdi", WORLD[3], 0, ball(8))
    asked = []

    def scene(name, depth=1.65):
        return Depths(
            name, orbit(8), lambda side: asked.append((name, side)) or at_once(torch.full((8, 1, side, side), depth))
        )

    assert score_job(job, scorer, scene("one"))
    assert scores_of(job)["depth_error"].tolist() == pytest.approx([0.05] * 8, abs=1e-5)
    assert not score_job(job, scorer, scene("one"))
    assert score_job(job, scorer, scene("other", 1.7))
    assert scores_of(job)["depth_error"].tolist() == pytest.approx([0.1] * 8, abs=1e-5)
    assert asked == [("one", 32), ("other", 32)]
    assert score_job(job, scorer)
    assert not {*space} & {*scores_of(job)}
    lost = write_job(tmp_path, "sds", WORLD[3], 0, None, "non-finite")
    assert score_job(lost, scorer)
    assert scores_of(lost)[["volume_iou", "f_score"]].to_numpy().max() == 0
    assert scores_of(lost)["depth_error"].isna().all()


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


def test_scored_jobs_are_left_alone(tmp_path, scorer, computed):
    job = write_job(tmp_path, "sdi", WORLD[0], 0, ball(8))
    assert score_run(tmp_path, scorer).fresh == [job]
    assert computed == [*CLIP, *TRUTH, "opacity", *HIDDEN]
    before = {file: (job / file).stat().st_mtime_ns for file in ("scores.csv", "scores.json")}
    assert score_run(tmp_path, Scorer(ONE, WORLD, KNOWN)) == ([], {})
    assert {file: (job / file).stat().st_mtime_ns for file in before} == before


@pytest.mark.parametrize(
    ("change", "again"),
    [
        (lambda s: s.judges.update(clip=turned("another")), ["clip_score", "r_precision", "front_back_cosine"]),
        (lambda s: s.judges.update(iqa=turned("another")), ["iqa_quality", "iqa_sharpness", "iqa_real"]),
        (lambda s: s.judges.update(clip2=turned("another")), ["r_precision_2"]),
        (lambda s: s.judges.update(reward=reward()), ["image_reward"]),
        (lambda s: setattr(s, "truth", Truth(true_ball, lambda text: "another")), [*TRUTH, *HIDDEN]),
        (lambda s: setattr(s, "truth", Truth(true_ball, lambda text: "a ball", 2)), ["agreement"]),
        (lambda s: setattr(s, "asked", frozenset({"directions"})), ["view_preference"]),
        (lambda s: s.__init__(s.judges, WORLD[:5], KNOWN), ["r_precision"]),
        (lambda s: s.__init__(s.judges, [*WORLD[:4], CAT, *WORLD[5:]], KNOWN), ["r_precision"]),
    ],
)
def test_only_what_depends_on_a_change_is_scored_again(tmp_path, computed, change, again):
    """And what is scored again is as if it had been scored alone; what does not depend has not changed."""
    job, fresh = (write_job(tmp_path / name, "sdi", WORLD[0], 0, ball(8)) for name in ("one", "two"))
    score_job(job, Scorer(ONE, WORLD, KNOWN))
    before = scores_of(job)
    computed.clear()
    other = Scorer(ONE, WORLD, KNOWN)
    change(other)
    if other.truth and other.truth.variants == 2:  # measured again, for the ball has one
        other.truth = Truth(lambda text: tuple(x.repeat(2, 1, 1, 1, 1) for x in true_ball(text)), KNOWN.fingerprint, 2)
    assert score_job(job, other)
    assert computed == again
    score_job(fresh, other)
    pd.testing.assert_frame_equal(scores_of(job), scores_of(fresh))
    kept = [c for c in before if c not in again]
    pd.testing.assert_frame_equal(scores_of(job)[kept], before[kept])
    assert not score_job(job, other)


def test_another_text_of_a_prompt_is_another_score(tmp_path, scorer, computed):
    job = write_job(tmp_path, "sdi", WORLD[0], 0, ball(8))
    score_job(job, scorer)
    everything = [*computed]
    computed.clear()
    score_job(job, Scorer(ONE, [dataclasses.replace(WORLD[0], text="A green car"), *WORLD[1:]], KNOWN))
    assert computed == everything


@pytest.mark.parametrize("kind", ["rgb", "opacity"])
def test_other_pictures_are_scored_again(tmp_path, scorer, computed, kind):
    job = write_job(tmp_path, "sdi", WORLD[0], 0, ball(8))
    score_job(job, scorer)
    everything = [*computed]
    computed.clear()
    file = job / "views" / f"{kind}_003.png"
    Image.open(file).transpose(Image.Transpose.FLIP_LEFT_RIGHT).rotate(90).save(file)
    assert score_job(job, scorer)
    assert computed == everything


@pytest.mark.parametrize("change", [{"version": 2}, {"function": lambda seen: seen.rgb.mean((1, 2, 3))}])
def test_another_version_or_code_of_a_metric_is_another_score(tmp_path, scorer, monkeypatch, change):
    job = write_job(tmp_path, "sdi", WORLD[0], 0, ball(8))
    score_job(job, scorer)
    before = json.loads((job / "scores.json").read_text())["stamps"]
    first, *others = metrics.METRICS
    monkeypatch.setattr(metrics, "METRICS", (dataclasses.replace(first, **change), *others))
    assert score_job(job, scorer)
    after = json.loads((job / "scores.json").read_text())["stamps"]
    assert {key for key in before if before[key] != after[key]} == {"clip_score"}


def test_a_second_clip_already_there_gets_its_score_when_it_is_asked_for(tmp_path, computed):
    job, second = write_job(tmp_path, "sdi", WORLD[2], 0, ball(8)), turned("s" * 64)
    score_job(job, Scorer(ONE | {"clip2": second}, WORLD, KNOWN))
    assert "clip_score_2" not in scores_of(job)
    computed.clear()
    assert score_job(job, Scorer(ONE | {"clip2": second}, WORLD, KNOWN, {"asked"}))
    assert computed == ["clip_score_2"]
    image, text = second.images((ball(8)[0] * 255).round() / 255), second.texts([WORLD[2].text])[0]
    expected = (100 * image @ text).clamp(min=0)
    assert scores_of(job)["clip_score_2"].to_numpy() == pytest.approx(expected.numpy(), abs=1e-3)


def test_every_need_of_a_metric_can_be_met():
    judges = dict.fromkeys(("clip", "iqa", "clip2", "reward"), encoder())
    scorer = Scorer(judges, WORLD, Truth(true_ball, lambda text: "", 2, in_space), {"asked", "directions"})
    assert list(scorer.stamps(WORLD[0].id, "pictures", True, "a scene")) == [
        m.key for m in metrics.METRICS if not outside.OUTSIDE.keys() & set(m.needs)
    ]
    assert len({m.key for m in metrics.METRICS}) == len(metrics.METRICS)


def test_a_second_encoder_and_a_reward_add_their_columns(tmp_path, scorer):
    job = write_job(tmp_path, "sdi", WORLD[2], 0, ball(8))
    score_job(job, scorer)
    before, second = scores_of(job), turned("s" * 64)
    full = Scorer(ONE | {"clip2": second, "reward": reward()}, WORLD, KNOWN)
    assert score_job(job, full)
    assert not score_job(job, full)
    scores = scores_of(job)
    more = ["image_reward", "r_precision", "r_precision_2", "front_back_cosine"]
    assert [*scores] == ["view", "azimuth", *CLIP[:4], *more, *TRUTH, "opacity", *HIDDEN]
    rgb = (ball(8)[0] * 255).round() / 255
    expected = reward().score(rgb, WORLD[2].text)
    assert scores["image_reward"].to_numpy() == pytest.approx(expected.numpy(), abs=1e-4)
    image, texts = second.images(rgb), second.texts([p.text for p in WORLD])
    assert scores["r_precision_2"].tolist() == (100.0 * ((image @ texts.mT).argmax(-1) == 2)).tolist()
    assert score_job(job, scorer)  # without them again, the columns go
    pd.testing.assert_frame_equal(scores_of(job), before)


def test_clip_iqa_by_an_encoder_of_its_own_or_by_none(tmp_path, scorer):
    job = write_job(tmp_path, "sdi", WORLD[2], 0, ball(8))
    score_job(job, scorer)
    before = scores_of(job)
    assert score_job(job, Scorer(ONE | {"iqa": turned("i" * 64)}, WORLD, KNOWN))
    assert scores_of(job)["iqa_real"].to_numpy() == pytest.approx(100 - before["iqa_real"].to_numpy(), abs=0.1)
    without = Scorer({"clip": encoder()}, WORLD, KNOWN)
    assert score_job(job, without)
    assert not score_job(job, without)
    rest = [c for c in before if not c.startswith("iqa_")]
    pd.testing.assert_frame_equal(scores_of(job), before[rest])
    assert score_job(job, scorer)
    pd.testing.assert_frame_equal(scores_of(job), before)


@pytest.mark.parametrize("file", ["scores.csv", "scores.json"])
@pytest.mark.parametrize("content", ["", "{}", "view,azimuth\n0,0\n", "[1]", '{"scores": 1}', None])
def test_scores_that_are_torn_edited_or_gone_are_written_again(tmp_path, scorer, file, content):
    job = write_job(tmp_path, "sdi", WORLD[0], 0, ball(8))
    score_job(job, scorer)
    text = (job / file).read_text()
    (job / file).unlink() if content is None else (job / file).write_text(content)
    assert score_job(job, scorer)
    assert (job / file).read_text() == text


def test_an_edited_number_is_measured_again(tmp_path, scorer):
    job = write_job(tmp_path, "sdi", WORLD[0], 0, ball(8))
    score_job(job, scorer)
    text = (job / "scores.csv").read_text()
    scores_of(job).assign(clip_score=99.0).to_csv(job / "scores.csv", index=False)
    assert score_job(job, scorer)
    assert (job / "scores.csv").read_text() == text


def test_scores_from_before_stamps_are_made_again(tmp_path, scorer):
    job = write_job(tmp_path, "sdi", WORLD[0], 0, ball(8))
    score_job(job, scorer)
    text = (job / "scores.csv").read_text()
    (job / "scores.json").unlink()
    stamp = {"encoder": encoder().checksum[:16], "candidates": "01 02", "truth": "known"}
    scores_of(job).assign(**stamp).to_csv(job / "scores.csv", index=False)
    assert score_job(job, scorer)
    assert (job / "scores.csv").read_text() == text


def test_sound_jobs_are_scored_beside_bad_ones(tmp_path, scorer):
    good, torn, gap, strange = (
        write_job(tmp_path, "sdi", prompt, 0, ball(8))
        for prompt in (WORLD[0], WORLD[1], WORLD[2], dataclasses.replace(WORLD[0], id="99-moon"))
    )
    assert score_run(tmp_path, scorer).fresh == [good, torn, gap]
    (torn / "views" / "rgb_002.png").write_bytes(b"torn")
    (gap / "views" / "rgb_005.png").unlink()
    (tmp_path / "mine").mkdir()
    save(ball(1)[0][0], tmp_path / "mine" / "rgb_0.png")
    scored = score_run(tmp_path, Scorer(ONE | {"reward": reward()}, WORLD, KNOWN))
    assert scored.fresh == [good]
    assert {*scored.bad} == {torn, gap, strange, tmp_path / "mine"}
    assert "is damaged" in scored.bad[torn]
    assert "is missing" in scored.bad[gap]
    assert "no prompt '99-moon'" in scored.bad[strange]
    assert "are not scored" in scored.bad[tmp_path / "mine"]
    assert [f.parent.parent.name for f in tmp_path.glob("*/*/0/scores.csv")] == [WORLD[0].id], "of other pictures"
    jobs = load(tmp_path).jobs
    assert jobs["scored"].sum() == 1


def test_a_run_in_which_nothing_can_be_scored_is_refused(tmp_path, scorer):
    job = write_job(tmp_path, "sdi", WORLD[0], 0, ball(8))
    (job / "views" / "rgb_002.png").write_bytes(b"torn")
    with pytest.raises(UserError, match="is damaged"):
        score_run(tmp_path, scorer)


def test_pictures_of_a_name_that_is_not_known_are_no_silence(tmp_path, scorer):
    write_job(tmp_path, "sdi", WORLD[0], 0, ball(8))
    folder = tmp_path / "mine" / WORLD[1].id / "0"
    folder.mkdir(parents=True)
    save(ball(1)[0][0], folder / "front.png")
    assert "There are no views" in score_run(tmp_path, scorer).bad[folder]


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
    assert score_run(tmp_path, scorer, lambda path, fresh: told.append((path, fresh))).fresh == [folder]
    assert told == [(folder, True)]
    scores = pd.read_csv(folder / "scores.csv")
    assert [*scores] == ["view", "azimuth", *CLIP]
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
    assert Scorer(ONE, [long, WORLD[1]]).cut() == {"clip": [long.id]}
    mine = own("A ripe pear " * 30)
    assert Scorer(ONE, [WORLD[1]]).cut([mine]) == {"clip": [mine.id]}


def test_a_prompt_of_ones_own_is_ranked_with_the_suites_and_changes_no_other_job(tmp_path, scorer):
    first = write_job(tmp_path, "sdi", WORLD[0], 0, ball(8))
    score_run(tmp_path, scorer)
    before = (first / "scores.csv").read_text(), (first / "scores.json").read_text()
    mine = own("A pear and a half")
    job = write_job(tmp_path, "sdi", mine, 0, ball(8))
    assert score_run(tmp_path, scorer, truth=lambda folder: None if folder == job else KNOWN).fresh == [job]
    assert before == ((first / "scores.csv").read_text(), (first / "scores.json").read_text())
    scores = scores_of(job)
    assert "r_precision" in scores
    assert not {"iou", "psnr"} & set(scores)
    assert json.loads((job / "scores.json").read_text())["about"]["candidates"].split()[-1] == "own"


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


def test_a_folder_that_cannot_be_written_to_is_a_sentence(tmp_path, scorer, monkeypatch):
    job = write_job(tmp_path, "sdi", WORLD[0], 0, ball(8))

    def refused(path, text):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(files, "write_text", refused)
    with pytest.raises(UserError, match=r"cannot be written: .*Permission denied"):
        score_job(job, scorer)


def test_several_commands_share_the_scoring_and_nobody_moves_views_meanwhile(tmp_path, scorer, computed):
    """What another command has comes last, when it has ended; a folder that is scored is held."""
    jobs = [write_job(tmp_path, "sds", prompt, 0, ball()) for prompt in WORLD[:3]]
    order, taken = [], []

    def each(job, new):
        order.append((job.parent.name, new))
        with locks.held(job, wait=False) as ours:
            taken.append(ours)
        if len(order) == 2:
            other.close()

    other = contextlib.ExitStack()
    other.enter_context(locks.held(jobs[0]))
    assert score_run(tmp_path, scorer, each).fresh == [jobs[1], jobs[2], jobs[0]]
    assert order == [(job.parent.name, True) for job in (jobs[1], jobs[2], jobs[0])]
    assert taken == [False] * 3
    with locks.held(jobs[0], wait=False) as ours:
        assert ours


def test_a_record_of_a_later_version_is_no_failure_and_keeps_its_scores(tmp_path, scorer):
    job = write_job(tmp_path, "sds", WORLD[0], 0, ball())
    score_run(tmp_path, scorer)
    record = json.loads((job / "record.json").read_text())
    (job / "record.json").write_text(json.dumps(record | {"version": 99}))
    for use in (lambda: score_run(tmp_path, scorer), lambda: load(tmp_path)):
        with pytest.raises(NewerError, match="version 99"):
            use()
    assert (job / "scores.csv").exists()
