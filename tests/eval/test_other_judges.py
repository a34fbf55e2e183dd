"""A judge in an environment of its own: asked, answered, kept, and every way in which it is not there."""

from __future__ import annotations

import json
import sys
import zipfile
from dataclasses import replace

import pandas as pd
import pytest
import torch
from PIL import Image

from engine.scoring import judges
from errors import UserError
from eval import outside
from eval.outside import asked, named
from eval.outside.process import Lost, OutsideJudge
from eval.score import scores_of
from run_benchmark import main
from suites import SUITES
from suites.base import Judges, Suite
from tests.eval.clip import folder as clip_folder
from tests.reports.synthetic import WORLD, ball, write_job

# stands for the package: brightness, and what its environment is; a prompt can ask for trouble
STAND_IN = """
import os, sys
import numpy as np
print("a package that talks", flush=True)
def score(images, prompt, hps_version):
    assert os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] == "1" and hps_version == "v2.1"
    assert not any(name.split(".")[0] in ("eval", "engine") for name in sys.modules)
    if "dies" in prompt:
        os._exit(3)
    if "raises" in prompt:
        raise RuntimeError("no such thing")
    return [float("nan") if "nan" in prompt else np.asarray(image).mean() / 255 for image in images]
"""


@pytest.fixture
def uv(tmp_path, monkeypatch):
    """In place of uv: the environment is this one, with the package in it; what it was told is kept."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "hpsv2.py").write_text(STAND_IN)
    program = tmp_path / "bin" / "uv"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/told\nfor last; do :; done\n'
        f'PYTHONPATH={tmp_path}/site exec {sys.executable} "$last"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return tmp_path / "told"


@pytest.fixture
def judge():
    made = OutsideJudge(named("hpsv2"), None, "")
    yield made
    made.close()


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Two jobs, in a suite of their prompts with a small CLIP."""
    suite = Suite(
        "world", "balls", tuple(WORLD), {"controlled": "controlled"}, tmp_path, (3, 8, 8), Judges(clip_folder())
    )
    monkeypatch.setitem(SUITES, "world", suite)
    monkeypatch.setenv("SCORE_DISTILLATION_WEIGHTS", str(tmp_path / "weights"))
    for prompt in WORLD[:2]:
        write_job(tmp_path / "run", "sdi", prompt, 0, ball(4, hue=1))
    return tmp_path / "run"


def test_a_judge_answers_for_each_view(uv, judge):
    images = torch.rand(11, 3, 8, 6, generator=torch.Generator().manual_seed(0)).mul(255).round() / 255
    torch.testing.assert_close(judge.score(images, "a cup"), images.mean((1, 2, 3)), atol=1e-6, rtol=0)
    assert judge.score(images[:1], "a cup").shape == (1,)
    assert uv.read_text().count("\n") == 1  # one process for all
    assert "run --isolated --no-project --python 3.11 --with hpsv2==1.2.0" in uv.read_text()


@pytest.mark.parametrize(
    ("prompt", "said"),
    [("nan", "it gave nan"), ("raises", "no such thing"), ("dies", "ended with code 3: a package that talks")],
)
def test_a_judge_that_fails_says_how(uv, judge, prompt, said):
    with pytest.raises(Lost, match=said):
        judge.score(torch.zeros(1, 3, 4, 4), prompt)


def test_scores_become_columns_and_are_kept(uv, run, capsys):
    words = ["score", str(run), "--suite", "world", "--judge", "hpsv2"]
    assert main(words) == 2  # nobody is there to accept the licence
    assert "give --accept-licence" in capsys.readouterr().err
    assert main([*words, "--accept-licence"]) == 0
    assert "Licence: hpsv2 1.2.0: Apache 2.0." in capsys.readouterr().out
    job = run / "sdi" / WORLD[0].id / "0"
    column = pd.read_csv(job / "scores.csv")["outside_hpsv2"]
    assert column.between(0.1, 0.9).all()
    assert json.loads((job / "scores.json").read_text())["stamps"]["outside_hpsv2"]["hpsv2"]
    assert "HPSv2.1 ↑" in (run / "table.md").read_text()
    assert main(words) == 0  # accepted before, and nothing to do
    assert main(["score", str(run), "--suite", "world"]) == 0
    assert uv.read_text().count("\n") == 1
    assert pd.read_csv(job / "scores.csv")["outside_hpsv2"].equals(column)
    assert pd.read_csv(run / "table.csv")["outside_hpsv2_mean"].notna().all()
    Image.new("RGB", (32, 32)).save(next((job / "views").glob("rgb_*1.png")))
    assert main(["score", str(run), "--suite", "world"]) == 0
    assert "outside_hpsv2" not in pd.read_csv(job / "scores.csv")  # of other pictures


def test_what_is_not_there_is_said_in_a_sentence_and_touches_no_score(uv, run, monkeypatch, capsys):
    words = ["score", str(run), "--suite", "world", "--accept-licence", "--judge"]
    assert main(["score", str(run), "--suite", "world"]) == 0
    before = (run / "sdi" / WORLD[0].id / "0" / "scores.csv").read_bytes()
    for name, said in {
        "hpsv3": "There is no judge 'hpsv3': did you mean 'hpsv2'?",
        "image-reward": "needs weights as they are published, and the suite has none here",
        "hpsv2=/nowhere": "brings its own weights",
        f"image-reward={run}": "has no ImageReward.safetensors",
    }.items():
        assert main([*words, name]) == 2
        assert said in capsys.readouterr().err
    (uv.parent / "bin" / "uv").write_text(
        "#!/bin/sh\necho 'error: No solution found: the network is off' >&2\nexit 1\n"
    )
    assert main([*words, "hpsv2"]) == 2
    said = capsys.readouterr().err
    assert "cannot be opened (it ended with code 1: error: No solution found: the network is off)" in said
    assert "needs the network" in said
    monkeypatch.setenv("PATH", "/nowhere")
    assert main([*words, "hpsv2"]) == 2
    assert "needs uv" in capsys.readouterr().err
    assert (run / "sdi" / WORLD[0].id / "0" / "scores.csv").read_bytes() == before


def test_judges_that_compute_what_ours_do_are_set_beside_them(uv, run, monkeypatch, capsys):
    monkeypatch.setitem(outside.OUTSIDE, "hpsv2", replace(named("hpsv2"), weights="clip", like="clip_score"))
    assert main(["score", str(run), "--suite", "world", "--judge", "hpsv2", "--accept-licence"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    columns = scores_of(run / "sdi" / WORLD[0].id / "0").columns
    gap = max(abs(a - b) for a, b in zip(columns["outside_hpsv2"], columns["clip_score"], strict=True))
    assert f"hpsv2 beside our clip_score, on the same weights: over 8 views they differ by {gap:.2g} at most" in said


def test_an_environment_is_made_by_uv_itself(tmp_path):
    import shutil

    if shutil.which("uv") is None:
        pytest.skip("uv is not here")
    wheel = tmp_path / "hpsv2-9.9-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as packed:
        packed.writestr("hpsv2.py", STAND_IN)
        packed.writestr("hpsv2-9.9.dist-info/METADATA", "Metadata-Version: 2.1\nName: hpsv2\nVersion: 9.9\n")
        packed.writestr("hpsv2-9.9.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        packed.writestr("hpsv2-9.9.dist-info/RECORD", "")
    declared = replace(named("hpsv2"), packages=(str(wheel), "numpy", "pillow"), python=sys.executable)
    judge = OutsideJudge(declared, None, "")
    try:
        assert judge.score(torch.full((2, 3, 4, 4), 0.2), "a cup").tolist() == pytest.approx([0.2, 0.2], abs=1e-6)
    except UserError as error:
        pytest.skip(f"no network for numpy: {error}")
    finally:
        judge.close()


def test_every_judge_is_declared_whole():
    for name, judge in outside.OUTSIDE.items():
        assert named(name) is judge
        assert judge.bounds[0] < judge.bounds[1]
        assert judge.licence
        assert any("==" in package for package in judge.packages)
    assert len({judge.metric.key for judge in outside.OUTSIDE.values()}) == len(outside.OUTSIDE)
    assert not set(outside.OUTSIDE) & judges.needs_of(SUITES["world"], judges.judges_of(SUITES["world"]))
    assert asked.asked([], {}, "cpu") == {}
