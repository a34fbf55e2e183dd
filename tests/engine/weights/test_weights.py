"""Where published weights are looked for, and a wrong variant told by its configuration."""

import json
from pathlib import Path

import pytest

from engine.weights import manifest as weights
from errors import UserError
from run_benchmark import main
from tests.priors.folders import edit
from tests.tiny import write_prior


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({"HF_HOME": "/h"}, "/h/score-distillation"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/score-distillation"),
        ({"HOME": "/me"}, "/me/.cache/huggingface/score-distillation"),
        ({"HOME": "/me", "HF_HOME": "~/h", weights.PLACE: "~/w"}, "/me/w"),
    ],
)
def test_the_place_of_all_weights(monkeypatch, environment, place):
    for name in ("HF_HOME", "XDG_CACHE_HOME", weights.PLACE):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert str(weights.place()) == place


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("priors")
    return {p: str(write_prior(root / p, prediction=p)) for p in ("epsilon", "v_prediction")}


def refused(capsys, tmp_path, *arguments):
    assert main(["--suite", "paper", "--methods", "vsd", "--limit", "1", "--out", str(tmp_path), *arguments]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    return err


def test_what_is_in_the_place_of_the_papers_prior_is_refused_where_it_predicts_v(folders):
    with pytest.raises(UserError, match=r"predicts v: it is .* the paper's is 2\.1-base.*as --phi"):
        weights.refuse_wrong_variant(folders["v_prediction"], None)


def test_results_of_another_prior_of_ones_own_are_open(folders):
    from engine.plan import opened_by
    from suites import SUITES

    assert "4 x 4 pixels a latent" in opened_by(SUITES["paper"], folders["epsilon"], None)
    for folder in folders.values():
        edit(Path(folder) / "vae/config.json", block_out_channels=[4, 4, 8, 8])
    assert opened_by(SUITES["paper"], folders["v_prediction"], None) == "predicts v"
    assert "the adapter a.safetensors" in opened_by(SUITES["paper"], folders["epsilon"], "x/a.safetensors")
    assert opened_by(SUITES["paper"], folders["epsilon"], None) == ""
    assert opened_by(SUITES["world"], folders["v_prediction"], None) == ""


def test_a_phi_that_predicts_eps_is_refused(capsys, tmp_path, folders):
    err = refused(capsys, tmp_path, "--prior", folders["epsilon"], "--phi", folders["epsilon"])
    assert "predicts eps" in err
    assert "leave --phi out" in err


def test_latents_of_96_are_refused(tmp_path):
    for part, config in {"unet/config": {"sample_size": 96}, "scheduler/scheduler_config": {}}.items():
        (tmp_path / part).parent.mkdir()
        (tmp_path / f"{part}.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="latents of 96 where"):
        weights.refuse_wrong_variant(str(tmp_path), None)


def test_the_right_pair_and_what_cannot_be_read_pass(folders, tmp_path):
    weights.refuse_wrong_variant(folders["epsilon"], folders["v_prediction"])
    weights.refuse_wrong_variant(folders["epsilon"], None)
    weights.refuse_wrong_variant("random:sd21", None)
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet/config.json").write_text("{")
    weights.refuse_wrong_variant(str(tmp_path), None)


def test_a_damaged_lock_is_one_sentence(tmp_path):
    (tmp_path / weights.LOCK).write_text("{")
    with pytest.raises(UserError, match="delete it to pin"):
        weights.read_lock(tmp_path)
