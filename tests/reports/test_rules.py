"""What a run may claim: closed where all is as the rules say, open with the reason where not, nothing where unsound."""

import json

import pandas as pd
import pytest
import torch

from errors import UserError
from files import sha256
from reports.gate.rules import CLOSED, OPEN, UNSOUND, verify
from tests.reports.synthetic import WORLD, ball, random_scores, write_job

PROMPTS = [p.id for p in WORLD[:2]]
ORBIT = {"views": 8, "resolution": 32}


@pytest.fixture
def run(tmp_path):
    rng = torch.Generator().manual_seed(0)
    for method in ("sds", "sdi"):
        for prompt in WORLD[:2]:
            job = write_job(tmp_path, method, prompt, 0, ball(8), scores=random_scores(rng), commit="a" * 12)
            (job / "scene.safetensors").write_bytes(b"\2\0\0\0\0\0\0\0{}")
            edit(job / "record.json", scene=sha256(job / "scene.safetensors"), version=2, tries=1, failures=[])
    return tmp_path


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def recipe_of(method, track):
    if method not in ("sds", "sdi"):
        return None
    return {"name": method, "steps": 300, "resolution": 32, "track": track}


def claim(run, read_scene=lambda path: None):
    return verify(run, PROMPTS, recipe_of, lambda method, track: ORBIT, "p" * 64, read_scene)


def job(run, method="sdi"):
    return run / method / PROMPTS[1] / "0"


def test_what_is_as_the_rules_say_is_closed(run):
    assert claim(run).reasons == []
    assert claim(run).division == CLOSED


def gone(run):
    for file in sorted(job(run).rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (gone, "1 jobs are missing"),
        (lambda run: edit(job(run) / "record.json", status="crashed"), "1 jobs are missing, failed"),
        (lambda run: edit(job(run) / "record.json", tries=3), "was tried 3 times"),
        (lambda run: edit(job(run) / "config.json", commit="b" * 12), "of 2 commits"),
        (lambda run: edit(job(run) / "config.json", python="2.7"), "of 2 Pythons"),
        (lambda run: edit(job(run) / "config.json", prior={"name": "tiny", "checksum": "q"}), "not the suite's own"),
        (
            lambda run: [edit(f, commit="a+") for f in run.glob("*/*/*/config.json")],
            "not one that others can check out",
        ),
        (
            lambda run: write_job(run, "mine", WORLD[0], commit="a" * 12, status="crashed"),
            "mine is no recipe of the track",
        ),
        (lambda run: (job(run) / "views" / "orbit.json").write_text('{"views": 8}'), "another orbit"),
    ],
)
def test_what_is_not_is_open_and_the_reason_is_said(run, change, reason):
    change(run)
    found = claim(run)
    assert found.division == OPEN
    assert reason in "; ".join(found.reasons)


def test_other_steps_are_open(run):
    for path in run.glob("sdi/*/*/config.json"):
        config = json.loads(path.read_text())
        edit(path, recipe=config["recipe"] | {"steps": 200})
    assert claim(run).reasons == ["sdi has other settings than the track's: steps"]


def edited(run):
    table = pd.read_csv(job(run) / "scores.csv")
    table["iou"] += 0.01
    table.to_csv(job(run) / "scores.csv", index=False)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (edited, "it was edited or cut"),
        (lambda run: (job(run) / "scene.safetensors").write_bytes(b"other"), "is not the one that the job left"),
        (lambda run: (job(run) / "scene.safetensors").unlink(), "its scene is missing"),
        (lambda run: (job(run) / "views" / "opacity_001.png").unlink(), "opacity_001 is missing"),
    ],
)
def test_what_is_not_what_it_was_may_claim_nothing(run, change, reason):
    change(run)
    found = claim(run)
    assert found.division == UNSOUND
    assert reason in "; ".join(found.reasons)


def test_a_scene_that_cannot_be_read_is_named(run):
    def read(path):
        raise UserError(f"The file {path} cannot be read: delete it.")

    assert claim(run, read).division == UNSOUND
