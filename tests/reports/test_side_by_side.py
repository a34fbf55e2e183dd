"""Packs and comparisons: what goes into an archive, what comes out, and what may be set beside what."""

import dataclasses
import json
import shutil
import zipfile

import pandas as pd
import pytest
from PIL import Image

from errors import UserError
from eval.score import Scorer, score_run
from reports import load
from reports.published import MV_SDI, TABLE_1
from reports.submissions import pack
from reports.submissions.side_by_side import compared
from run_benchmark import main
from tests.eval.clip import encoder
from tests.reports.synthetic import WORLD, ball, write_job

PLACE = "/home/somebody/models/sd21-base"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Four prompts, two methods, one of them brighter; scored by a CLIP alone."""
    made = tmp_path_factory.mktemp("runs") / "mine"
    for k, prompt in enumerate(WORLD[:4]):
        for method in ("sdi", "sds"):
            rgb, opacity = ball(8, 32)
            job = write_job(made, method, prompt, 0, (rgb * (1 - 0.1 * k - 0.2 * (method == "sds")), opacity))
            config = json.loads((job / "config.json").read_text())
            config["prior"]["name"] = PLACE
            config |= {"prompt_id": prompt.id, "phi": r"C:\Users\somebody\sd21", "note": f"as in {PLACE}/unet: and/or"}
            (job / "config.json").write_text(json.dumps(config))
    score_run(made, Scorer({"clip": encoder()}, WORLD))
    return made


def packed(run, target):
    assert pack.write(run, target) == len(list(run.glob("*/*/*/record.json")))
    return target


def test_a_pack_is_the_run_but_for_its_views_and_its_paths(run, tmp_path):
    first, again = packed(run, tmp_path / "a.zip"), packed(run, tmp_path / "b.zip")
    assert first.read_bytes() == again.read_bytes()
    with zipfile.ZipFile(first) as archive:
        archive.extractall(tmp_path / "out")
        texts = [archive.read(n).decode() for n in archive.namelist() if n.endswith(("json", "csv"))]
    assert not any("somebody" in text or str(tmp_path.parent) in text for text in texts)
    config = json.loads((tmp_path / "out" / "sdi" / WORLD[0].id / "0" / "config.json").read_text())
    assert config["prior"]["name"] == config["phi"] + "-base" == "sd21-base"
    assert config["note"] == "as in unet: and/or"
    pd.testing.assert_frame_equal(load(run).wide, load(tmp_path / "out").wide)
    samples = sorted((tmp_path / "out" / "sdi" / WORLD[0].id / "0" / "samples").iterdir())
    assert [f.name for f in samples] == ["rgb_000.png", "rgb_002.png", "rgb_004.png", "rgb_006.png"]
    assert Image.open(samples[0]).size == (32, 32)
    assert pack.verified(tmp_path / "out", first) == "mine"


@pytest.mark.parametrize("change", ["edit", "add", "remove", "version"])
def test_a_pack_that_was_changed_is_refused(run, tmp_path, change):
    with zipfile.ZipFile(packed(run, tmp_path / "a.zip")) as archive:
        archive.extractall(tmp_path / "out")
    scores = tmp_path / "out" / "sdi" / WORLD[0].id / "0" / "scores.csv"
    if change == "edit":
        scores.write_text(scores.read_text().replace("0,", "1,", 1))
    elif change == "add":
        shutil.copytree(tmp_path / "out" / "sdi", tmp_path / "out" / "better")
    elif change == "remove":
        scores.unlink()
    else:
        about = json.loads((tmp_path / "out" / "pack.json").read_text())
        (tmp_path / "out" / "pack.json").write_text(json.dumps(about | {"version": 99}))
    with pytest.raises(UserError, match="of another format or version" if change == "version" else "was changed"):
        pack.verified(tmp_path / "out", tmp_path / "a.zip")


def test_runs_side_by_side_have_paired_differences(run, tmp_path):
    found = compared({"mine": run, "theirs": run}, [], ["sdi", "sds"], None)
    assert list(found.table["method"]) == ["mine/sdi", "mine/sds", "theirs/sdi", "theirs/sds"]
    gaps = found.gaps[found.gaps["metric"] == "clip_score"].set_index("method")
    assert gaps.loc["theirs/sdi", "mean"] == 0
    within = load(run).wide.groupby("method")["clip_score"].mean()
    assert gaps.loc["theirs/sds", "mean"] == pytest.approx(within["sds"] - within["sdi"])
    assert gaps.loc["theirs/sds", ["n_prompts", "n_views"]].tolist() == [4, 4]


def test_what_was_measured_otherwise_is_left_out(run, tmp_path):
    other = shutil.copytree(run, tmp_path / "theirs")
    judge = dataclasses.replace(encoder(), checksum="f" * 64)
    score_run(other, Scorer({"clip": judge}, WORLD))
    found = compared({"mine": run, "theirs": other}, [], [], None)
    assert "clip_score_mean" not in found.table
    assert not len(found.gaps) or "clip_score" not in set(found.gaps["metric"])
    assert any("CLIP score is left out: its clip differs;" in line for line in found.said)


def test_other_seeds_are_paired_by_prompt_and_other_prompts_not_at_all(run, tmp_path):
    seeds, apart = tmp_path / "seeds", tmp_path / "apart"
    for prompt in WORLD[:4]:
        shutil.copytree(run / "sdi" / prompt.id / "0", seeds / "sdi" / prompt.id / "7")
    shutil.copytree(run / "sds" / WORLD[0].id, apart / "sds" / WORLD[0].id)
    shutil.copytree(run / "sdi" / WORLD[1].id, tmp_path / "one" / "sdi" / WORLD[1].id)
    ours = tmp_path / "ours"
    shutil.copytree(run / "sds", ours / "sds")
    found = compared({"ours": ours, "seeds": seeds}, [], [], None)
    assert "Differences are of prompts' means: no seed is in two of them." in found.said
    assert found.gaps.set_index("metric").loc["clip_score", "n_prompts"] == 4
    found = compared({"one": tmp_path / "one", "apart": apart}, [], [], None)
    assert not len(found.gaps)
    assert "No differences: no prompt is in two of them." in found.said


def test_from_the_command_line(run, tmp_path, capsys):
    archive = tmp_path / "theirs.zip"
    assert main(["pack", str(run), "--out", str(archive)]) == 0
    assert "8 jobs" in capsys.readouterr().out
    assert main(["compare", str(run), str(archive), "mv-sdi", "table-1", "--out", str(tmp_path / "out")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "is not to be read by them" in said
    assert "Paired differences to mine/sdi" in said
    table = pd.read_csv(tmp_path / "out" / "compare.csv")
    assert {"mine/sdi", "mine-2/sds", "table-1/SDI", "mv-sdi/Baseline SDI"} <= set(table["method"])
    assert table.set_index("method").loc["mv-sdi/Baseline SDI"].filter(like="iqa_quality").isna().all()
    said = (tmp_path / "out/compare.md").read_text()
    assert all(f"- {table.name}: {note}" in said for table in (TABLE_1, MV_SDI) for note in table.notes)
    assert "mine-2/sds" in (tmp_path / "out" / "compare.md").read_text()
    assert main(["compare", str(run), "--baseline", "mine/sdo"]) == 2
    assert "did you mean 'mine/sd" in capsys.readouterr().err
    for arguments, part in (
        (["compare", "table-1"], "nothing of your own"),
        (["compare", str(run), "tabel-1"], "did you mean 'table-1'"),
        (["compare", str(tmp_path / "out" / "compare.md")], "neither a run's folder nor a pack"),
        (["pack", str(tmp_path / "nowhere")], "no run in"),
        (["pack", str(run), "--out", str(tmp_path / "x.tar")], "ends with .zip"),
    ):
        assert main(arguments) == 2
        assert part in capsys.readouterr().err
