import dataclasses
import json
from functools import partial

import pandas as pd
import pytest

from commands import run as run_command
from commands import sweep as sweep_command
from commands.options import request_of
from engine.plan import refuse_tuned_on
from engine.recipes import tuned as tuned_track
from engine.recipes.tables import recipe
from engine.recipes.variants import Variant, read_best, recipe_of
from engine.studies import sweep
from errors import UserError
from run_benchmark import main
from suites import SUITES


def test_the_grid_is_every_combination():
    rows = sweep.rows("sds", cfg=[5.0, 7.5], lr=[0.005, 0.01])
    assert [(r.name, r.cfg, r.lr) for r in rows] == [
        ("cfg5-lr0.005", 5, 0.005), ("cfg5-lr0.01", 5, 0.01),
        ("cfg7.5-lr0.005", 7.5, 0.005), ("cfg7.5-lr0.01", 7.5, 0.01),
    ]  # fmt: skip
    assert [r.name for r in sweep.rows("csd", cfg=None, lr=[0.01])] == ["lr0.01"]


def test_a_sweep_runs_on_the_prompts_kept_apart_in_a_folder_of_its_own(monkeypatch):
    asked = []
    monkeypatch.setattr("engine.plan.plan", lambda request, *_: asked.append(request) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        sweep_command.main(["sds", "--cfg", "5"])
    assert asked[0].prompts == SUITES["world"].tuned_on
    assert asked[0].out.as_posix().endswith("results/runs/sweep-sds-world-controlled")
    with pytest.raises(UserError, match="give --cfg, --inversion-cfg or --lr"):
        sweep_command.main(["sds"])


def test_another_cfg_needs_another_weight_in_the_controlled_track_alone():
    assert recipe_of(Variant("x", "sds", cfg=7.5), "world", "controlled")[1]
    assert not recipe_of(Variant("x", "sds", cfg=101.0), "world", "controlled")[1]  # the recipe's own
    made, unknown = recipe_of(Variant("x", "sds", cfg=7.5), "world", "paper")
    assert (made.method.scale, unknown) == (7.5, False)
    with pytest.raises(UserError, match="csd has no field `scale`, which --cfg sets"):
        recipe_of(Variant("x", "csd", cfg=7.5), "world", "controlled")


def test_the_inversion_has_a_scale_of_its_own():
    rows = sweep.rows("sdi", cfg=[7.5], inversion_cfg=[-7.5, 0.0], lr=[0.01])
    assert [r.name for r in rows] == ["cfg7.5-inv-7.5-lr0.01", "cfg7.5-inv0-lr0.01"]
    (same, known), (made, unknown) = (recipe_of(row, "world", "controlled") for row in rows)
    assert (same.method.inversion_scale, made.method.inversion_scale) == (-7.5, 0)
    assert (known, unknown) == (False, True)
    with pytest.raises(UserError, match="sds has no field `inversion_scale`, which --inversion-cfg sets"):
        recipe_of(Variant("x", "sds", inversion_cfg=0.0), "world", "controlled")


@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)
def test_tables_of_tuned_settings_leave_out_what_they_were_tuned_on(tmp_path, suite):
    def request(*arguments):
        return request_of(run_command.parser().parse_args(["--suite", suite.name, "--out", str(tmp_path), *arguments]))

    apart = suite.tuned_on
    assert len(apart) == 4
    assert set(request("--prompts", "all", "--tuned", "x").prompts) == set(suite.prompts) - set(apart)
    assert len(request("--prompts", "all", "--tuned", "x", "--limit", "39").prompts) == 39
    with pytest.raises(UserError, match="that settings are tuned on"):
        request("--prompts", apart[0].text, "--tuned", "x")
    (tmp_path / "sds" / apart[0].id).mkdir(parents=True)
    with pytest.raises(UserError, match="holds results of prompts"):
        refuse_tuned_on(request("--prompts", "strawberry", "--tuned", "x"))
    refuse_tuned_on(request("--prompts", "strawberry"))


def test_what_a_sweep_found_is_a_row_of_a_run(tmp_path):
    file = tmp_path / "best.json"
    found = {"method": "sds", "suite": "world", "track": "controlled", "source": None}
    found["best"] = {"cfg": 7.5, "lr": 0.005, "guidance_weight": 1.4}
    file.write_text(json.dumps(found))
    assert read_best(file, "world", "controlled") == Variant("sds-tuned", "sds", 7.5, None, 0.005, 1.4)
    made, unknown = recipe_of(read_best(file, "world", "controlled"), "world", "controlled")
    assert (made.name, made.method.scale, made.guidance_weight, unknown) == ("sds-tuned", 7.5, 1.4, False)
    for changed, said in (({"track": "paper"}, "not in this run's"), ({"source": "old"}, "edited after the sweep")):
        file.write_text(json.dumps(found | changed))
        with pytest.raises(UserError, match=said):
            read_best(file, "world", "controlled")
    file.write_text("{}")
    with pytest.raises(UserError, match="is no best"):
        read_best(file, "world", "controlled")


def test_from_a_sweep_to_a_row_of_what_it_found(capsys, tmp_path, monkeypatch):
    """Two scales on a tiny prior: best.json holds the better, and --tuned its row, on prompts that were not seen."""
    from engine import calibrate
    from reports import load as read
    from tests.eval.clip import write_clip
    from tests.tiny import write_prior

    monkeypatch.setattr(calibrate, "weight", partial(calibrate.weight, steps=2))
    common = ["--prior", str(write_prior(tmp_path / "prior")), "--clip", str(write_clip(tmp_path / "clip"))]
    common += ["--steps", "2", "--resolution", "16", "--views", "4", "--jobs", "1", "--together", "2"]
    out, run, names = tmp_path / "sweep", tmp_path / "run", ["cfg5", "cfg7.5"]
    monkeypatch.setattr(tuned_track, "FOLDER", tmp_path / "kept")
    assert main(["sweep", "sds", "--cfg", "5", "7.5", "--limit", "1", "--keep", "--out", str(out), *common]) == 0
    assert "2 jobs, 0 of them done" in capsys.readouterr().out

    held, means = json.loads((out / "best.json").read_text()), read(out).wide.groupby("method")["clip_score"].mean()
    said = (held["method"], held["suite"], held["track"], held["select"])
    assert said == ("sds", "world", "controlled", "clip_score")
    assert held["prompts"] == [SUITES["world"].tuned_on[0].text]
    assert [row["setting"] for row in held["evidence"]] == names
    assert [row["mean"] for row in held["evidence"]] == pytest.approx(means[names].tolist())
    assert held["best"]["setting"] == means.idxmax()
    own = recipe_of(Variant("", "sds"), "world", "controlled")[0].guidance_weight
    assert len({own, *(row["guidance_weight"] for row in held["evidence"])}) == 3  # each scale has a weight of its own
    assert list(pd.read_csv(out / "sweep.csv")["setting"]) == names
    assert f"| **{held['best']['setting']}** |" in (out / "sweep.md").read_text()

    tuned = ["--methods", "sds", "--tuned", str(out / "best.json"), "--out", str(run), *common, "--prompts"]
    assert main([*tuned, held["prompts"][0]]) == 2
    assert "that settings are tuned on" in capsys.readouterr().err
    assert main([*tuned, "strawberry"]) == 0
    (config,) = run.glob("sds-tuned/*/0/config.json")
    made, best = json.loads(config.read_text())["recipe"], held["best"]
    assert (made["method"]["scale"], made["lr"]) == (best["cfg"], best["lr"])
    assert made["guidance_weight"] == best["guidance_weight"]
    assert sorted(pd.read_csv(run / "table.csv")["method"].unique()) == ["sds", "sds-tuned"]

    of_track = ["--track", "tuned", "--methods", "sds", "--out", str(tmp_path / "track"), *common, "--prompts"]
    assert main([*of_track, held["prompts"][0]]) == 2
    assert "that settings are tuned on" in capsys.readouterr().err
    assert main([*of_track, "strawberry"]) == 0
    (config,) = (tmp_path / "track").glob("sds/*/0/config.json")
    same = json.loads(config.read_text())["recipe"]
    assert same | {"name": "sds-tuned", "track": "controlled"} == made
    assert "track tuned;" in (tmp_path / "track" / "table.md").read_text()
    assert main([*of_track[:-1], "--prior", "exact", "--prompts", "strawberry"]) == 2
    assert "sds was tuned with another prior" in capsys.readouterr().err


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """What a sweep of SDS found, where the tuned track reads it; a function that changes it."""
    monkeypatch.setattr(tuned_track, "FOLDER", tmp_path)
    best = {"cfg": 7.5, "lr": 0.005, "guidance_weight": 1.4}
    found = {"method": "sds", "suite": "world", "track": "controlled", "prior": "p", "best": best}
    found["prompts"] = [prompt.text for prompt in SUITES["world"].tuned_on]

    def write(**changes):
        path = tuned_track.place("world", "sds")
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(found | changes))

    write()
    return write


def test_the_tuned_track_is_the_first_one_at_what_was_found(kept):
    made, base = recipe("world", "tuned", "sds"), recipe("world", "controlled", "sds")
    assert (made.method.scale, made.lr, made.guidance_weight, made.track) == (7.5, 0.005, 1.4, "tuned")
    own = {"track": base.track, "lr": base.lr, "guidance_weight": base.guidance_weight, "method": base.method}
    assert dataclasses.replace(made, **own) == base
    assert recipe_of(Variant("sds", "sds"), "world", "tuned") == (made, False)


def test_what_was_not_found_for_the_track_is_refused(kept):
    with pytest.raises(UserError, match=r"ism has no tuned settings in the world suite: run_benchmark.py sweep ism"):
        recipe("world", "tuned", "ism")
    with pytest.raises(UserError, match="A rule from a file has no settings in the tuned track"):
        recipe_of(Variant("x", "my_rule.py:MyRule"), "world", "tuned")
    strawberry = "A ripe strawberry"
    for changes, said in (
        ({"method": "sdi"}, "is of sdi in the world suite's controlled track"),
        ({"track": "paper"}, "is of sds in the world suite's paper track"),
        ({"prompts": [strawberry]}, "not found on the prompts that are kept apart"),
        ({"best": {"cfg": 1.0}}, "is no best.json of a sweep: it lacks 'lr'"),
    ):
        kept(**changes)
        with pytest.raises(UserError, match=said):
            recipe("world", "tuned", "sds")
    kept()
    with pytest.raises(UserError, match="sds was tuned with another prior"):
        tuned_track.refuse_other_prior("world", ("sds",), "q")
    tuned_track.refuse_other_prior("world", ("sds",), "p")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sweep", "sds", "--cfg", "5", "--track", "tuned"], "give it another --track"),
        (["sweep", "sds", "--cfg", "5", "--track", "paper", "--keep"], "in the controlled track"),
        (["sweep", "sds", "--cfg", "5", "--scene", "gaussians", "--keep"], "on its own scene"),
        (["sweep", "my_rule.py:MyRule", "--cfg", "5", "--keep"], "--keep takes what was found for a method of `list`"),
        (["--track", "tuned", "--methods", "sds", "--scene", "gaussians"], "leave out --scene"),
    ],
)
def test_what_cannot_be_kept_is_said_before_any_work(capsys, words, said):
    assert main(words) == 2
    assert said in " ".join(capsys.readouterr().err.split())
