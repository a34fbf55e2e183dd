"""How far a run is, from its folder alone."""

import json

import pytest

from commands.runs import status
from engine import claims
from engine.store import Store
from run_benchmark import main
from tests.engine.jobs import job

FINISHED = {"status": "finished", "step": 12, "seconds": 24.0, "opacity": 0.3}


def done(run, seed, **record):
    store = Store(run, job(seed=seed))
    with store.opened({"key": "k", "recipe": {"steps": 12}}):
        return store.finish(FINISHED | record)


@pytest.fixture
def run(tmp_path):
    """Two ok, three diverged, one failed at its second try, one left by a process that is gone."""
    for seed, record in enumerate(({}, {}, {"opacity": 0.001}, {"status": "non-finite"}, {"status": "out-of-memory"})):
        done(tmp_path, seed, **record)
    for _ in range(2):
        done(tmp_path, 5, status="crashed", cause="it [b]broke[/b]")
    with Store(tmp_path, job(seed=6)).opened({"key": "k"}):
        pass
    return tmp_path


def test_what_is_done_runs_waits_and_failed(run, capsys):
    assert main(["status", str(run)]) == 0
    said = capsys.readouterr().out
    counts = "2 ok, 3 diverged (1 empty, 1 non-finite, 1 out-of-memory), 1 failed, 0 running, 0 waiting"
    assert f"  {counts}; 1 tries more than jobs\n" in said
    assert "nobody works at it: the same command goes on from here" in said
    assert "failed   sds/01-a-red-ball/5  it [b]broke[/b], tried 2 times" in said
    assert "left     sds/01-a-red-ball/6" in said


def test_who_works_at_it_and_how_long_it_will_take(run, capsys):
    """Two seconds a step: 8 of the job that runs, 12 of each that waits; one process."""
    wanted = {f"sds/01-a-red-ball/{seed}": 12 for seed in (0, 5, 6, 7)}
    store = Store(run, job(seed=6))
    with claims.roster(run, wanted), store.opened({"key": "k", "recipe": {"steps": 12}}):
        said = json.loads((store.work / claims.CLAIM).read_text()) | {"step": 4}
        (store.work / claims.CLAIM).write_text(json.dumps(said))
        found = status.status_of(run)
        assert sorted(found.waiting) == ["sds/01-a-red-ball/5", "sds/01-a-red-ball/7"]
        assert found.seconds == pytest.approx(2 * (8 + 12 + 12))
        main(["status", str(run)])
        said = capsys.readouterr().out
        assert "1 running, 2 waiting" in said
        assert "about 64 s left" in said
        assert "running  sds/01-a-red-ball/6  4 of 12 steps, process" in said
        assert "4 jobs to do" in said
    assert not (run / ".unfinished" / claims.ROSTER).exists()


def test_what_a_killed_command_left_is_nobodys_and_is_removed_by_the_next(run):
    with claims.roster(run, {"sds/01-a-red-ball/8": 12}):
        (path,) = (run / ".unfinished" / claims.ROSTER).iterdir()
        content = path.read_text()
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert status.status_of(run).commands == []
    with claims.roster(run, {}):
        assert not path.exists()


def test_a_folder_without_jobs_and_a_later_version_are_refused(tmp_path, run, capsys):
    assert main(["status", str(tmp_path / "nowhere")]) == 2
    (tmp_path / "empty").mkdir()
    assert main(["status", str(tmp_path / "empty")]) == 2
    assert "There are no jobs in" in capsys.readouterr().err
    record = Store(run, job(seed=0)).final / "record.json"
    record.write_text(json.dumps({"version": 99}))
    assert main(["status", str(run)]) == 2
    assert "of version 99" in capsys.readouterr().err
    record.write_text("{")
    assert main(["status", str(run)]) == 0
    assert "1 ok" in capsys.readouterr().out
