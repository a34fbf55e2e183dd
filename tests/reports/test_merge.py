"""Shards become one run; what is not of one protocol, or has two results, is named."""

import dataclasses
import json
import shutil

import pandas as pd
import pytest

from errors import UserError
from eval.score import Scorer, score_run
from reports import load
from reports.submissions import pack
from reports.submissions.merge import merged
from run_benchmark import main
from tests.eval.clip import encoder
from tests.reports.synthetic import WORLD, ball, write_job


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Two methods on three prompts, scored by a CLIP alone; the last job of sds diverged."""
    made = tmp_path_factory.mktemp("runs") / "whole"
    for k, prompt in enumerate(WORLD[:3]):
        for method in ("sdi", "sds"):
            lost = (method, k) == ("sds", 2)
            rgb, opacity = ball(8, 32, hue=k)
            job = write_job(made, method, prompt, 0, None if lost else (rgb, opacity),
                            status="non-finite" if lost else "finished")  # fmt: skip
            changed(job / "record.json", key=f"{method}{k}", scene=f"{method}{k}")
    score_run(made, Scorer({"clip": encoder()}, WORLD))
    return made


@pytest.fixture
def shards(whole, tmp_path):
    """The run as two machines made it: each has two prompts, the second both."""
    for name, prompts in (("a", WORLD[:2]), ("b", WORLD[1:3])):
        for method in ("sdi", "sds"):
            for prompt in prompts:
                shutil.copytree(whole / method / prompt.id, tmp_path / name / method / prompt.id)
    return tmp_path / "a", tmp_path / "b"


def changed(file, **facts):
    file.write_text(json.dumps(json.loads(file.read_text()) | facts))


def said(capsys, *arguments):
    code = main(["merge", *map(str, arguments)])
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return code, " ".join((out + err).split())


def files(folder):
    return {f.relative_to(folder): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def test_two_shards_are_the_run(whole, shards, tmp_path, capsys):
    a, b = shards
    before = files(a), files(b)
    changed(a / "sdi" / WORLD[1].id / "0" / "record.json", seconds=7.0, device="another")  # which decide no result
    code, told = said(capsys, a, b, "--out", tmp_path / "out")
    assert code == 0, told
    assert "6 jobs, 6 of them new, 2 of them in several runs" in told
    pd.testing.assert_frame_equal(load(tmp_path / "out").wide, load(whole).wide)
    assert {"table.csv", "table.md", "comparison.png"} <= {f.name for f in (tmp_path / "out").iterdir()}
    assert len(files(a)) == len(before[0])
    assert files(b) == before[1]
    assert "6 jobs, 0 of them new" in said(capsys, a, b, "--out", tmp_path / "out")[1]
    assert "6 jobs, 2 of them new" in said(capsys, a, b, "--out", a)[1]  # b is added to a


def test_packs_make_a_pack(whole, shards, tmp_path, capsys):
    a, b = shards
    pack.write(a, tmp_path / "a.zip")
    code, told = said(capsys, tmp_path / "a.zip", b, "--out", tmp_path / "all.zip")
    assert (code, "6 jobs, 2 of them in several runs" in told) == (0, True), told
    assert main(["compare", str(whole), str(tmp_path / "all.zip"), "--out", str(tmp_path / "side")]) == 0
    table = pd.read_csv(tmp_path / "side" / "compare.csv").set_index("method")
    assert table.loc["whole/sdi", "clip_score_mean"] == table.loc["all/sdi", "clip_score_mean"]
    code, told = said(capsys, tmp_path / "all.zip", "--out", tmp_path / "again.zip")
    assert (tmp_path / "all.zip").stat().st_size == pytest.approx((tmp_path / "again.zip").stat().st_size, rel=0.1)
    code, told = said(capsys, tmp_path / "a.zip", b, "--out", tmp_path / "folder")
    assert (code, "is a pack, which has no views: give --out a pack" in told) == (2, True)


def test_another_result_of_a_job_is_named_and_nothing_written(shards, tmp_path, capsys):
    a, b = shards
    job = b / "sdi" / WORLD[1].id / "0"
    for facts, what in (({"scene": "other"}, "scene"), ({"status": "out-of-memory"}, "status"), ({"key": "k"}, "key")):
        kept = (job / "record.json").read_text()
        changed(job / "record.json", **facts)
        code, told = said(capsys, a, b, "--out", tmp_path / "out")
        assert (code, (tmp_path / "out").exists()) == (2, False)
        assert f"sdi/{WORLD[1].id}/0 of a and of b differ in their {what}" in told
        (job / "record.json").write_text(kept)
    (job / "views" / "rgb_003.png").write_bytes((job / "views" / "rgb_002.png").read_bytes())
    with pytest.raises(UserError, match="differ in their views"):
        merged({"a": a, "b": b})


def test_a_failure_gives_way_to_a_result(shards):
    a, b = shards
    job = a / "sdi" / WORLD[1].id / "0"
    changed(job / "record.json", status="crashed")
    for file in ("scores.csv", "scores.json"):
        (job / file).unlink()
    found = merged({"a": a, "b": b})
    assert {str(place): job.of for place, job in found.jobs.items()}[f"sdi/{WORLD[1].id}/0"] == "b"
    assert found.said == [f"sdi/{WORLD[1].id}/0 failed in a, and counts once."]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"prior": {"name": "tiny", "checksum": "q" * 64}}, "the prior is pppp"),
        ({"recipe": {"suite": "paper"}}, "the suite is world in a, paper in b"),
        ({"recipe": {"track": "paper"}}, "the track is controlled in a, paper in b"),
        ({"recipe": {"steps": 20}}, "a checksum of the settings of sds"),
        ({"recipe": {"orbit": {"views": 8, "resolution": 32, "elevation": 3.0}}}, "the orbit of sds"),
    ],
)
def test_another_protocol_is_named(shards, change, part):
    for job in [job for shard in shards for job in shard.glob("*/*/0")]:
        config = json.loads((job / "config.json").read_text())
        own = change if shards[1] in job.parents else {}
        recipe = config["recipe"] | {"suite": "world"} | own.get("recipe", {})
        (job / "config.json").write_text(json.dumps(config | own | {"recipe": recipe}))
    with pytest.raises(UserError, match="not of one protocol") as error:
        merged({shard.name: shard for shard in shards})
    assert part in str(error.value)


def test_another_judge_is_named(shards):
    a, b = shards
    score_run(b, Scorer({"clip": dataclasses.replace(encoder(), checksum="f" * 64)}, WORLD))
    with pytest.raises(UserError, match=r"clip_score.*: .*clip.* differ, score each of the runs again"):
        merged({"a": a, "b": b})


def test_what_cannot_be_carried_out_is_one_sentence(shards, tmp_path, capsys):
    a, _ = shards
    (tmp_path / "void").mkdir()
    (tmp_path / "file").write_text("x")
    for arguments, part in (
        ((a, tmp_path / "gone", "--out", tmp_path / "out"), "There is no run or pack"),
        ((tmp_path / "void", "--out", tmp_path / "out"), "There are no jobs in"),
        ((a, "--out", a / "inside"), "lie in each other"),
        ((a, "--out", tmp_path / "file"), "is a file"),
        ((tmp_path / "file", "--out", tmp_path / "x.zip"), "neither a run's folder nor a pack"),
        ((a,), "required: --out"),
    ):
        code, told = said(capsys, *arguments)
        assert (code, part in told) == (2, True), told
