"""Kills of a run: three of them, for real; and that the study sees what it is to see."""

import json
import shutil

import pytest

from engine.studies import alike, kills


def test_three_kills_leave_what_no_kill_leaves(tmp_path, monkeypatch, capfd):
    small = ("--methods", "sds", "--prompts", "31", "43", *kills.JOBS[kills.JOBS.index("--steps") :])
    monkeypatch.setattr(kills, "JOBS", small)
    ended = kills.main(["--kills", "3", "--warm", "--seed", "2", "--out", str(tmp_path / "out")])
    said = capfd.readouterr().out
    assert ended == 0, said
    assert "there were 3 kills in " in said
    assert [line.split("|")[2].strip() for line in said.splitlines() if "left over" in line and "|" in line] == [
        "0"
    ] * 2
    assert kills.main(["--kills", "3", "--out", str(tmp_path / "out")]) == 2
    assert "is not empty: give another --out" in capfd.readouterr().err


@pytest.fixture
def runs(tmp_path):
    """Two equal runs of a job, and the job."""
    for name in ("whole", "run"):
        job = tmp_path / name / "sds" / "31-x" / "0"
        job.mkdir(parents=True)
        seconds = 1.0 if name == "run" else 2.0
        record = {"status": "finished", "nfe": 4, "seconds": seconds, "tries": 1}
        (job / "record.json").write_text(json.dumps(record))
        (job / "scene.safetensors").write_bytes(b"scene")
        (tmp_path / name / "table.csv").write_text(f"method,clip,time_min\nsds,0.5,{seconds}\n")
    return tmp_path / "run", tmp_path / "whole", tmp_path / "run" / "sds" / "31-x" / "0"


def test_times_are_no_difference(runs):
    run, whole, _ = runs
    assert alike.unlike(run, whole) == []


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda run, job: (job / "scene.safetensors").write_bytes(b"sceme"), "scene.safetensors differs"),
        (lambda run, job: (job / "scene.safetensors").unlink(), "scene.safetensors is missing"),
        (lambda run, job: (job / "record.json.aside").touch(), "record.json.aside is left over"),
        (lambda run, job: (run / ".unfinished" / "sds").mkdir(parents=True), ".unfinished/sds is left over"),
        (lambda run, job: (run / "table.csv").write_text("method,clip,time_min\nsds,0.6,1\n"), "table.csv differs"),
        (lambda run, job: (job / "record.json").write_text('{"status": "finished", "nfe": 8}'), "record.json differs"),
        (lambda run, job: (job / "record.json").write_text('{"status": "crashed", "nfe": 4}'), "record.json differs"),
    ],
)
def test_what_is_wrong_is_said_and_counted(runs, harm, said):
    run, whole, job = runs
    harm(run, job)
    (found,) = alike.unlike(run, whole)
    assert found.endswith(said)
    assert sum(n for _, n in kills.verdict([found])) == 1
    assert dict(kills.verdict([found]))["commands that failed"] == 0


def test_a_job_that_is_done_again_is_seen(runs):
    run, _, job = runs
    watched = kills.Watched(run, [job.relative_to(run)])
    watched.look()
    watched.look()
    assert not watched.twice
    shutil.copy(job / "scene.safetensors", job / "again")
    (job / "again").replace(job / "scene.safetensors")  # the same bytes, made anew
    watched.look()
    assert watched.twice == {job.relative_to(run)}
