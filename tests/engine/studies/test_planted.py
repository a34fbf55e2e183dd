"""Faults planted in jobs of two steps: what they touch is done again, and the gate is asked."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import patch as put

import pytest
import torch

from engine.request import Request
from engine.studies import planted
from engine.studies.defects import DEFECTS, SLUG, TRAINING, Defect
from files import sha256
from reports import gate
from suites.world import WORLD

NOTHING = Defect("nothing", TRAINING, lambda: None, ("sds",))


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """Two seeds of a job, and a reference of them."""
    folder = tmp_path_factory.mktemp("planted")
    prompts = WORLD.select(["strawberry"])
    sizes = {"steps": 2, "resolution": 16, "views": 4}
    planted.train(Request(WORLD, "controlled", prompts, folder / "clean", ("sds",), (), (0, 1), device="cpu", **sizes))
    planted.score(folder / "clean", WORLD)
    gate.save(folder / "clean", folder / "reference.json")
    yield folder
    torch.use_deterministic_algorithms(False)


def tried(folder, monkeypatch, name):
    """As `planted` tries it, but in this process, which takes the fault out again."""

    def here(command, **_):
        at = {key: command[command.index(key) + 1] for key in ("--out", "--one", "--method")}
        planted.one(folder / "clean", planted.Path(at["--out"]), planted.SLUG[at["--one"]], at["--method"], "0")
        put.stopall()

    monkeypatch.setattr(planted, "subprocess", SimpleNamespace(run=here))
    return planted.tried(folder / "clean", folder / "reference.json", folder / "out", name, "0")


def scene(run):
    return sha256(run / "sds" / "07-a-ripe-strawberry" / "0" / "scene.safetensors")


def test_jobs_done_again_without_a_fault_are_the_same_bit_by_bit(clean, monkeypatch):
    monkeypatch.setitem(planted.SLUG, "nothing", NOTHING)
    done = tried(clean, monkeypatch, "nothing")
    assert done == {"methods": ["sds"], "verdicts": [], "reproduced": True, "better": []}
    assert (clean / "out" / "nothing" / ".planted" / "sds").is_dir()
    assert scene(clean / "out" / "nothing") == scene(clean / "clean")


def test_a_fault_of_the_views_is_caught_and_of_training_changes_the_scene(clean, monkeypatch):
    monkeypatch.setitem(planted.SLUG, "contrast-8", planted.replace(SLUG["contrast-8"], methods=("sds",)))
    done = tried(clean, monkeypatch, "contrast-8")
    assert done["verdicts"]
    assert not done["reproduced"]
    assert scene(clean / "out" / "contrast-8") == scene(clean / "clean")
    monkeypatch.setitem(planted.SLUG, "cfg-off", planted.replace(SLUG["cfg-off"], methods=("sds",)))
    assert not tried(clean, monkeypatch, "cfg-off")["reproduced"]
    assert scene(clean / "out" / "cfg-off") != scene(clean / "clean")
    text = planted.page({"contrast-8": done}, clean / "reference.json", [("0", [])])
    assert "**Caught: 1 of 1 planted** (23 were not run)" in text
    assert len([line for line in text.splitlines() if line.startswith("|")]) == len(DEFECTS) + 2
