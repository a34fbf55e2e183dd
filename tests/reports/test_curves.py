"""Curves for TensorBoard: read back by its own reader, they are the logs' numbers."""

import json
import shutil

import pytest

from run_benchmark import main

JOB, OTHER = "sdi/07-a-ripe-strawberry/0", "sds/14-a-blue-tulip/3"


def rows(steps, start=0):
    return [{"step": k, "t": 900.5 - k, "nfe": 7 * (k + 1), "note": "no number"} for k in range(start, start + steps)]


def log(run, job, written, finished=True):
    file = run / ("" if finished else ".unfinished") / job / "log.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in written))
    return file


def read(folder):
    """Each curve's steps and values."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulator.EventAccumulator(str(folder), {"scalars": 0})
    found.Reload()
    return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def curves(written):
    return {name: [(row["step"], pytest.approx(row[name])) for row in written] for name in ("t", "nfe")}


def test_all_that_is_logged_is_there_and_once(tmp_path, capsys):
    pytest.importorskip("tensorboard")
    run, out = tmp_path / "run", tmp_path / "run" / "tensorboard"
    log(run, JOB, rows(5))
    under_way = log(run, OTHER, rows(3), finished=False)
    under_way.write_text(under_way.read_text() + '{"step": 3, "t": 8')  # is being written
    for _ in range(2):  # the same again
        assert main(["tensorboard", str(run)]) == 0
        said = capsys.readouterr().out
        assert "2 jobs, 8 steps" in said
        assert f"tensorboard --logdir {out}" in " ".join(said.split())
        assert read(out / JOB) == curves(rows(5))
        assert read(out / OTHER) == curves(rows(3))


def test_what_is_logged_meanwhile_is_added(tmp_path):
    pytest.importorskip("tensorboard")
    from reports.curves import Curves

    run, out = tmp_path / "run", tmp_path / "out"
    log(run, JOB, rows(3), finished=False)
    found = Curves(run, out)
    assert [found.follow(), found.follow()] == [3, 0]
    assert read(out / JOB) == curves(rows(3))
    log(run, JOB, rows(5), finished=False)
    assert found.follow() == 2
    assert read(out / JOB) == curves(rows(5))
    log(run, JOB, rows(4), finished=False)  # killed, and on from a checkpoint
    assert found.follow() == 4
    assert read(out / JOB) == curves(rows(4))
    log(run, JOB, rows(7))
    shutil.rmtree(run / ".unfinished")
    assert found.follow() == 3
    found.close()
    assert read(out / JOB) == curves(rows(7))


def test_live_ends_with_the_run(tmp_path, capsys, monkeypatch):
    """It looks once more after the last command has gone."""
    pytest.importorskip("tensorboard")
    from commands.runs import status
    from commands.runs import tensorboard as command

    run, slept = tmp_path / "run", []
    log(run, JOB, rows(2), finished=False)

    def waited(seconds):
        slept.append(seconds)
        log(run, JOB, rows(2 + 2 * len(slept)), finished=False)

    monkeypatch.setattr(command.time, "sleep", waited)
    monkeypatch.setattr(status, "status_of", lambda run: status.Status(commands=[{}] if len(slept) < 2 else []))
    assert main(["tensorboard", str(run), "--live", "3", "--out", str(tmp_path / "out")]) == 0
    assert slept == [3, 3]
    assert read(tmp_path / "out" / JOB) == curves(rows(6))
    assert capsys.readouterr().out.count("added to every 3 s") == 1


def test_what_cannot_be_is_one_sentence(tmp_path, capsys, monkeypatch):
    from commands.runs import tensorboard as command

    (tmp_path / "run").mkdir()
    found = {"tensorboard": False}
    monkeypatch.setattr(command, "find_spec", lambda name: found[name])

    def refused(*arguments):
        assert main(["tensorboard", *map(str, arguments)]) == 2
        return " ".join(capsys.readouterr().err.split())

    assert "There is no run in" in refused(tmp_path / "gone")
    assert "uv sync --extra tensorboard" in refused(tmp_path / "run")
    found["tensorboard"] = True
    assert "has logged a step" in refused(tmp_path / "run")
    pytest.importorskip("tensorboard")
    log(tmp_path / "run", JOB, rows(2))
    (tmp_path / "file").write_text("")
    assert "The curves cannot be written to" in refused(tmp_path / "run", "--out", tmp_path / "file")
