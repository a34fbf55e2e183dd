"""The gate: passes what it was made from, fails what fell, calls better what is, refuses what it cannot judge."""

import dataclasses
import io
import json
import shutil
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file
from scipy.stats import t

from errors import UserError
from eval import metrics
from reports import gate
from reports.gate import reference as references
from reports.gate import tell
from run_benchmark import main
from tests.reports.synthetic import WORLD, ball, random_scores, write_job

METHODS = ("sds", "sdi")
SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three prompts, three seeds, and a reference of them."""
    folder, rng = tmp_path_factory.mktemp("gate"), torch.Generator().manual_seed(0)
    for method in METHODS:
        for p, prompt in enumerate(WORLD[:3]):
            centre = random_scores(rng)
            for seed in SEEDS:
                noise = torch.randn((), generator=rng)
                scores = centre | {
                    "clip_score": centre["clip_score"] + noise,
                    "iou": 0.5 + 0.1 * p + 0.004 * noise.expand(8),
                }
                job = write_job(folder / "run", method, prompt, seed, ball(8), scores=scores)
                (job / "contact.png").write_bytes(b"picture")
    gate.save(folder / "run", folder / "reference.json")
    return folder


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "copy")


@pytest.fixture
def run(folder):
    return folder / "run"


@pytest.fixture
def reference(folder):
    return folder / "reference.json"


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def shift(run, method, metric, by, seed="*"):
    for path in run.glob(f"{method}/*/{seed}/scores.csv"):
        scores = pd.read_csv(path)
        scores[metric] += by
        scores.to_csv(path, index=False)


def failed(found):
    return {(r["method"], r["metric"]): r["verdict"] for _, r in found.rows.iterrows() if r["verdict"] != "ok"}


def told(found):
    out = io.StringIO()
    tell.show(found, Console(file=out, width=160))
    return out.getvalue()


def test_a_run_passes_its_own_gate_and_is_reproduced(run, reference):
    found = gate.check(run, reference)
    assert found.passed
    assert found.reproduced
    assert not found.differing
    assert len(found.rows) == 2 * 14
    assert "all 18 jobs are equal, bit by bit" in told(found)


def test_a_reference_says_what_chance_does_and_of_what_it_is(run, reference):
    content = json.loads(reference.read_text())
    cell = content["methods"]["sdi"]["clip_score"]
    assert set(cell) == set(references.CELL)
    means = pd.concat([pd.read_csv(p).assign(p=p.parts[-3], s=p.parts[-2]) for p in run.glob("sdi/*/*/scores.csv")])
    spread = means.groupby(["p", "s"])["clip_score"].mean().groupby("p").var().mean() ** 0.5
    assert cell["spread"] == pytest.approx(spread, rel=1e-4)
    variances = means.groupby(["p", "s"])["clip_score"].mean().groupby("p").var()
    assert cell["freedom"] == pytest.approx(variances.sum() ** 2 / (variances**2 / 2).sum(), rel=1e-3)
    assert 2 < cell["freedom"] < 6
    assert content["provenance"]["made"]
    assert content["recipes"]["sdi"]["steps"] == 300
    assert reference.with_suffix(".csv.xz").stat().st_size < 20_000


@pytest.mark.parametrize(
    ("metric", "by", "verdict"),
    [
        ("clip_score", -6.0, "worse"),
        ("clip_score", 6.0, "better"),
        ("clip_score", -0.1, None),
        ("fog", 2.5, "worse"),
        ("chroma", 0.2, "worse"),  # further from 1
        ("chroma", -0.2, "better"),
        ("opacity", 0.1, "moved"),
    ],
)
def test_what_fell_fails_and_what_is_better_is_news(run, reference, metric, by, verdict):
    shift(run, "sdi", metric, by)
    found = gate.check(run, reference)
    assert failed(found) == ({("sdi", metric): verdict} if verdict else {})
    assert found.passed == (verdict in (None, "better"))


def test_a_change_within_chance_is_seen_though_it_passes(run, reference):
    shift(run, "sdi", "clip_score", -0.1, seed=1)
    found = gate.check(run, reference)
    assert found.passed
    assert not found.reproduced
    assert next(iter(found.drifted)) == f"sdi/{WORLD[0].id}/1"
    assert "3 of 18 jobs drifted beyond rounding; the first is" in told(found)
    assert main(["check", str(run), "--baseline", str(reference)]) == 0
    assert main(["check", str(run), "--baseline", str(reference), "--strict"]) == 1


def test_where_no_seed_has_failed_yet_one_that_does_may_be_chance(folder, run):
    """Of right or wrong views, that is; of other metrics a spread of 0 is what was measured."""
    reference = folder / "right.json"
    for path in run.glob("*/*/*/scores.csv"):
        pd.read_csv(path).assign(r_precision=100.0, iou=0.5).to_csv(path, index=False)
    cells = gate.save(run, reference).methods["sdi"]
    assert cells["r_precision"]["spread"] == pytest.approx(25)  # of 100, 100, 100, 50
    assert cells["r_precision"]["mean"] == 100
    assert cells["iou"]["spread"] == 0
    path = next(run.glob("sdi/*/*/scores.csv"))
    scores = pd.read_csv(path)
    scores.loc[:3, "r_precision"] = 0.0
    scores.to_csv(path, index=False)
    assert failed(gate.check(run, reference)) == {}
    for path in run.glob("sdi/*/*/scores.csv"):
        pd.read_csv(path).assign(r_precision=0.0).to_csv(path, index=False)
    assert failed(gate.check(run, reference)) == {("sdi", "r_precision"): "worse"}


def test_what_may_fail_either_way_has_half_of_the_level_on_each_side(run, reference):
    content = json.loads(reference.read_text())
    cell = content["methods"]["sdi"]["opacity"]
    cell |= {"spread": 1.0, "freedom": 8.0, "least": 0.0}
    content["methods"]["sdi"]["clip_score"] |= {"spread": 1.0, "freedom": 8.0, "least": 0.0}
    reference.write_text(json.dumps(content))
    rows = gate.check(run, reference).rows.set_index(["method", "metric"])["limit"]
    looked = sum(map(len, content["methods"].values()))
    for metric, ways in (("opacity", 2), ("clip_score", 1)):
        chance = t.ppf(1 - references.LEVEL / (ways * looked), 8.0) * (2 / 9) ** 0.5
        assert rows["sdi", metric] == pytest.approx(chance), metric


def test_rounding_that_was_measured_is_no_drift(folder, run, reference):
    other = shutil.copytree(run, folder / "other")
    shift(other, "sdi", "clip_score", 0.03)
    gate.save(run, reference, drift=other)
    for job in run.glob("*/*/*/views/rgb_000.png"):
        job.write_bytes(job.read_bytes() + b"0")
    shift(run, "sdi", "clip_score", -0.02)
    found = gate.check(run, reference)
    assert found.reproduced
    assert len(found.differing) == 18
    assert "no more than this platform's rounding" in told(found)


def with_scenes(run, reference):
    """A reference that knows the scenes of its jobs."""
    for number, job in enumerate(run.glob("*/*/*")):
        write_scene(job / "scene.safetensors", number)
    return gate.save(run, reference)


def write_scene(path, number):
    save_file({"density": torch.tensor([number])}, path)


def test_of_equal_scenes_nothing_is_chance(run, reference):
    """A change that other random numbers might have made fails where no random number can have made it, and is no news
    of the rule where it is upward."""
    spread = with_scenes(run, reference).methods["sdi"]["clip_score"]["spread"]
    assert spread > 0.5
    shift(run, "sdi", "clip_score", -0.6)
    found = gate.check(run, reference)
    assert failed(found) == {("sdi", "clip_score"): "worse"}
    assert "Every scene of sdi is the reference's" in told(found)
    shift(run, "sdi", "clip_score", 1.2)
    assert failed(gate.check(run, reference)) == {("sdi", "clip_score"): "moved"}
    shift(run, "sdi", "clip_score", -0.6 - 0.2)  # less than matters
    assert failed(gate.check(run, reference)) == {}


def test_a_rounding_that_was_measured_is_granted_to_other_scenes_alone(folder, run, reference):
    def limit():
        cells = gate.check(run, reference).rows.set_index(["method", "metric"])
        return cells.loc[("sdi", "clip_score"), "limit"]

    least = with_scenes(run, reference).methods["sdi"]["clip_score"]["least"]
    other = shutil.copytree(run, folder / "other")
    shift(other, "sdi", "clip_score", 2.0)
    cells = gate.save(run, reference, drift=other).methods["sdi"]
    one, all_of_them = (t.ppf(1 - references.LEVEL / (2 * means), 9) for means in (9, 2 * 9 * len(cells)))
    assert 2.0 * one < cells["clip_score"]["drift"] < 2.0 * all_of_them
    assert cells["iou"]["drift"] == 0
    assert limit() == least
    write_scene(next(run.glob("sdi/*/*/scene.safetensors")), 99)
    assert limit() == pytest.approx(cells["clip_score"]["drift"])


def test_chance_is_of_the_jobs_alone_whose_scenes_are_others(run, reference):
    def limit():
        rows = gate.check(run, reference).rows.set_index(["method", "metric"])
        return rows.loc[("sdi", "clip_score"), "limit"], rows.loc[("sds", "clip_score"), "limit"]

    with_scenes(run, reference)
    least, untouched = limit()
    scenes = sorted(run.glob("sdi/*/*/scene.safetensors"))
    write_scene(scenes[0], 99)
    one, _ = limit()
    for scene in scenes:
        write_scene(scene, 99)
    all_nine, same = limit()
    assert least < one < all_nine
    assert all_nine == pytest.approx(3 * one)  # the root of 9
    assert untouched == same


def test_other_seeds_are_held_against_what_chance_does(folder, run, reference):
    others = folder / "others"
    for job in run.glob("*/*/2"):
        shutil.copytree(job, others / job.relative_to(run).parent / "7")
    found = gate.check(others, reference)
    assert found.passed
    assert not found.reproduced
    assert "other seeds" in told(found)
    shift(others, "sds", "clip_score", -9)
    assert failed(gate.check(others, reference)) == {("sds", "clip_score"): "worse"}


def test_the_worst_prompts_are_named_with_their_pictures(run, reference):
    path = run / "sdi" / WORLD[2].id / "0" / "scores.csv"
    for each in run.glob("sdi/*/*/scores.csv"):
        scores = pd.read_csv(each)
        scores["iou"] -= 0.2 if each == path else 0.05
        scores.to_csv(each, index=False)
    text = told(gate.check(run, reference))
    assert "sdi: IoU worse by" in text
    assert f"-0.2 in {WORLD[2].id}/0: {path.parent / 'contact.png'}" in text


def test_a_call_of_the_network_and_a_setting_may_not_move(run, reference):
    for path in run.glob("sdi/*/*/record.json"):
        edit(path, lambda record: record.update(nfe=record["nfe"] + 1))
    assert failed(gate.check(run, reference)) == {("sdi", "nfe"): "worse"}
    for path in run.glob("sds/*/*/config.json"):
        edit(path, lambda config: config["recipe"].update(lr=0.5))
    found = gate.check(run, reference)
    assert failed(found)[("sds", "settings")] == "moved"
    assert "lr null -> 0.5" in told(found)


def test_divergence_fails(run, reference):
    job = run / "sds" / WORLD[0].id / "0"
    edit(job / "record.json", lambda record: record.update(status="non-finite"))
    found = gate.check(run, reference)
    assert failed(found)[("sds", "diverged_pct")] == "worse"
    assert "it ended as non-finite" in found.drifted[f"sds/{WORLD[0].id}/0"]


def test_what_is_missing_cannot_be_judged(run, reference):
    shutil.rmtree(run / "sdi" / WORLD[1].id / "1")
    with pytest.raises(UserError, match=f"it lacks sdi {WORLD[1].id[:2]}/1"):
        gate.check(run, reference)
    for path in run.glob("sds/*/*/scores.csv"):
        pd.read_csv(path).drop(columns="iou").to_csv(path, index=False)
    shutil.rmtree(run / "sdi")
    with pytest.raises(UserError, match="it lacks sdi"):
        gate.check(run, reference)


def test_a_metric_that_is_missing_or_of_another_version_cannot_be_judged(run, reference, monkeypatch):
    newer = tuple(dataclasses.replace(m, version=2) if m.key == "fog" else m for m in metrics.METRICS)
    with monkeypatch.context() as later:
        later.setattr(metrics, "METRICS", newer)
        with pytest.raises(UserError, match="fog is of version 2, the reference's of 1"):
            gate.check(run, reference)
    for path in run.glob("sds/*/*/scores.csv"):
        pd.read_csv(path).drop(columns="iou").to_csv(path, index=False)
    with pytest.raises(UserError, match="iou of sds is missing"):
        gate.check(run, reference)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c["protocol"]["steps"].update(sdi=500), "the steps of sdi is 300, the reference's 500"),
        (lambda c: c["protocol"].update(prior="q" * 64), "the prior's checksum"),
        (lambda c: c["protocol"].update(encoder="f" * 16), "the encoder's checksum"),
        (lambda c: c["protocol"].update(reward="f" * 16), "the reward's checksum is None"),
        (lambda c: c["protocol"].update(views=50), "the number of views is 8"),
        (lambda c: c["protocol"].update(candidates="07"), "the prompts that R-Precision ranks"),
        (lambda c: c["protocol"]["orbit"].update(elevation=3.0), "the orbit"),
        (lambda c: c["protocol"].update(prompts=["99-moon"]), "none of its methods and prompts"),
        (lambda c: c.update(methods={}), "has no methods, so that nothing would be compared"),
        (lambda c: c["methods"].update(sdi={}), "has no means of sdi"),
        (lambda c: c["methods"]["sdi"]["iou"].update(mean=float("nan")), "The mean of iou of sdi .* is nan"),
        (lambda c: c["methods"]["sdi"]["iou"].update(least=float("inf")), "The least of iou of sdi .* is inf"),
        (lambda c: c["methods"]["sdi"]["iou"].update(drift=-1.0), "below 0"),
        (lambda c: c["methods"]["sdi"]["iou"].update(mean="high"), "no finite number"),
        (lambda c: c["methods"]["sdi"]["iou"].pop("spread"), "iou of sdi .* lacks spread"),
        (lambda c: c["protocol"].pop("seeds"), "lacks the protocol's seeds"),
        (lambda c: c.pop("views"), "lacks views"),
        (lambda c: c.update(format=1), "of format 1"),
        (lambda c: c["views"].update(sha256="0"), "are not those that"),
    ],
)
def test_what_cannot_be_judged_is_refused_with_the_reason(run, reference, change, reason, capsys):
    edit(reference, change)
    with pytest.raises(UserError, match=reason):
        gate.check(run, reference)
    assert main(["check", str(run), "--baseline", str(reference)]) == 2


def test_a_reference_that_is_not_there_or_cannot_be_read_or_written_is_said(run, folder):
    path = folder / "nothing.json"
    with pytest.raises(UserError, match="There is no reference"):
        gate.check(run, path)
    for content, says in (("{", "cannot be read"), ("{}", "lacks format"), ("[]", "is no JSON object")):
        path.write_text(content)
        with pytest.raises(UserError, match=says):
            gate.check(run, path)
    with pytest.raises(UserError, match="make the folder"):
        gate.save(run, folder / "no" / "reference.json")


def test_a_reference_lowered_by_hand_fails_its_own_run(run, reference):
    """The views' scores are what is compared, and they are sealed."""
    beside = reference.with_suffix(".csv.xz")
    table = pd.read_csv(beside)
    table["clip_score"] += 9
    table.to_csv(beside, index=False)
    with pytest.raises(UserError, match="are not those that"):
        gate.check(run, reference)


def test_a_run_that_is_not_whole_or_disagrees_with_itself_is_no_reference(run, folder):
    shutil.rmtree(run / "sdi" / WORLD[1].id / "1")
    with pytest.raises(UserError, match="cannot be a reference: it lacks sdi"):
        gate.save(run, folder / "new.json")
    rng = torch.Generator().manual_seed(1)
    write_job(run, "sdi", WORLD[7], 0, ball(8), scores=random_scores(rng), prior="q" * 64)
    with pytest.raises(UserError, match="mixes priors"):
        gate.save(run, folder / "mixed.json")


def test_what_the_run_has_besides_is_not_looked_at(run, reference):
    rng = torch.Generator().manual_seed(1)
    write_job(run, "sdi", WORLD[7], 0, ball(8), scores=random_scores(rng, -9))
    write_job(run, "sdi", WORLD[0], 9, ball(8), scores=random_scores(rng, -9))
    write_job(run, "vsd", WORLD[0], 0, ball(8), scores=random_scores(rng, -9), steps=7, prior="q" * 64)
    assert failed(gate.check(run, reference)) == {}


def test_a_renewed_reference_keeps_its_least_changes(run, reference):
    edit(reference, lambda c: c["methods"]["sdi"]["clip_score"].update(least=0.125))
    edit(reference, lambda c: c["methods"]["sds"]["clip_score"].update(least=0.125))
    assert gate.save(run, reference).methods["sdi"]["clip_score"]["least"] == 0.125


def test_junit_and_the_page_of_a_job_say_the_same(run, reference, folder, monkeypatch):
    page, xml = folder / "page.md", folder / "gate.xml"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    shift(run, "sdi", "clip_score", -6.0)
    assert main(["check", str(run), "--baseline", str(reference), "--junit", str(xml)]) == 1
    suite = ET.parse(xml).getroot()
    cases = {(c.get("classname"), c.get("name")): c for c in suite}
    assert suite.get("failures") == "1"
    assert "CLIP score worse by 6.00" in cases[("sdi", "clip_score")].find("failure").get("message")
    assert cases[("gate", "reproduced")].find("skipped") is not None
    assert "Regressed? Yes: 1 worse of 28" in page.read_text()
    edit(reference, lambda c: c.update(methods={}))
    assert main(["check", str(run), "--baseline", str(reference), "--junit", str(xml)]) == 2
    assert ET.parse(xml).getroot().get("errors") == "1"
    assert "Cannot judge" in page.read_text()
