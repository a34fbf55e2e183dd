"""A new suite, prior and scene come from outside the tree, each in what would be one file and one line, and go the
whole way from the command line to a table row.

A metric does so in tests/eval, an executor in tests/engine/test_queue.py, a rule in tests/engine/recipes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from engine import prior as priors
from engine.executors import EXECUTORS
from engine.recipes import tables
from engine.recipes.base import Recipe
from engine.recipes.scenes import AROUND
from prompts import numbered
from run_benchmark import main
from scene.base import Scene, SceneConfig
from scene.cameras import Render
from scene.gaussians import GaussiansConfig
from scene.scenes import SCENES, config_of
from suites import SUITES
from suites.base import Judges, Suite
from tests.engine import jobs
from tests.eval.clip import write_clip


@dataclass(frozen=True)
class WallConfig(SceneConfig):
    """A wall of one colour, seen alike from everywhere."""

    kind: ClassVar[str] = "wall"

    brightness: float = 0.5

    def build(self, rng: torch.Generator) -> Wall:
        return Wall(self)


class Wall(Scene):
    """It splits in two half-way: its state changes shape, and the optimiser's with it."""

    def __init__(self, config: WallConfig):
        super().__init__()
        self.colours = nn.Parameter(torch.full((1, 3), config.brightness))

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        return [{"params": [self.colours], "lr": lr}]

    def render(self, cameras, resolution, progress=1.0, rng=None, shading="albedo", normals=False) -> Render:
        rgb = self.colours.mean(0).view(1, 3, 1, 1).expand(len(cameras), 3, resolution, resolution)
        return Render(rgb, torch.ones_like(rgb[:, :1]), torch.zeros_like(rgb[:, :1]))

    def after_step(self, render, optimizer, progress, rng) -> None:
        if len(self.colours) == 1 and progress >= 0.5:
            assert self.colours.grad is not None
            optimizer.state[self.colours] = {
                name: v.repeat(2, 1) if v.ndim else v for name, v in optimizer.state[self.colours].items()
            }
            self.colours.data = self.colours.data.repeat(2, 1)

    def restore(self, state) -> None:
        self.colours.data = torch.empty_like(state["colours"])
        super().restore(state)


def walls(name: str, latents: int) -> Recipe:
    return replace(tables.controlled(name, latents), scene=WallConfig(0.25), regularisers=())


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A suite of two prompts with a prior and judges of its own, whose recipes build walls; done in this process."""
    clip = write_clip(tmp_path / "clip")
    suite = Suite(
        name="toy",
        about="two balls",
        prompts=numbered(["a red ball", "a red ball in the sun"]),
        tracks={"controlled": "walls"},
        prior=tmp_path,
        latents=(3, 8, 8),
        judges=Judges(clip=clip),
    )
    monkeypatch.setitem(SUITES, "toy", suite)
    monkeypatch.setitem(tables.FAMILIES, "walls", walls)
    monkeypatch.setitem(SCENES, "wall", WallConfig)
    monkeypatch.setitem(priors.KINDS, "gaussian", priors.Kind(lambda device, half: jobs.prior(), lambda: "gaussian 1"))
    monkeypatch.setitem(EXECUTORS, "local", ("tests.engine.executors.here", "Here"))
    return suite


def test_a_suite_a_prior_and_a_scene_reach_a_table(toy, tmp_path, capsys):
    words = ["--suite", "toy", "--prior", "gaussian", "--methods", "sds", "--steps", "4", "--views", "3"]
    assert main([*words, "--resolution", "16", "--out", str(tmp_path / "run")]) == 0
    assert "2 jobs, 0 of them done" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "run" / "table.csv")
    assert table[["method", "n", "n_failed"]].values.tolist() == [["sds", 2, 0]]
    assert table["clip_score_mean"].notna().all()
    assert "iou_mean" not in table  # nothing is known of these objects
    scenes = sorted((tmp_path / "run").glob("*/*/*/scene.safetensors"))
    assert [s.parent.parent.name for s in scenes] == ["01-a-red-ball", "02-a-red-ball-in-the-sun"]


def test_gaussians_reach_a_table_and_are_rendered_again(toy, tmp_path, monkeypatch):
    """By `--scene`, on whatever recipes build otherwise; their number has changed when `render` opens them."""
    small = GaussiansConfig(number=40, split_above=1.0)
    monkeypatch.setitem(AROUND["gaussians"], "walls", {"scene": small, "regularisers": ()})
    words = ["--suite", "toy", "--prior", "gaussian", "--methods", "sds", "--steps", "4", "--views", "3"]
    run = tmp_path / "run"
    assert main([*words, "--resolution", "16", "--scene", "gaussians", "--limit", "1", "--out", str(run)]) == 0
    assert pd.read_csv(run / "table.csv")["clip_score_mean"].notna().all()
    assert "scene gaussians" in (run / "table.md").read_text()
    (job,) = run.glob("sds/*/0")
    assert len(load_file(job / "scene.safetensors")["mean"]) > 40
    assert main(["render", str(run), "--views", "5"]) == 0
    assert len(list((job / "views").glob("rgb_*.png"))) == 5


def test_a_scene_that_changes_its_shape_goes_on_from_its_checkpoint():
    from engine.training import Training

    job = jobs.job(scene=WallConfig(), regularisers=(), steps=6)
    whole, first, second = (Training(job, jobs.prior(), "cpu") for _ in range(3))
    logs = [whole.advance() for _ in range(6)]
    assert len(whole.scene.colours) == 2
    for _ in range(4):
        first.advance()
    second.restore(first.tensors(), first.facts())
    assert [second.advance() for _ in range(2)] == logs[4:]
    assert torch.equal(second.scene.colours, whole.scene.colours)


def test_sizes_are_read_from_settings_of_today_and_of_before(toy):
    for kind, made in SCENES.items():
        settings = jobs.job(scene=made()).settings["recipe"]["scene"]
        assert settings["kind"] == kind
        assert config_of(settings) == made()
        del settings["kind"]
        assert config_of(settings) == made()
        settings.pop("coloured", None)  # jobs of before it was a setting
        assert config_of(settings) == made()
