"""What `--executor` refuses before anything is done, and what a node refuses that could not do jobs as this machine."""

import os
import sys
from pathlib import Path

import pytest

from engine.executors import ray as cluster
from engine.executors.base import Fatal
from run_benchmark import main
from tests.engine import jobs


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--address", "head:6379"], "--address is that of a Ray cluster: give --executor ray with it."),
        (["--executor", "rya"], "There is no executor 'rya': did you mean 'ray'?"),
        (["--executor", "ray", "--device", "cuda:0"], "--device takes auto, cpu or cuda, not 'cuda:0'."),
    ],
)
def test_options_that_do_not_go_together_are_refused(tmp_path, capsys, options, said):
    assert main([*options, "--out", str(tmp_path / "run")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:1", "No Ray cluster answers at 127.0.0.1:1: start one with `ray start --head`"),
        ("no.such.host.invalid:6379", "No Ray cluster answers at no.such.host.invalid:6379"),
        (
            "ray://127.0.0.1:10001",
            "--address takes HOST:PORT of the cluster's head, or auto, not 'ray://127.0.0.1:10001'.",
        ),
        ("127.0.0.1", "--address takes HOST:PORT"),
        ("127.0.0.1:99999", "No Ray cluster answers at 127.0.0.1:99999"),
    ],
)
def test_an_address_where_nobody_answers_is_one_sentence(tmp_path, capsys, address, said):
    pytest.importorskip("ray", reason="Ray is not installed (the extra ray)")
    assert main(["--executor", "ray", "--address", address, "--out", str(tmp_path / "run")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_without_ray_the_extra_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["--executor", "ray", "--out", str(tmp_path / "run")]) == 2
    assert "needs Ray, which is not installed: pip install ray, or uv sync --extra ray." in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """What a node says to a run, with some of what it is told to compare changed."""
    monkeypatch.setattr(cluster, "_node", lambda: "a node")
    monkeypatch.setattr(cluster, "APPEARS", 0.3)
    for name in cluster.variables(1):
        monkeypatch.setenv(name, os.environ.get(name, "1"))  # to be as before afterwards
    commands = tmp_path / ".unfinished" / "commands"
    commands.mkdir(parents=True)
    (commands / "a.json").touch()

    def refused(**changes):
        same = {"commands": ["a.json"], "folder": str(Path.cwd()), "software": cluster.software(), **changes}
        post = cluster.Post(str(tmp_path), jobs.SETUP, same, None)
        post.give([], {})
        answer = post.news(60.0)
        assert answer.over
        return answer.events

    return refused


def test_a_node_that_has_the_same_and_sees_the_folders_refuses_nothing(refused):
    assert refused() == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"software": {"torch": "1.0"}}, ", and this machine 1.0, which may change results"),
        ({"software": {"python": "2.7"}}, " has python 3."),
        ({"software": {"code of this program": "0"}}, ", and this machine 0, which may change results"),
        ({"commands": ["b.json"]}, "does not see "),
        ({"folder": "/nowhere/at/all"}, "does not see /nowhere/at/all: the checkout, the folder where"),
    ],
)
def test_a_node_that_would_compute_otherwise_or_elsewhere_says_so(refused, changes, said):
    (event,) = refused(**changes)
    assert isinstance(event, Fatal)
    assert said in event.sentence
