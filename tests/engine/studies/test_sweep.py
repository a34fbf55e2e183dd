import json

import pytest

import run_benchmark
from engine.plan import prompts_of
from engine.recipes.variants import Variant, read_best, recipe_of
from engine.studies import sweep
from errors import UserError
from prompts import held_out, load


def options(*arguments):
    return run_benchmark.sweep_parser().parse_args(list(arguments))


def test_the_grid_is_every_combination():
    rows = sweep.rows(options("sds", "--cfg", "5", "7.5", "--lr", "0.005", "0.01"))
    assert [(r.name, r.cfg, r.lr) for r in rows] == [
        ("cfg5-lr0.005", 5, 0.005), ("cfg5-lr0.01", 5, 0.01),
        ("cfg7.5-lr0.005", 7.5, 0.005), ("cfg7.5-lr0.01", 7.5, 0.01),
    ]  # fmt: skip
    assert [r.name for r in sweep.rows(options("csd", "--lr", "0.01"))] == ["lr0.01"]


def test_a_sweep_runs_on_the_prompts_kept_apart_in_a_folder_of_its_own():
    given = options("sds", "--cfg", "5")
    sweep.complete(given)
    assert given.prompts == [p.text for p in held_out("world")]
    assert given.out.endswith("results/runs/sweep-sds-world-controlled")
    with pytest.raises(UserError, match="give --cfg or --lr"):
        sweep.complete(options("sds"))


def test_another_cfg_needs_another_weight_in_the_controlled_track_alone():
    assert recipe_of(Variant("x", "sds", cfg=7.5), "world", "controlled")[1]
    assert not recipe_of(Variant("x", "sds", cfg=101.0), "world", "controlled")[1]  # the recipe's own
    made, unknown = recipe_of(Variant("x", "sds", cfg=7.5), "world", "paper")
    assert (made.method.scale, unknown) == (7.5, False)
    with pytest.raises(UserError, match="csd has no field `scale`"):
        recipe_of(Variant("x", "csd", cfg=7.5), "world", "controlled")


@pytest.mark.parametrize("suite", ["world", "paper"])
def test_tables_of_tuned_settings_leave_out_what_they_were_tuned_on(tmp_path, suite):
    apart = held_out(suite)
    assert len(apart) == 4
    given = run_benchmark.run_parser().parse_args(["--suite", suite, "--prompts", "all", "--tuned", "x"])
    assert set(prompts_of(given, tmp_path)) == set(load(suite)) - set(apart)
    given.prompts = [apart[0].text]
    with pytest.raises(UserError, match="that settings are tuned on"):
        prompts_of(given, tmp_path)
    (tmp_path / "sds" / apart[0].id).mkdir(parents=True)
    given.prompts = ["strawberry"]
    with pytest.raises(UserError, match="holds results of prompts"):
        prompts_of(given, tmp_path)
    given.tuned = []
    assert len(prompts_of(given, tmp_path)) == 1


def test_what_a_sweep_found_is_a_row_of_a_run(tmp_path):
    file = tmp_path / "best.json"
    found = {"method": "sds", "suite": "world", "track": "controlled", "source": None}
    found["best"] = {"cfg": 7.5, "lr": 0.005, "guidance_weight": 1.4}
    file.write_text(json.dumps(found))
    assert read_best(file, "world", "controlled") == Variant("sds-tuned", "sds", 7.5, 0.005, 1.4)
    made, unknown = recipe_of(read_best(file, "world", "controlled"), "world", "controlled")
    assert (made.name, made.method.scale, made.guidance_weight, unknown) == ("sds-tuned", 7.5, 1.4, False)
    for changed, said in (({"track": "paper"}, "not in this run's"), ({"source": "old"}, "edited after the sweep")):
        file.write_text(json.dumps(found | changed))
        with pytest.raises(UserError, match=said):
            read_best(file, "world", "controlled")
    file.write_text("{}")
    with pytest.raises(UserError, match="is no best"):
        read_best(file, "world", "controlled")
