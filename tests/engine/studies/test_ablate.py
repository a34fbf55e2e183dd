"""The ablations' tables say what they change, and a small one runs from the command line, and again."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from PIL import Image
from rich.console import Console

import names
import run_benchmark
from engine.recipes.tables import recipe
from engine.request import Request
from engine.studies import ablate, canvas
from engine.studies.canvas import SAMPLES
from engine.weights import manifest as weights
from suites.paper import PAPER
from suites.world import WORLD
from tests.engine import jobs
from tests.published import write
from tests.tiny import write_prior

WORLD_GROUND = ablate.Ground(WORLD, jobs.prior())
PAPER_GROUND = ablate.Ground(PAPER, SimpleNamespace(latent_shape=(4, 64, 64), image_size=512))


@pytest.fixture(scope="module")
def variants():
    return {name: ablation.variants(WORLD_GROUND) for name, ablation in ablate.TABLE.items()}


def changed(a, b) -> set[str]:
    """The fields in which two recipes differ, of their rules those that both have; "rule" where these are two."""
    outside = {f.name for f in fields(a) if f.name != "method" and getattr(a, f.name) != getattr(b, f.name)}
    rule = set() if type(a.method) is type(b.method) else {"rule"}
    both = {f.name for f in fields(a.method)} & {f.name for f in fields(b.method)}
    return outside | rule | {name for name in both if getattr(a.method, name) != getattr(b.method, name)}


def test_the_names_are_those_of_the_command_line(variants):
    assert sorted(ablate.TABLE) == sorted(names.ABLATIONS)
    for table in variants.values():
        folders = [r.name for r in table.values()]
        assert len(set(folders)) == len(folders)
        assert all("/" not in name and not name.startswith(".") for name in folders)


@pytest.mark.parametrize(
    ("name", "free"),
    [
        ("kappa", {"name", "rule", "kappa"}),
        ("inversion-cfg", {"name", "inversion_scale", "scale"}),
        ("inversion-steps", {"name", "steps"}),
    ],
)
def test_variants_differ_in_the_fields_that_they_are_named_for(variants, name, free):
    first, *others = variants[name].values()
    assert all("name" in changed(first, other) <= free for other in others)
    assert len({r.method for r in variants[name].values()}) == len(variants[name])


def test_the_published_setting_is_among_them(variants):
    sdi = recipe("world", "controlled", "sdi")
    for name in ("inversion-cfg", "inversion-steps", "proposed", "ism-to-sdi", "diversity"):
        assert sdi in [replace(r, name="sdi") for r in variants[name].values()], name
    assert [r.method.steps for r in variants["inversion-steps"].values()] == [3, 5, 10, 20, 30]  # fig. 11's


def test_sds_becomes_sdi_one_by_one(variants):
    sds, finer, annealed, sdi = variants["proposed"].values()
    assert changed(sds, finer) == {"name", "resolution"}
    assert (sds.resolution, finer.resolution) == (8, 64)  # the latents' size, the pictures'
    assert annealed.resolution == finer.resolution
    assert changed(annealed, sdi) == {"name", "guidance_weight", "rule"}


def test_ism_becomes_sdi_in_four_changes(variants):
    ism, annealed, whole, finer, sdi = variants["ism-to-sdi"].values()
    assert changed(ism, annealed) == {"name", "guidance_weight", "anneal", "t_max_early", "t_range"}
    assert changed(whole, finer) == {"name", "guidance_weight", "steps", "eta", "tau"}
    assert changed(finer, sdi) == {"name", "guidance_weight", "inversion_scale"}
    assert (annealed.method.t_max_early, annealed.method.t_range[0]) == sdi.method.t_range == whole.method.t_range
    assert len({replace(r, name="", method=sdi.method, guidance_weight=1.0) for r in (ism, annealed, whole, sdi)}) == 1


def test_lengths_are_multiples_of_the_recipes_or_of_what_is_asked_for(variants):
    sdi = [r for r in variants["length"].values() if r.name.startswith("sdi-")]
    assert [r.steps for r in sdi] == [150, 300, 600, 1500, 3000]
    assert all(changed(sdi[1], other) == {"name", "steps"} for other in sdi if other is not sdi[1])
    asked = ablate.length(replace(WORLD_GROUND, steps=10))
    assert [r.steps for r in asked.values()] == [5, 10, 20, 50, 100] * len(ablate.LONGER)


def test_the_canvas_has_every_rule_and_ddim(variants):
    assert [r.name for r in variants["canvas"].values()] == [*SAMPLES, *names.RECIPES]
    assert {r.steps for r in variants["canvas"].values()} == {canvas.PICTURE["controlled"][0], canvas.DDIM_STEPS}


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["kapa"], "did you mean 'kappa'?"),
        (["kappa", "--prompts", "a blue tulp"], "A blue tulip"),
        (["kappa", "--prior", "nowhere"], "no prior at nowhere"),
        ([], "NAME"),
    ],
)
def test_mistakes_are_one_sentence(capsys, arguments, part):
    assert run_benchmark.main(["ablate", *arguments]) == 2
    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1


def test_kappa_from_the_command_line_and_again(capsys, tmp_path):
    prior, run = str(write_prior(tmp_path / "prior")), tmp_path / "run"
    command = ["ablate", "kappa", "--prior", prior, "--out", str(run), "--steps", "2", "--jobs", "1"]
    command += ["--prompts", "strawberry", "--views", "4"]
    assert run_benchmark.main(command) == 0
    text = capsys.readouterr().out
    assert "5 jobs, 0 of them done" in text
    with Image.open(run / "kappa.png") as figure:
        figure.load()  # whole: what stands in it is tests/reports/test_ablations.py's
    rows, errors = pd.read_csv(run / "kappa.csv"), pd.read_csv(run / "kappa-eq8.csv")
    labels = [line.name for line in ablate.TABLE["kappa"].variants(WORLD_GROUND).values()]
    assert sorted(rows["method"].unique()) == sorted(labels)
    assert set(rows["label"]) <= set(errors["choice"])
    assert (errors["mean"] > 0).all()
    assert errors.loc[errors["choice"] == "DDIM's own", "mean"].max() < errors["mean"].max() / 100
    before = {p: p.stat().st_mtime_ns for p in run.glob("*/*/**/*")}
    assert run_benchmark.main(command) == 0
    assert "5 jobs, 5 of them done" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in run.glob("*/*/**/*")} == before


@pytest.mark.parametrize("name", names.ABLATIONS)
def test_in_the_papers_suite_rows_are_of_its_recipes(name):
    rows = ablate.TABLE[name].variants(PAPER_GROUND)
    assert [*rows] == [*ablate.TABLE[name].variants(WORLD_GROUND)]  # by the same labels
    for made in rows.values():
        assert (made.suite, made.track, made.half) == ("paper", "paper", True)
        assert made.orbit.resolution == 512
    flat = {made.steps for made in rows.values() if made.orbit.views == 1}
    assert flat <= {1_000, canvas.DDIM_STEPS, ablate.KAPPA_STEPS}


def test_the_papers_rows_have_published_sizes():
    sds, finer, annealed, sdi = ablate.proposed(PAPER_GROUND).values()
    assert [r.resolution for r in (sds, finer, annealed, sdi)] == [64, 512, 512, 512]
    assert replace(sdi, name="sdi") == recipe("paper", "paper", "sdi")
    request = Request(PAPER, "paper", (), Path(), steps=20, resolution=64, views=6)
    small = [ablate.changed(r, request, sdi, None) for r in (sds, finer, annealed, sdi)]
    assert [(r.resolution, r.orbit.resolution, r.orbit.views, r.steps) for r in small] == [
        (8, 64, 6, 20), *[(64, 64, 6, 20)] * 3
    ]  # fmt: skip
    flat = ablate.changed(ablate.canvases(PAPER_GROUND)["vsd"], request, sdi, "PHI")
    assert (flat.orbit.resolution, flat.orbit.views, flat.steps, flat.method.phi) == (512, 1, 20, "PHI")


def test_the_papers_ablation_in_small(capsys, monkeypatch, tmp_path):
    """By what fetch brings, without a truth."""
    monkeypatch.setenv(weights.PLACE, str(write(tmp_path / "weights")))
    command = ["ablate", "proposed", "--suite", "paper", "--rehearse", "--out", str(tmp_path / "run")]
    command += ["--clip", str(tmp_path / "weights" / "clip-vit-b32"), "--jobs", "1"]
    assert run_benchmark.main([*command, "--steps", "1", "--views", "2", "--prompts", "strawberry"]) == 0
    assert "4 jobs, 0 of them done" in capsys.readouterr().out
    rows = pd.read_csv(tmp_path / "run" / "proposed.csv")
    assert rows["label"].drop_duplicates().tolist() == [*ablate.proposed(PAPER_GROUND)]
    assert rows["clip_score_mean"].notna().all()
    assert "psnr_mean" not in rows  # there is no truth
    with Image.open(tmp_path / "run" / "proposed.png") as figure:
        figure.load()


@pytest.mark.parametrize(("steps", "taken"), [(2, 2), (20, 8), (300, 20), (10_000, 20)])
def test_what_an_inversion_costs_is_measured_over_a_part_of_a_job(tmp_path, monkeypatch, steps, taken):
    """So that a rehearsal, of 20 steps, is no longer than the jobs that it rehearses."""
    seen, now = [], iter(range(100))

    class Training:
        step = 0

        def __init__(self, job, prior, device): ...

        def advance(self):
            seen.append(self.step)

    monkeypatch.setattr(ablate, "Training", Training)
    monkeypatch.setattr(ablate.time, "process_time", lambda: next(now))
    made = replace(recipe("world", "controlled", "sdi"), steps=steps)
    found = ablate.cost(tmp_path, [made], jobs.PROMPT, jobs.prior(), "cpu", Console(quiet=True))
    timed = seen[taken // 2 if steps < 100 else ablate.WARM :]
    assert len(seen) == taken
    assert found == {"sdi": pytest.approx(steps / len(timed))}  # one tick of the clock, for the timed steps
    assert max(timed) < steps
    assert len({*timed}) == len(timed)
