"""Differences and their tests, and whether judges agree with the truth, on runs whose answers are known."""

import io

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

from errors import UserError
from eval.metrics import METRICS
from reports import load, tables
from reports.uncertainty import agreement, differences
from run_benchmark import main
from tests.reports.synthetic import WORLD, random_scores, write_job

METHODS = ("sds", "sdi", "ism")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Five prompts, two seeds. sdi is better than sds by 2 in CLIP score; ism as good. IoU follows the CLIP score,
    chroma runs against it."""
    run, rng = tmp_path_factory.mktemp("run"), torch.Generator().manual_seed(0)
    for p, prompt in enumerate(WORLD[:5]):
        for seed in (0, 1):
            for k, method in enumerate(METHODS):
                scores = random_scores(rng)
                noise = torch.randn(8, generator=rng)
                level = 2.0 * (method == "sdi") + 0.1 * k + 0.2 * seed + p
                scores |= {"clip_score": 60 + level + 0.3 * noise, "iou": 0.5 + 0.02 * level + 0 * noise}
                scores |= {"chroma": 1.1 + 0.1 * level + 0 * noise}
                write_job(run, method, prompt, seed, scores=scores)
    return run


@pytest.fixture(scope="module")
def frames(run):
    return load(run)


def printed(show, *what):
    out = io.StringIO()
    show(*what, Console(file=out, width=100))
    return out.getvalue()


def test_a_difference_that_is_there_is_seen_and_one_that_is_not_is_not(frames):
    gaps = differences.differences(frames, "sds").set_index(["method", "metric"])
    seen, unseen = gaps.loc[("sdi", "clip_score")], gaps.loc[("ism", "clip_score")]
    assert seen["low"] < 2.1 < seen["high"]
    assert seen["p"] <= seen["p_holm"] < 0.05
    assert seen["n_prompts"] == 5
    assert unseen["low"] < 1
    assert unseen["high"] > -1
    family = gaps.xs("clip_score", level="metric")
    assert family["p_holm"].max() >= family["p"].max()
    assert np.isclose(family["p_holm"].min(), 2 * family["p"].min())


def test_differences_are_printed_with_intervals_and_stars(frames):
    gaps = differences.differences(frames, "sds")
    text = printed(differences.show, gaps)
    assert differences.STAR in next(line for line in text.splitlines() if "CLIP score" in line)
    found = differences.needed(gaps, "clip_score", 0.5)
    assert (found["needed"] >= 3).all()
    assert "prompts to be seen four times in five" in printed(differences.show_needed, found)
    with pytest.raises(UserError, match="There is no metric of this run 'clip'"):
        differences.needed(gaps, "clip", 0.5)
    with pytest.raises(UserError, match="There is no method of this run 'vsd'"):
        differences.differences(frames, "vsd")


def test_a_judge_agrees_with_what_it_follows_and_is_fooled_by_what_runs_against_it(frames):
    found = agreement.agreement(frames).set_index(["judge", "truth"])
    assert found.loc[("clip_score", "iou"), "tau"] > 0.6
    assert found.loc[("clip_score", "chroma"), "tau"] < -0.6
    assert found["tau"].between(-1, 1).all()
    assert found.loc[("clip_score", "iou"), ["n_prompts", "n_jobs"]].tolist() == [5, 30]
    judges = {m.key for m in METRICS if "truth" not in m.needs}
    assert {judge for judge, _ in found.index} <= judges
    text = printed(agreement.show, agreement.agreement(frames))
    assert "CLIP score is fooled: it prefers what is worse in Chroma" in " ".join(text.split())


def test_two_jobs_are_no_order(tmp_path):
    rng = torch.Generator().manual_seed(0)
    for method in METHODS[:2]:
        write_job(tmp_path, method, WORLD[0], scores=random_scores(rng))
    with pytest.raises(UserError, match="No prompt has 3 jobs"):
        agreement.agreement(load(tmp_path))


def test_seeds_are_a_level_of_their_own(frames):
    row = tables.make(frames).set_index("method").loc["sdi"]
    assert row["iou_seed_sd"] == pytest.approx(0.02 * 0.2 / 2**0.5, rel=1e-3)
    assert row["iou_low"] < row["iou_mean"] < row["iou_high"] <= 1


def test_the_command_prints_and_writes_them(run, capsys):
    assert main(["table", str(run), "--against", "sds", "--see", "iou=0.01", "--judges"]) == 0
    assert "Paired differences to sds" in capsys.readouterr().out
    assert {"p_holm", "detectable"} <= set(pd.read_csv(run / "differences.csv"))
    assert len(pd.read_csv(run / "agreement.csv"))
    for wrong in (["--see", "iou=1"], ["--against", "sds", "--see", "iou"], ["--against", "sd"]):
        assert main(["table", str(run), *wrong]) == 2
