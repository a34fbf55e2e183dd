"""Commands that are given a run by its URL."""

import sys
import time
from importlib import import_module
from pathlib import Path

import pytest
import torch

from engine.remote.mirror import place_of
from engine.remote.objects import Objects
from engine.remote.sharing import worked_on
from engine.store import Store
from run_benchmark import main
from tests.engine import jobs
from tests.engine.remote.machines import JOB, NAME
from tests.reports.synthetic import WORLD, ball, random_scores, write_job


def test_a_third_machine_reads_a_run_by_its_url(machine, url, third, capsys):
    one = machine()
    with worked_on(one.run, one.console):
        rng = torch.Generator().manual_seed(0)
        for prompt in WORLD[:2]:
            write_job(one.run, "sds", prompt, 0, ball(8), scores=random_scores(rng, views=8))
    assert main(["table", url]) == 0
    assert "CLIP" in capsys.readouterr().out
    local = place_of(url)
    assert not list(local.rglob("scene.safetensors"))
    assert main(["status", url]) == 0
    assert "2 ok, 0 diverged, 0 failed, 0 running, 0 waiting" in capsys.readouterr().out
    assert main(["report", url]) == 0
    assert (local / "page" / "index.html").exists()
    assert len(list(local.rglob("views/rgb_*.png"))) == len(list(one.run.rglob("views/rgb_*.png"))) > 0


def test_status_tells_who_works_elsewhere_and_what_was_left(machine, url, third, capsys):
    one, other = machine(), jobs.job(seed=1)
    config = {"key": "k", "recipe": {"steps": 12}}
    with worked_on(one.run, one.console) as part:
        for job in (other, JOB):
            assert part.take(job.path)
            store = Store(one.run, job)
            with store.opened(config):
                store.log([])
                store.save_checkpoint({}, {"step": 5})
                store.at(5)
                part._carry()
                if job is JOB:
                    time.sleep(0.5)  # two signs of life
                    assert main(["status", url]) == 0
            part.leave(job.path)
        said = capsys.readouterr().out
        assert said.startswith(f"{url}\n")
        assert f"running  {NAME}  5 of 12 steps" in said
        assert f"left     {other.path.as_posix()}" in said
    assert main(["status", url]) == 0
    assert "nobody works at it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing://at/all", "nothing://at/all is no URL of a store"),
        ("s3://nobucket/run", "s3://nobucket/run is not there (The specified bucket does not exist): make the bucket"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(s3, third, capsys, name, said):
    assert main(["--out", name]) == 2
    assert said in capsys.readouterr().err
    assert main(["table", name]) == 2


def test_who_may_not_read_is_told_so(third, capsys, url, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Access Denied")

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.find", refuse)
    assert main(["status", url]) == 2
    assert f"{url} may not be read or written by you" in capsys.readouterr().err


def test_without_its_library_the_extra_is_named(third, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(import_module("fsspec.registry")._registry, "s3", raising=False)
    assert main(["table", "s3://bucket/run"]) == 2
    assert (
        "s3:// needs a library that is not installed: pip install s3fs, or uv sync --extra s3."
        in capsys.readouterr().err
    )


def test_a_store_that_makes_what_is_there_already_is_refused(third, capsys, url, monkeypatch):
    monkeypatch.setattr(Objects, "create", lambda *_: True)
    assert main(["--out", url]) == 2
    assert "does not refuse to make an object that is there already" in capsys.readouterr().err


def test_other_places_are_folders(third, tmp_path, capsys):
    assert place_of(f"file://{tmp_path}/a%20run") == tmp_path / "a run"
    assert place_of("results/runs/x") == Path("results/runs/x")
    assert main(["pack", str(tmp_path), "--out", "s3://bucket/x.zip"]) == 2
    assert "is a URL, and a place on this machine is needed" in capsys.readouterr().err


def test_curves_are_of_what_was_logged_elsewhere(machine, url, third, capsys):
    pytest.importorskip("tensorboard")
    machine().launched()
    assert main(["tensorboard", url]) == 0
    assert capsys.readouterr().out.startswith("1 job, ")
