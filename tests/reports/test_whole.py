"""Partial data never counts in silence: each fault is named, with exit code 2."""

import json

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from run_benchmark import main
from tests.reports.synthetic import WORLD, ball, random_scores, write_job


def cut(job):
    pd.read_csv(job / "scores.csv").head(3).to_csv(job / "scores.csv", index=False)


def score(key, value):
    def change(job):
        table = pd.read_csv(job / "scores.csv").astype({key: object})
        table.loc[2, key] = value
        table.to_csv(job / "scores.csv", index=False)

    return change


def twice(job):
    table = pd.read_csv(job / "scores.csv")
    table.loc[3, "view"] = 2
    table.to_csv(job / "scores.csv", index=False)


def truncated(job):
    save_file({"x": torch.zeros(100)}, job / "scene.safetensors")
    content = (job / "scene.safetensors").read_bytes()
    (job / "scene.safetensors").write_bytes(content[:-40])


def status(job):
    record = json.loads((job / "record.json").read_text())
    (job / "record.json").write_text(json.dumps(record | {"status": "fine"}))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut, "scores.csv has 3 rows of 8 views"),
        (twice, "not numbered from 0, each once"),
        (lambda job: (job / "views" / "opacity_003.png").unlink(), "the picture opacity_003 is missing"),
        (lambda job: (job / "views" / "rgb_007.png").unlink(), "scores.csv has 8 rows of 7 views"),
        (truncated, "scene.safetensors is damaged"),
        (score("clip_score", 99999), "scores.csv has 99999 for clip_score, which lies in 0 ... 100"),
        (score("psnr", "inf"), "scores.csv has inf for psnr"),
        (score("iou", -0.2), "scores.csv has -0.2 for iou"),
        (score("fog", "high"), "scores.csv has 'high' for fog"),
        (status, "has the status 'fine', which nobody knows"),
    ],
)
def test_what_is_not_whole_is_named(tmp_path, capsys, damage, said):
    rng = torch.Generator().manual_seed(0)
    jobs = [write_job(tmp_path, "sdi", prompt, 0, ball(8), scores=random_scores(rng)) for prompt in WORLD[:2]]
    damage(jobs[1])
    assert main(["table", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert str(jobs[1]) in error
    assert str(jobs[0]) not in error
    only_counts = damage is cut  # a view that is gone is no matter of scores
    assert (f"after a render, run_benchmark.py score {tmp_path} scores the new views" in error) == only_counts
