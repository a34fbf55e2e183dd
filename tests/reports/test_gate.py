"""The gate: passes what it was made from, fails what moved, refuses what was measured otherwise."""

import dataclasses
import io
import json
import shutil

import pandas as pd
import pytest
import torch
from rich.console import Console

from errors import UserError
from eval import metrics
from reports import gate
from tests.reports.synthetic import WORLD, ball, random_scores, write_job

METHODS = ("sds", "sdi")


@pytest.fixture
def run(tmp_path):
    rng = torch.Generator().manual_seed(0)
    for method in METHODS:
        for prompt in WORLD[:3]:
            write_job(tmp_path / "run", method, prompt, 0, ball(8), scores=random_scores(rng))
    return tmp_path / "run"


@pytest.fixture
def reference(run, tmp_path):
    gate.save_reference(run, tmp_path / "reference.json")
    return tmp_path / "reference.json"


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def shift(run, method, metric, by):
    for path in run.glob(f"{method}/*/0/scores.csv"):
        scores = pd.read_csv(path)
        scores[metric] += by
        scores.to_csv(path, index=False)


def verdicts(run, reference):
    table, passed = gate.check(run, reference)
    return {(r["method"], r["metric"]): r["verdict"] for _, r in table.iterrows() if r["verdict"] != "ok"}, passed


def test_a_run_passes_its_own_gate(run, reference):
    table, passed = gate.check(run, reference)
    assert passed
    assert len(table) == 2 * 13
    out = io.StringIO()
    gate.show(table, passed, Console(file=out, width=100))
    assert "The gate is passed" in out.getvalue()


def test_a_reference_states_its_margins_and_directions(reference):
    cell = json.loads(reference.read_text())["methods"]["sdi"]["clip_score"]
    assert set(cell) == {"mean", "stderr", "margin", "higher_is_better"}
    assert cell["margin"] == 1.0
    assert cell["higher_is_better"] is True
    methods = json.loads(reference.read_text())["methods"]
    assert methods["sdi"]["fog"]["higher_is_better"] is False
    assert methods["sdi"]["chroma"]["higher_is_better"] is None


@pytest.mark.parametrize(
    ("metric", "by", "verdict"),
    [
        ("clip_score", 0.9, None),
        ("clip_score", -1.1, "worse"),
        ("clip_score", 1.1, "better: renew the reference"),
        ("fog", 2.5, "worse"),
        ("chroma", 0.2, "moved"),
    ],
)
def test_a_mean_outside_of_its_margin_fails(run, reference, metric, by, verdict):
    shift(run, "sdi", metric, by)
    assert verdicts(run, reference) == (({("sdi", metric): verdict}, False) if verdict else ({}, True))


def test_margins_can_be_stated(run, tmp_path):
    gate.save_reference(run, tmp_path / "tight.json", {"clip_score": 0.1})
    shift(run, "sdi", "clip_score", 0.2)
    assert not gate.check(run, tmp_path / "tight.json")[1]


def test_one_call_of_the_network_more_fails(run, reference):
    for path in run.glob("sdi/*/0/record.json"):
        edit(path, lambda record: record.update(nfe=record["nfe"] + 1))
    assert verdicts(run, reference) == ({("sdi", "nfe"): "worse"}, False)


def test_divergence_fails(run, reference):
    edit(next(run.glob("sds/*/0/record.json")), lambda record: record.update(status="non-finite"))
    failed, passed = verdicts(run, reference)
    assert failed[("sds", "diverged_pct")] == "worse"
    assert not passed


def test_what_is_missing_fails(run, reference):
    shutil.rmtree(run / "sdi" / WORLD[1].id)
    failed, passed = verdicts(run, reference)
    assert failed[("sdi", "jobs")] == f"missing: {WORLD[1].id[:2]}/0"
    assert not passed
    shutil.rmtree(run / "sdi")
    failed, passed = verdicts(run, reference)
    assert failed[("sdi", "clip_score")] == "missing"
    assert not passed


def test_a_metric_that_is_missing_fails(run, reference):
    for path in run.glob("sdi/*/0/scores.csv"):
        pd.read_csv(path).drop(columns="iou").to_csv(path, index=False)
    assert verdicts(run, reference) == ({("sdi", "iou"): "missing"}, False)


def test_jobs_that_are_not_scored_fail(run, reference):
    for path in run.glob(f"*/{WORLD[0].id}/0/scores.csv"):
        path.unlink()
    failed, passed = verdicts(run, reference)
    assert {key for key in failed if key[1] == "jobs"} == {("sdi", "jobs"), ("sds", "jobs")}
    assert not passed


def test_what_the_run_has_besides_is_not_looked_at(run, reference):
    rng = torch.Generator().manual_seed(1)
    write_job(run, "sdi", WORLD[7], 0, ball(8), scores=random_scores(rng, -9))
    write_job(run, "sdi", WORLD[0], 1, ball(8), scores=random_scores(rng, -9))
    write_job(run, "vsd", WORLD[0], 0, ball(8), scores=random_scores(rng, -9), steps=7, prior="q" * 64)
    assert verdicts(run, reference) == ({}, True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda p: p["steps"].update(sdi=500), "the steps of sdi is 300, the reference's 500"),
        (lambda p: p.update(prior="q" * 64), "the prior's checksum"),
        (lambda p: p.update(encoder="f" * 16), "the encoder's checksum"),
        (lambda p: p.update(reward="f" * 16), "the reward's checksum is None"),
        (lambda p: p.update(encoder_2="f" * 16), "the second encoder's checksum is None"),
        (lambda p: p.update(views=50), "the number of views is 8"),
        (lambda p: p.update(candidates="07"), "the prompts that R-Precision ranks"),
        (lambda p: p.update(prompts=["99-moon"]), "none of its prompts"),
    ],
)
def test_another_protocol_is_refused_with_the_reason(run, reference, change, reason):
    edit(reference, lambda content: change(content["protocol"]))
    with pytest.raises(UserError, match=reason):
        gate.check(run, reference)


def test_a_run_that_disagrees_with_itself_is_no_reference(run, tmp_path):
    rng = torch.Generator().manual_seed(1)
    write_job(run, "sdi", WORLD[7], 0, ball(8), scores=random_scores(rng), prior="q" * 64)
    with pytest.raises(UserError, match="mixes priors"):
        gate.save_reference(run, tmp_path / "mixed.json")


def test_a_reference_that_cannot_be_read_is_said(run, tmp_path):
    path = tmp_path / "reference.json"
    with pytest.raises(UserError, match="There is no reference"):
        gate.check(run, path)
    for content, says in (("{", "cannot be read"), ("{}", "is no reference")):
        path.write_text(content)
        with pytest.raises(UserError, match=says):
            gate.check(run, path)


def test_failures_are_printed(run, reference):
    shift(run, "sdi", "clip_score", -5)
    table, passed = gate.check(run, reference)
    out = io.StringIO()
    gate.show(table, passed, Console(file=out, width=100))
    assert "The gate is not passed: 1 of 26 rows fail." in out.getvalue()
    assert "worse" in out.getvalue()


def test_a_renewed_reference_keeps_its_margins(run, tmp_path):
    gate.save_reference(run, tmp_path / "reference.json", {"clip_score": 0.125})
    gate.save_reference(run, tmp_path / "reference.json", gate.margins(tmp_path / "reference.json"))
    assert gate.margins(tmp_path / "reference.json")["clip_score"] == 0.125
    assert gate.margins(tmp_path / "nothing.json") == {}


def test_means_of_another_version_of_a_metric_are_not_compared(run, reference, tmp_path, monkeypatch):
    newer = tuple(dataclasses.replace(m, version=2) if m.key == "fog" else m for m in metrics.METRICS)
    monkeypatch.setattr(metrics, "METRICS", newer)
    said = "another version: renew the reference"
    assert verdicts(run, reference) == ({(method, "fog"): said for method in METHODS}, False)
    gate.save_reference(run, tmp_path / "renewed.json")
    assert verdicts(run, tmp_path / "renewed.json") == ({}, True)
