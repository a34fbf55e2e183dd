"""Results gathered piece by piece are those of all at once; what does not fit is refused, and nothing is lost."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest
import torch

from engine.studies import gather as study
from engine.studies.gather import gather
from errors import UserError
from eval.score import Scores, write
from tests.reports.synthetic import JUDGED, WORLD, ball, random_scores, write_job


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two rules on two prompts; one job of sds diverged, one of vsd was not scored, one failed."""
    folder, rng = tmp_path_factory.mktemp("gather") / "run", torch.Generator().manual_seed(0)
    for method in ("sdi", "sds"):
        for prompt in WORLD[:2]:
            job, scores = write_job(folder, method, prompt, 0, ball(8)), random_scores(rng)
            stamps = {metric: {"version": 1} for metric in scores}
            write(job, Scores({metric: values.tolist() for metric, values in scores.items()}, stamps, JUDGED))
    record = folder / "sdi" / WORLD[0].id / "0" / "record.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"scene": "e" * 64}))
    shutil.rmtree(folder / "sds" / WORLD[1].id)
    write_job(folder, "sds", WORLD[1], 0, None, status="non-finite")
    write_job(folder, "vsd", WORLD[0], 0, ball(8))
    write_job(folder, "vsd", WORLD[1], 0, None, status="crashed")
    return folder


def part(run, folder, methods):
    for method in methods:
        shutil.copytree(run / method, folder / method)
    return folder


def test_pieces_in_any_order_are_the_whole(run, tmp_path):
    whole, pieces = tmp_path / "whole.tar.xz", tmp_path / "pieces.tar.xz"
    assert gather([run], whole) == (4, 2)
    assert gather([part(run, tmp_path / "a", ["sds"])], pieces) == (2, 0)
    assert gather([part(run, tmp_path / "b", ["sdi", "vsd"])], pieces) == (4, 2)
    assert gather([run], pieces) == (4, 2)
    assert whole.read_bytes() == pieces.read_bytes()
    for suffix in (".md", ".csv"):
        assert (tmp_path / f"whole{suffix}").read_bytes() == (tmp_path / f"pieces{suffix}").read_bytes()
    assert whole.stat().st_size < 4_000


def test_the_tables_are_those_of_the_scores_and_are_made_again(run, tmp_path):
    archive = tmp_path / "world.tar.xz"
    gather([run], archive)
    table = pd.read_csv(tmp_path / "world.csv")
    first = table[table["method"] == "sdi"].iloc[0]
    common = pd.read_csv(run / "sdi" / WORLD[0].id / "0" / "scores.csv")["clip_score"]
    both = pd.concat(pd.read_csv(path) for path in run.glob("sdi/*/*/scores.csv"))["clip_score"]
    assert first["clip_score_mean"] == pytest.approx({1: common, 2: both}[first["n_prompts"]].mean(), rel=1e-5)
    before = (tmp_path / "world.md").read_text()
    (tmp_path / "world.md").unlink()
    gather([], archive)
    assert (tmp_path / "world.md").read_text() == before


def test_methods_with_more_prompts_have_a_table_of_their_own_and_each_prompt_its_means(run, tmp_path):
    whole = shutil.copytree(run, tmp_path / "run")
    shutil.copytree(whole / "sdi" / WORLD[0].id, whole / "csd" / WORLD[0].id)
    archive = tmp_path / "world.tar.xz"
    gather([whole], archive)
    of_all, most = pd.read_csv(tmp_path / "world.csv"), pd.read_csv(tmp_path / "world-2.csv")
    assert set(of_all["method"]) == {"sdi", "sds", "csd"}
    assert set(most["method"]) == {"sdi", "sds"}
    assert "csd" not in (tmp_path / "world-2.md").read_text()
    own = pd.read_csv(tmp_path / "world-prompts.csv").set_index(["prompt_id", "method"])["clip_score"]
    for prompt in WORLD[:2]:
        views = pd.read_csv(run / "sdi" / prompt.id / "0" / "scores.csv")["clip_score"]
        assert own[prompt.id, "sdi"] == pytest.approx(views.mean(), rel=1e-5)
    gather([run], tmp_path / "even.tar.xz")
    assert not list(tmp_path.glob("even-2*"))


def test_what_does_not_fit_is_refused_and_the_archive_stays(run, tmp_path):
    archive = tmp_path / "world.tar.xz"
    gather([run], archive)
    before, other = archive.read_bytes(), shutil.copytree(run, tmp_path / "other")
    config = other / "sdi" / WORLD[0].id / "0" / "config.json"
    right = config.read_text()
    config.write_text(json.dumps(json.loads(right) | {"prior": {"name": "tiny", "checksum": "q" * 64}}))
    with pytest.raises(UserError, match="the prior is"):
        gather([other], archive)
    config.write_text(right)
    record = config.with_name("record.json")
    record.write_text(json.dumps(json.loads(record.read_text()) | {"scene": "f" * 64}))
    with pytest.raises(UserError, match="differ in their scene"):
        gather([other], archive)
    assert archive.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "reason"),
    [("world.zip", "must end with .tar.xz"), ("none.tar.xz", "name a RUN"), ("cut.tar.xz", "cannot be read")],
)
def test_a_mistake_is_one_sentence(tmp_path, name, reason, monkeypatch, capsys):
    (tmp_path / "cut.tar.xz").write_bytes(b"\xfd7zXZ\x00cut")
    monkeypatch.setattr("sys.argv", ["gather", "--into", str(tmp_path / name)])
    assert study.main() == 2
    assert reason in " ".join(capsys.readouterr().err.split())
