"""The tuned track beside the controlled one: pairs are of the same prompts, differences are right."""

import json
import shutil
import sys

import pandas as pd
import pytest
import torch

from engine.studies import tuned as study
from engine.studies.gather import gather
from errors import UserError
from eval.score import Scores, write
from reports import load
from tests.reports.synthetic import JUDGED, WORLD, ball, random_scores, write_job

GAIN = {"sdi": 2.0, "sds": 5.0}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Controlled and tuned: of the second, CLIP scores are higher by GAIN and a little that differs by prompt, and one
    prompt is missing."""
    made = {}
    for track in ("controlled", "tuned"):
        made[track] = tmp_path_factory.mktemp("runs") / track
        for method, gain in GAIN.items():
            for k, prompt in enumerate(WORLD[: 4 if track == "controlled" else 3]):
                scores = random_scores(torch.Generator().manual_seed(k))
                if track == "tuned":
                    scores["clip_score"] = scores["clip_score"] + gain + 0.01 * k
                job = write_job(made[track], method, prompt, 0, ball(8))
                stamps = {metric: {"version": 1} for metric in scores}
                write(job, Scores({metric: values.tolist() for metric, values in scores.items()}, stamps, JUDGED))
    return made


def test_differences_are_paired_by_rule_and_prompt(runs):
    found = study.beside(load(runs["controlled"]), load(runs["tuned"])).set_index(["metric", "method"])
    for method, gain in GAIN.items():
        row = found.loc["clip_score", method]
        assert row["mean"] == pytest.approx(gain + 0.01)
        assert row["tuned"] - row["controlled"] == pytest.approx(gain + 0.01)
        assert row["n_prompts"] == 3
        assert row["low"] < gain + 0.01 < row["high"]
        assert row["p_holm"] < 0.01
        assert found.loc["psnr", method]["mean"] == 0


def test_the_command_writes_a_table_and_a_figure(runs, tmp_path, monkeypatch, capsys):
    archives = []
    for track, run in runs.items():
        archives.append(tmp_path / f"{track}.tar.xz")
        gather([run], archives[-1])
    best = {"cfg": 25.0, "inversion_cfg": -7.5, "lr": 0.02}
    monkeypatch.setattr(study, "best_of", lambda path: {"best": best})
    monkeypatch.setattr(study, "place", lambda suite, method: tmp_path)
    arguments = [*map(str, archives), "--table", str(tmp_path / "t.md"), "--figure", str(tmp_path / "t.png")]
    monkeypatch.setattr(sys, "argv", ["tuned", *arguments])
    assert study.main() == 0
    text = (tmp_path / "t.md").read_text()
    assert text == capsys.readouterr().out
    assert "| sds " in text
    assert "CFG 25, inversion's CFG -7.5, lr 0.02" in text
    assert "+5.01† [" in text
    assert (tmp_path / "t.png").read_bytes()[:4] == b"\x89PNG"
    rows = pd.read_csv(tmp_path / "t.csv").set_index(["method", "metric"])
    assert rows.loc[("sds", "clip_score"), "mean"] == pytest.approx(5.01)


def test_tracks_without_a_rule_in_common_are_refused(runs, tmp_path):
    other = tmp_path / "run"
    job = write_job(other, "vsd", WORLD[0], 0, ball(8))
    scores = random_scores(torch.Generator().manual_seed(0))
    write(job, Scores({k: v.tolist() for k, v in scores.items()}, {k: {"version": 1} for k in scores}, JUDGED))
    with pytest.raises(UserError, match="no rule's object in common"):
        study.beside(load(runs["controlled"]), load(other))


def test_means_and_differences_are_over_the_same_jobs_where_one_diverged(runs, tmp_path):
    tuned = shutil.copytree(runs["tuned"], tmp_path / "tuned")
    record = tuned / "sds" / WORLD[0].id / "0" / "record.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"status": "non-finite"}))
    row = study.beside(load(runs["controlled"]), load(tuned)).set_index(["metric", "method"]).loc["clip_score", "sds"]
    assert row["n_prompts"] == 2
    assert row["tuned"] - row["controlled"] == pytest.approx(row["mean"]) == pytest.approx(5.015)


def test_tracks_of_two_priors_are_refused(runs, tmp_path):
    tuned = shutil.copytree(runs["tuned"], tmp_path / "tuned")
    for config in tuned.glob("*/*/*/config.json"):
        facts = json.loads(config.read_text())
        config.write_text(json.dumps(facts | {"prior": {"name": "tiny", "checksum": "q" * 64}}))
    with pytest.raises(UserError, match="they differ in prior"):
        study.beside(load(runs["controlled"]), load(tuned))
