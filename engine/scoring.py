"""With what a run is scored: the suite's prompts, an encoder, and, for toys, a second one, a reward, and the truth from
the run's own cameras."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine import names
from engine.recipes import Orbit
from errors import UserError
from eval import views
from eval.encoders import load_clip
from eval.image_reward import ImageReward
from eval.score import Scorer, Truth, read_json
from prompts import load

WORLD = Path(__file__).parents[1] / "world" / "models"
WORLD_CLIP, WORLD_CLIP_2, WORLD_REWARD = (WORLD / name for name in ("tiny-clip", "tiny-clip-2", "tiny-reward"))


def clip_of(suite: str, clip: str | None) -> Path | None:
    """The folder of the CLIP that scores a suite; None where it has none of its own and none is given."""
    folder = Path(clip) if clip else WORLD_CLIP if suite == "world" else None
    if folder and not (folder / "config.json").is_file():
        raise UserError(f"There is no CLIP at {folder}: give --clip a folder in transformers' format.")
    return folder


def config_of(run: Path) -> dict[str, Any]:
    """The settings of the first job of a run that has any; {} for pictures made elsewhere."""
    configs = (read_json(job / "config.json") for job in views.jobs(run))
    return next((config for config in configs if "recipe" in config), {})


def recipe_of(run: Path) -> dict[str, Any]:
    """The recipe's settings in the first job of a run that has any; {} for pictures made elsewhere."""
    return config_of(run).get("recipe", {})


def suite_of(run: Path, suite: str | None) -> str:
    """The suite given, or the one that the run was made with."""
    made = suite or recipe_of(run).get("suite")
    if made is None:
        raise UserError(f"The folders of {run} do not say their suite: give --suite {' or '.join(names.SUITES)}.")
    return names.known("suite", made, names.SUITES)


def truth_of(run: Path, suite: str) -> Truth | None:
    """True views by prompt, of each variant that the prior knows, from the orbit of the run's jobs; None where the
    suite's objects are not known."""
    config = config_of(run)
    if suite != "world" or "orbit" not in config.get("recipe", {}):
        return None
    orbit, variants = config["recipe"]["orbit"], config["prior"].get("variants", 1)
    cameras, resolution = Orbit(**orbit).cameras(), orbit["resolution"]

    @cache
    def truth(text: str) -> tuple[Tensor, Tensor]:
        import world

        renders = [world.truth_views(text, cameras, resolution, k) for k in range(variants)]
        return torch.stack([r.rgb for r in renders]), torch.stack([r.opacity for r in renders])

    return truth


def scorer_of(suite: str, clip: Path, truth: Truth | None, device: str = "cpu") -> Scorer:
    """Toys are judged by the world's second CLIP and its reward too, where these are there."""
    second = load_clip(WORLD_CLIP_2, device) if suite == "world" and WORLD_CLIP_2.is_dir() else None
    reward = ImageReward.load(WORLD_REWARD, device) if suite == "world" and WORLD_REWARD.is_dir() else None
    return Scorer(load_clip(clip, device), load(suite), truth, second, reward)
