"""Faults planted in jobs of two steps: what they touch is done again, and the gate is asked."""

from __future__ import annotations

import json
from types import SimpleNamespace
from unittest.mock import patch as put

import pandas as pd
import pytest
import torch

from engine.request import Request
from engine.studies import planted, planted_tests
from engine.studies.defects import DEFECTS, SLUG, TRAINING, Defect
from errors import UserError
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
    tests = {"contrast-8": {"test": None}, "cfg-off": {"test": "tests/methods/test_sds.py::test_it"}}
    text = planted.page({"contrast-8": done}, tests, clean / "reference.json", [("0", []), ("7", ["sds iou worse"])])
    assert "**Caught: 2 of 2 planted** (22 were not tried): by the gate 1 of 1, by unit tests 1 of 2; " in text
    assert "alarms on 2 unchanged runs with another seed than the reference's: 1 (seed 7: sds iou worse)." in text
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == len(DEFECTS) + 2
    said = {row[0]: row[2:6] for row in rows}
    assert said["contrast .8"] == ["yes", "yes", "**no**", "no"]
    assert said["CFG off"] == ["yes", "not run", "yes", ""]


def test_each_seed_of_an_unchanged_run_is_held_against_the_reference(clean):
    """The reference's own seeds give no alarm; a run of other pictures does."""
    assert planted.more_alarms(clean / "clean", clean / "reference.json") == [("0", []), ("1", [])]
    other = clean / "other"
    planted.copied(clean / "clean", other, "1")
    scores = other / "sds" / "07-a-ripe-strawberry" / "1" / "scores.csv"
    table = pd.read_csv(scores)
    table["psnr"] -= 5
    table.to_csv(scores, index=False)
    assert planted.more_alarms(other, clean / "reference.json") == [("1", ["sds psnr worse"])]


BEHIND = "tests/scene/test_compositing.py"


def test_the_first_test_that_fails_under_a_fault_is_named_and_passes_without_it(tmp_path, monkeypatch):
    monkeypatch.setattr(planted_tests, "FOLDERS", (BEHIND,))
    found = {"background-leaks-into-the-object": planted_tests.tried(tmp_path, "background-leaks-into-the-object")}
    first = found["background-leaks-into-the-object"]
    assert first["test"].startswith(f"{BEHIND}::")
    assert first["passed"] < planted_tests.tried(tmp_path, "cfg-off")["passed"]
    assert planted_tests.tried(tmp_path, "cfg-off")["test"] is None
    planted_tests.sound(tmp_path, found)


def test_a_test_that_fails_without_a_fault_says_nothing_and_is_forgotten(tmp_path, monkeypatch):
    for name, test in (("eta-0", "tests/a.py::test_a"), ("cfg-off", "tests/b.py::test_b")):
        (tmp_path / f"{name}.tests.json").write_text(json.dumps({"test": test}))
    asked = []
    monkeypatch.setattr(planted_tests, "_ran", lambda *given: asked.append(given) or {"test": "tests/a.py::test_a"})
    with pytest.raises(UserError, match=r"a\.py::test_a fails without a fault, too"):
        planted_tests.sound(tmp_path, {name: planted_tests.tried(tmp_path, name) for name in ("eta-0", "cfg-off")})
    assert asked[0][:2] == ("none", ["tests/a.py::test_a", "tests/b.py::test_b"])
    assert [path.name for path in tmp_path.glob("*.tests.json")] == ["cfg-off.tests.json"]
