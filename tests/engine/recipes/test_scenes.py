"""`--scene`: the same rule on another kind of scene."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest

import names
from commands.options import request_of
from commands.run import parser
from engine.recipes.base import Recipe, Shading
from engine.recipes.scenes import AROUND, on_scene
from engine.recipes.tables import FAMILIES, recipe
from engine.recipes.variants import named
from errors import UserError
from scene.gaussians import GaussiansConfig
from scene.scenes import SCENES


def test_every_scene_that_can_be_named_is_one_and_every_family_has_it():
    assert set(names.SCENES) <= set(SCENES)
    for kind, families in AROUND.items():
        assert kind in names.SCENES
        assert set(families) == set(FAMILIES)
        for changes in families.values():
            assert set(changes) < {f.name for f in fields(Recipe)}
            assert changes["scene"].kind == kind


def test_none_and_a_recipes_own_scene_change_nothing():
    made = recipe("world", "controlled", "sdi")
    assert on_scene(made, None) is made
    assert on_scene(made, "nerf") is made


def test_in_the_controlled_track_the_scene_alone_differs():
    made = recipe("world", "controlled", "sdi")
    assert on_scene(made, "gaussians") == replace(made, scene=GaussiansConfig())


@pytest.mark.parametrize("suite", ["world", "paper"])
@pytest.mark.parametrize("method", ["sdi", "sds", "sjc", "vsd", "ism"])
def test_in_the_paper_track_the_rule_stays_and_what_gaussians_cannot_have_goes(suite, method):
    before = recipe(suite, "paper", method)
    made = on_scene(before, "gaussians")
    assert (made.name, made.method) == (before.name, before.method)
    assert made.shading == Shading()
    assert made.regularisers == ()
    assert made.optimizer == "adam"


def test_in_the_papers_suite_it_is_lucid_dreamer():
    made = on_scene(recipe("paper", "paper", "sdi"), "gaussians")
    assert (made.steps, made.batch, made.resolution, made.lr) == (5_000, 4, 512, 0.005)
    rate = {g["name"]: g["lr"] for g in replace(made.scene, number=2).build(_rng()).parameter_groups(made.lr)}
    assert rate["mean"] == pytest.approx(3.5 * 0.00016)
    assert [rate[k] for k in ("colour", "opacity", "scale", "rotation")] == pytest.approx([0.005, 0.05, 0.005, 0.001])
    scene = made.scene
    times = [made.steps * t for t in (scene.densify_from, scene.densify_until, scene.densify_every, scene.reset_every)]
    assert times == pytest.approx([100, 3_000, 100, 300])


def _rng():
    import torch

    return torch.Generator().manual_seed(0)


def test_a_scene_that_nobody_knows_a_recipe_for_is_one_sentence():
    with pytest.raises(UserError, match="sjc of the paper track is made for the scene voxels, not for nerf"):
        on_scene(recipe("paper", "paper", "sjc"), "nerf")
    with pytest.raises(UserError, match="no scene 'gaussian': did you mean 'gaussians'"):
        request_of(parser().parse_args(["--scene", "gaussian"]))


def test_the_command_line_asks_for_it_and_keeps_its_results_apart():
    request = request_of(parser().parse_args(["--scene", "gaussians"]))
    assert request.scene == "gaussians"
    assert request.out.name == "world-controlled-gaussians"
    assert request_of(parser().parse_args([])).scene is None


def test_settings_tuned_on_another_scene_are_refused(tmp_path):
    best = {"cfg": None, "lr": 0.02, "guidance_weight": 1.0}
    found = {"method": "sds", "suite": "world", "track": "controlled", "best": best, "source": None, "scene": None}
    (tmp_path / "best.json").write_text(json.dumps(found))
    tuned = [str(tmp_path / "best.json")]
    assert named([], tuned, "world", "controlled")[0].lr == 0.02
    with pytest.raises(UserError, match="give the sweep the same --scene"):
        named([], tuned, "world", "controlled", "gaussians")
