"""With what a run is scored: the suite's prompts, its judges (encoders and a reward), and, for toys, the truth from the
run's own cameras."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import names
from engine.machine import device_of
from engine.recipes.base import Orbit
from engine.weights import manifest as weights
from errors import UserError
from eval import views
from eval.encoders import Encodes, load_clip
from eval.image_reward import ImageReward
from eval.open_clip import PREFIX, load_open_clip, parts_of
from eval.rn50 import load_rn50
from eval.score import Scorer, read_json
from eval.truth import Truth
from files import ROOT
from prompts import load
from sources import digest_of_module

WORLD = ROOT / "world" / "models"
WORLD_CLIP, WORLD_CLIP_2, WORLD_REWARD = (WORLD / name for name in ("tiny-clip", "tiny-clip-2", "tiny-reward"))
UNSCORED = "There is no CLIP to score the paper's suite with: run_benchmark.py fetch clip-vit-b32 or give --clip."
LEFT_OUT = "{} is left out, for its weight {} is not there: run_benchmark.py fetch {} brings it."


@dataclass(frozen=True)
class Judges:
    """Folders of the models that score a suite; None for what is not there. Without `clip` nothing is scored; where
    `iqa` is the same folder, the one CLIP judges both."""

    clip: Path | None
    iqa: Path | None = None
    reward: Path | None = None
    second: Path | str | None = None
    asked: bool = False  # whether the second was asked for by name


def judges_of(suite: str, clip: str | None = None, second: str | None = None) -> Judges:
    """The judges of a suite: the world's own, or the published ones as far as they were fetched. `clip`, a folder, in
    place of the first; `second`, a folder or open_clip:ARCHITECTURE=FILE, of the second. Raises UserError where these
    are none."""
    judges = _own(suite, _given("--clip", clip))
    if second and second.startswith(PREFIX):
        parts_of(second)
        return replace(judges, second=second, asked=True)
    given = _given("--clip2", second)
    return replace(judges, second=given, asked=True) if given else judges


def _given(option: str, folder: str | None) -> Path | None:
    if folder and not (Path(folder) / "config.json").is_file():
        raise UserError(f"There is no CLIP at {folder}: give {option} a folder in transformers' format.")
    return Path(folder) if folder else None


def _own(suite: str, given: Path | None) -> Judges:
    if suite == "world":
        own = given or WORLD_CLIP
        reward, second = (folder if folder.is_dir() else None for folder in (WORLD_REWARD, WORLD_CLIP_2))
        return Judges(own, own, reward, second)
    published = weights.folder
    return Judges(given or published("clip-vit-b32"), published("clip-iqa-rn50"), published("image-reward"))


def required(judges: Judges) -> Judges:
    """The same; raises UserError where they cannot score."""
    if judges.clip is None:
        raise UserError(UNSCORED)
    return judges


def remarks(judges: Judges, scorer: Scorer) -> list[str]:
    """What a reader of the scores must know: columns that are left out, and prompts that are not read to their end."""
    wanted = {"CLIP-IQA": ("clip-iqa-rn50", judges.iqa), "ImageReward": ("image-reward", judges.reward)}
    said = [LEFT_OUT.format(what, name, name) for what, (name, folder) in wanted.items() if folder is None]
    if cut := list(scorer.cut):
        prompts = "1 prompt is" if len(cut) == 1 else f"{len(cut)} prompts are"
        longest = scorer.judges["clip"].longest
        said.append(f"{prompts} longer than the encoder reads ({longest} tokens): {', '.join(cut)}.")
    return said


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
    return truth_from(Orbit(**orbit), variants)


def truth_from(orbit: Orbit, variants: int = 1) -> Truth:
    """The known world's views from an orbit."""
    cameras = orbit.cameras()

    @cache
    def views_of(text: str) -> tuple[Tensor, Tensor]:
        import world

        renders = [world.truth_views(text, cameras, orbit.resolution, k) for k in range(variants)]
        return torch.stack([r.rgb for r in renders]), torch.stack([r.opacity for r in renders])

    @cache
    def fingerprint(text: str) -> str:
        """Of shapes and colours, the cameras, and what makes pictures of them."""
        from world.dataset import fingerprint as of_toy
        from world.objects import OBJECTS

        toys = [of_toy(text, k) for k in range(variants)] if text in OBJECTS else []
        facts = [toys, dataclasses.asdict(orbit), digest_of_module("world.trace", ("world", "scene"))]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    return Truth(views_of, fingerprint, variants)


def needs_of(suite: str, judges: Judges) -> set[str]:
    """What of a metric's needs is there, in a suite's own runs."""
    served = {name for name, folder in _served(judges).items() if folder}
    return {*served, "candidates", "opacity"} | _asked(suite, judges) | ({"truth"} if suite == "world" else set())


def scorer_of(suite: str, judges: Judges, truth: Truth | None, device: str = "cpu") -> Scorer:
    """The judges at work on a device: cpu, cuda or auto."""
    place, judges = device_of(device), required(judges)
    assert judges.clip is not None
    working: dict[str, Any] = {"clip": load_clip(judges.clip, place)}
    if judges.iqa:
        working["iqa"] = working["clip"] if judges.iqa == judges.clip else load_rn50(judges.iqa, place)
    if judges.second:
        working["clip2"] = _second(judges.second, place)
    if judges.reward:
        working["reward"] = ImageReward.load(judges.reward, place)
    return Scorer(working, load(suite), truth, _asked(suite, judges))


def _served(judges: Judges) -> dict[str, Path | str | None]:
    """The judges by the need of a metric that they serve."""
    return {"clip": judges.clip, "iqa": judges.iqa, "clip2": judges.second, "reward": judges.reward}


def _asked(suite: str, judges: Judges) -> set[str]:
    """Needs that no model serves: objects that are not known are asked for their fronts and backs in words."""
    return ({"asked"} if judges.asked else set()) | ({"directions"} if suite != "world" else set())


def _second(name: Path | str, device: str) -> Encodes:
    return load_open_clip(name, device) if isinstance(name, str) else load_clip(name, device)
