"""A metric of one's own: declared in one file, listed in one line, and there wherever metrics are."""

import importlib.util
import json
import sys

import pandas as pd
import pytest
import torch

from eval import metrics
from eval.metric import Metric, code_of
from eval.score import Scorer, score_run
from eval.views import Pictures
from reports import gate, load, measures, sweep, write
from reports.columns import measured, selectable, shown
from reports.tables import make
from sources import digest_of_module
from tests.eval.clip import encoder
from tests.eval.test_score import KNOWN as TRUTH
from tests.reports.synthetic import WORLD, ball, write_job

REDNESS = Metric(
    "redness", "Redness", "%", "down", 3, margin=0.5, function=lambda seen: 100 * seen.rgb[:, 0].mean((1, 2))
)


@pytest.fixture
def run(tmp_path):
    for method, hue in (("sdi", 0), ("sds", 1)):
        for prompt in WORLD[:3]:
            write_job(tmp_path / "run", method, prompt, 0, ball(8, hue=hue))
    return tmp_path / "run"


@pytest.fixture
def scorer(monkeypatch):
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, REDNESS))
    return Scorer({"clip": encoder(), "iqa": encoder()}, WORLD, TRUTH)


def test_a_metric_of_ones_own_is_in_every_table(run, scorer, tmp_path):
    score_run(run, scorer)
    by_hand = 100 * (ball(8)[0][:, 0] * 255).round().mean((1, 2)) / 255
    assert pd.read_csv(run / "sdi" / WORLD[0].id / "0" / "scores.csv")["redness"].tolist() == pytest.approx(
        by_hand.tolist(), abs=1e-4
    )
    table = write.tables(run, load(run)).set_index("method")
    assert table.loc["sdi", "redness_mean"] == pytest.approx(float(by_hand.mean()), abs=1e-4)
    assert "redness_mean" in pd.read_csv(run / "table.csv")
    assert "redness" in pd.read_csv(run / "scores.csv")
    assert "redness" in set(pd.read_csv(run / "differences.csv")["metric"])
    assert "Redness (%) ↓" in (run / "table.md").read_text()
    assert f"{table.loc['sdi', 'redness_mean']:.3f} ± " in (run / "table.md").read_text()
    assert r"Redness $\downarrow$ (\%)" in (run / "table.tex").read_text()
    assert measures.measures(run, make(load(run))).exists()
    gate.save(run, tmp_path / "reference.json")
    cell = json.loads((tmp_path / "reference.json").read_text())["methods"]["sdi"]["redness"]
    assert (cell["least"], cell["better"]) == (0.125, "down")  # a quarter of its margin
    assert gate.check(run, tmp_path / "reference.json").passed
    assert "redness" in selectable({"clip"})
    settings = {"sdi": {"cfg": 1.0, "lr": 0.1}, "sds": {"cfg": 2.0, "lr": 0.1}}
    found = sweep.table(load(run), settings, "redness").set_index("setting")
    assert found["best"].to_dict() == {"sdi": False, "sds": True}


def test_a_reference_without_a_metric_does_not_look_at_it(run, scorer, tmp_path, monkeypatch):
    with monkeypatch.context() as before:
        before.setattr(metrics, "METRICS", metrics.METRICS[:-1])
        score_run(run, scorer)
        gate.save(run, tmp_path / "reference.json")
    assert len(score_run(run, scorer).fresh) == 6
    found = gate.check(run, tmp_path / "reference.json")
    assert found.passed
    assert "redness" not in set(found.rows["metric"])


def test_the_code_of_a_metric_is_that_of_its_file_and_of_what_it_uses(tmp_path, monkeypatch):
    """Comments do not count; a file outside the house counts by itself."""
    iou = next(m for m in metrics.METRICS if m.key == "iou")
    assert iou.code == digest_of_module("eval.truth", ("eval", "priors", "scene"))[:16]
    assert iou.code != next(m for m in metrics.METRICS if m.key == "clip_score").code
    seen = {}
    for name, text in {"first": "x = 1\n", "second": "x = 1  # said\n", "third": "x = 2\n"}.items():
        file = tmp_path / f"{name}.py"
        file.write_text(text + "def function(seen):\n    return seen.rgb.mean((1, 2, 3))\n")
        spec = importlib.util.spec_from_file_location(name, file)
        monkeypatch.setitem(sys.modules, name, module := importlib.util.module_from_spec(spec))
        spec.loader.exec_module(module)
        seen[name] = code_of(module.function)
    assert seen["first"] == seen["second"] != seen["third"]


def test_groups_order_the_tables():
    keys = [c.key for c in shown()]
    of_views = ["clip_score", "iqa_quality", "iqa_sharpness", "iqa_real", "image_reward"]
    assert keys[:8] == [*of_views, "diverged_pct", "time_min", "memory_gb"]
    assert {"opacity", "scale", "yaw"} == {m.key for m in measured("hidden")}
    assert not {"opacity", "yaw"} & {*keys}


def test_needs_name_all_that_a_metric_uses():
    """Given its needs alone, a metric has numbers."""
    here = {"clip", "iqa", "candidates", "opacity", "truth"}
    for metric in (m for m in metrics.METRICS if here >= {*m.needs} and m.key != "janus"):  # a ball's back is its front
        judges = {need: encoder() for need in metric.needs if need in ("clip", "iqa")}
        rgb, opacity = ball(8)
        pictures = Pictures(rgb, opacity if "opacity" in metric.needs else None)
        scorer = Scorer(judges, WORLD, TRUTH if "truth" in metric.needs else None)
        assert torch.isfinite(scorer(pictures, WORLD[0].id, [metric])[metric.key]).any(), metric.key
