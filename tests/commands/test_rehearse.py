"""The paper's suite in small, on small models in the published formats: from prompt to table, as a user would."""

import json
import os
from types import SimpleNamespace

import psutil
import pytest

from commands.run import requested
from engine import machine
from engine.weights import manifest as weights
from run_benchmark import main
from tests.published import write


@pytest.fixture(scope="module")
def fetched(tmp_path_factory):
    return write(tmp_path_factory.mktemp("weights"))


def sizes(*arguments):
    made = requested(list(arguments))
    return made.steps, made.resolution, made.views, len(made.prompts)


def test_a_rehearsal_is_small_where_nothing_else_is_said():
    assert sizes("--suite", "paper") == (None, None, None, 43)
    assert sizes("--rehearse", "--suite", "paper") == (20, 64, 6, 3)
    assert sizes("--rehearse") == (20, 64, 6, 4)
    own = ("--steps", "2", "--resolution", "32", "--views", "50", "--prompts", "all")
    assert sizes("--rehearse", "--suite", "paper", *own) == (2, 32, 50, 43)
    assert sizes("--rehearse", "--suite", "paper", "--limit", "5") == (20, 64, 6, 5)
    assert sizes("--rehearse", "--budget", "nfe=9")[0] is None


def test_from_what_fetch_brought_to_a_table(capsys, monkeypatch, tmp_path, fetched):
    """Without --prior and --phi; SDS asks for no sd21, VSD's student starts as it."""
    monkeypatch.setenv(weights.PLACE, str(fetched))
    run = tmp_path / "run"
    command = ["--suite", "paper", "--rehearse", "--prompts", "A ripe strawberry", "--steps", "2", "--views", "2"]
    command += ["--clip", str(fetched / "clip-vit-b32"), "--out", str(run), "--jobs", "1"]
    assert main([*command, "--methods", "sds", "vsd"]) == 0
    assert "2 jobs, 0 of them done" in capsys.readouterr().out
    configs = {f.parts[-4]: json.loads(f.read_text()) for f in run.glob("*/*/*/config.json")}
    for config in configs.values():
        assert config["prior"]["name"] == str(fetched / "sd21-base")
        assert (config["recipe"]["steps"], config["recipe"]["resolution"]) == (2, 64)
        assert config["recipe"]["orbit"]["views"] == 2
    assert configs["vsd"]["recipe"]["coarse"] == [[0.2, 0.125]]
    assert configs["vsd"]["recipe"]["method"]["phi"] == str(fetched / "sd21")
    assert "phi" not in configs["sds"]["recipe"]["method"]
    assert all(len(list(f.parent.glob("views/rgb_*.png"))) == 2 for f in run.glob("*/*/*/config.json"))
    table = (run / "table.md").read_text()
    assert "track paper; resolution 64; views 2" in table
    assert "| sds    | 2 " in table
    assert all((f.parent / "scores.csv").is_file() for f in run.glob("*/*/*/config.json"))


def test_processes_on_a_cpu_have_room_for_what_they_read(monkeypatch, fetched):
    """In single precision, twice the size of half-precision files; on a GPU there is one."""
    files = [f for name in ("sd21-base", "sd21") for f in (fetched / name).rglob("*.fp16.safetensors")]
    need = 2 * sum(f.stat().st_size for f in files) / 2**30
    folders = [str(fetched / "sd21-base"), None, str(fetched / "sd21")]
    assert machine.gigabytes(folders) == pytest.approx(need)
    room = SimpleNamespace(available=2.5 * (machine.GIGABYTES_A_JOB + need) * 2**30)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: room)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert machine.slots_of("auto", "cpu", 8, folders) == 2
    monkeypatch.setattr(machine, "gigabytes", lambda _: 10 * need + 10)
    assert machine.slots_of("auto", "cpu", 8, folders) == 1


def test_weights_that_are_missing_are_fetched_by_name(capsys, monkeypatch, tmp_path, fetched):
    """Of sd21, only where a rule reads it."""
    place = tmp_path / "weights"
    place.mkdir()
    monkeypatch.setenv(weights.PLACE, str(place))
    command = ["--suite", "paper", "--rehearse", "--prompts", "A ripe strawberry", "--out", str(tmp_path / "run")]
    assert main([*command, "--methods", "sds"]) == 2
    assert "run_benchmark.py fetch sd21-base brings it" in capsys.readouterr().err
    (place / "sd21-base").symlink_to(fetched / "sd21-base")
    assert main([*command, "--methods", "sds", "esd"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "run_benchmark.py fetch sd21 brings it, or give --phi a folder" in err
