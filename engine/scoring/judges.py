"""With what a run is scored: the suite's prompts, its judges (encoders and a reward), and, for toys, the truth from
each job's own cameras."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.machine import device_of
from engine.recipes.base import Orbit
from engine.weights import manifest as weights
from errors import UserError
from eval import views
from eval.encoders import Encoder, Encodes, load_clip
from eval.image_reward import ImageReward
from eval.open_clip import PREFIX, load_open_clip, parts_of
from eval.opened import opened
from eval.outside import OUTSIDE
from eval.outside.asked import asked
from eval.rn50 import load_rn50
from eval.score import Scorer
from eval.truth import Shape, Truth, depths
from prompts import Prompt, is_own
from suites import SUITES, suite_named
from suites.base import Suite
from suites.base import Truth as Known

UNSCORED = "There is no CLIP to score the paper's suite with: run_benchmark.py fetch clip-vit-b32 or give --clip."
TITLES = {"clip": "CLIP", "clip2": "the second CLIP", "reward": "ImageReward"}  # judges that read texts, by their need
ALIKE = {"hpsv2": "clip"}  # of other packages, by whose need of ours they cut texts
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
    outside: tuple[str, ...] = ()  # judges in environments of their own, by what --judge takes


def judges_of(suite: Suite, clip: str | None = None, second: str | None = None) -> Judges:
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
    if folder:
        _clip(Path(folder))  # before any work: what it cannot judge is said now
    return Path(folder) if folder else None


def _own(suite: Suite, given: Path | None) -> Judges:
    """Those of the suite that are there; where it judges by one CLIP alone, a given one does all its work."""
    own = suite.judges
    clip = given or weights.located(own.clip)
    iqa = clip if own.iqa == own.clip else weights.located(own.iqa)
    return Judges(clip, iqa, weights.located(own.reward), weights.located(own.second))


def required(judges: Judges) -> Judges:
    """The same; raises UserError where they cannot score, without a CLIP."""
    if judges.clip is None:
        raise UserError(UNSCORED)
    return judges


def remarks(judges: Judges, scorer: Scorer, own: Iterable[Prompt] = ()) -> list[str]:
    """What a reader of the scores must know: columns that are left out, and prompts, of the suite or of one's `own`,
    that are not read to their end."""
    wanted = {"CLIP-IQA": ("clip-iqa-rn50", judges.iqa), "ImageReward": ("image-reward", judges.reward)}
    said = [LEFT_OUT.format(what, name, name) for what, (name, folder) in wanted.items() if folder is None]
    return said + cut_off(scorer, own)


def cut_off(scorer: Scorer, own: Iterable[Prompt] = ()) -> list[str]:
    """A sentence a judge that does not read some prompts to their end."""
    said = []
    for name, ids in scorer.cut(own).items():
        prompts = "1 prompt is" if len(ids) == 1 else f"{len(ids)} prompts are"
        longest = f"{_readers(scorer, name)} ({scorer.judges[name].longest} tokens)"
        said.append(f"{prompts} longer than {longest}, and scored without the rest: {', '.join(ids)}.")
    return said


def _readers(scorer: Scorer, name: str) -> str:
    """A judge, with those of other packages that read texts by the same words."""
    alike = [
        other for other in scorer.judges if other in OUTSIDE and name in (OUTSIDE[other].weights, ALIKE.get(other))
    ]
    return f"{', '.join([TITLES[name], *alike])} read" if alike else f"{TITLES[name]} reads"


def warnings(suite: Suite, judges: Judges, prompts: Iterable[Prompt]) -> list[str]:
    """What is to be said of prompts of one's own before any long work; nothing of the suite's."""
    own = [prompt for prompt in prompts if is_own(prompt.id)]
    read = cut_off(scorer_of(suite, judges), own) if own and judges.clip else []
    return unknown(suite, own) + read


def own_prompts(run: Path) -> list[Prompt]:
    """The prompts of one's own of a run's jobs, as the jobs' settings say them."""
    own = [job for job in views.jobs(run) if is_own(job.parent.name)]
    texts = {job.parent.name: views.job_json(job / "config.json").get("prompt") for job in own}
    return [Prompt(name, text) for name, text in texts.items() if text]


def unknown(suite: Suite, prompts: Iterable[Prompt]) -> list[str]:
    """A sentence where objects are asked for that the suite does not know."""
    own = [prompt.id for prompt in prompts if is_own(prompt.id)]
    if not own or suite.truth is None:
        return []
    return [
        f"Prompts of your own have no truth in the {suite.name} suite, whose models have seen its {len(suite.prompts)} "
        f"objects alone: their scores are the judges', and say little here: {', '.join(own)}."
    ]


def recipe_of(run: Path) -> dict[str, Any]:
    """The recipe's settings in the first job of a run that has any; {} for pictures made elsewhere."""
    recipes = (views.job_json(job / "config.json").get("recipe") for job in views.jobs(run))
    return next(filter(None, recipes), {})


def suite_of(run: Path, name: str | None) -> Suite:
    """The suite given, or the one that the run was made with."""
    made = name or recipe_of(run).get("suite")
    if made is None:
        raise UserError(f"The folders of {run} do not say their suite: give --suite {' or '.join(SUITES)}.")
    return suite_named(made)


def truths_of(suite: Suite) -> Callable[[Path], Truth | None]:
    """What gives a job's true views, by its folder: from where that job is seen, or was to be seen where it left no
    views, and of each variant that its prior knows. None where the suite's objects, or the job's orbit, are not known.

    Jobs of a run may differ in both: `render` passes over failed ones, and a command with other --views adds to it."""

    @cache
    def seen_from(orbit: Orbit, variants: int) -> Truth:
        assert suite.truth is not None
        return truth_from(suite.truth, orbit, variants)

    def truth(job: Path) -> Truth | None:
        config = views.job_json(job / "config.json")
        orbit = views.orbit_of(job) or config.get("recipe", {}).get("orbit")
        if suite.truth is None or not orbit or is_own(job.parent.name):
            return None
        return seen_from(Orbit(**orbit), config.get("prior", {}).get("variants", 1))

    return truth


def truth_of(run: Path, suite: Suite, views_of: int | None = None) -> Truth | None:
    """The truth of a run's first job that has views, for a figure that shows one for all jobs: of one variant, from
    `views_of` places of the orbit, of all unless said."""
    seen = (views.orbit_of(job) for job in views.jobs(run) if not is_own(job.parent.name))
    orbit = next(filter(None, seen), None)
    if suite.truth is None or orbit is None:
        return None
    whole = Orbit(**orbit)
    return truth_from(suite.truth, dataclasses.replace(whole, views=views_of or whole.views))


def truth_from(source: Known, orbit: Orbit, variants: int = 1) -> Truth:
    """What is known of a suite's objects, seen from an orbit."""
    cameras = orbit.cameras()

    @cache
    def renders_of(text: str) -> tuple[Tensor, Tensor, Tensor]:
        renders = [source.views(text, cameras, orbit.resolution, k) for k in range(variants)]
        rgb, opacity, depth = (torch.stack([getattr(r, name) for r in renders]) for name in ("rgb", "opacity", "depth"))
        return rgb, opacity, depths(depth, opacity)

    @cache
    def fingerprint(text: str) -> str:
        facts = [[source.fingerprint(text, k) for k in range(variants)], dataclasses.asdict(orbit)]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def shape(text: str) -> Shape:
        return Shape(cameras, renders_of(text)[2], partial(source.distance, text))

    return Truth(lambda text: renders_of(text)[:2], fingerprint, variants, shape)


def truth_of_run(run: Path, views_of: int | None = None) -> Truth | None:
    """The same, of the suite that the run was made with; None where it does not say one that is known."""
    suite = SUITES.get(recipe_of(run).get("suite", ""))
    return truth_of(run, suite, views_of) if suite else None


def needs_of(suite: Suite, judges: Judges) -> set[str]:
    """What of a metric's needs is there, in a suite's own runs."""
    served = {name for name, folder in _served(judges).items() if folder}
    known = {"truth", "shape"} if suite.truth else set()
    return {*served, "candidates", "opacity", "depth"} | _asked(suite, judges) | known


def scorer_of(suite: Suite, judges: Judges, device: str = "cpu") -> Scorer:
    """The judges at work on a device: cpu, cuda or auto."""
    place, judges = device_of(device), required(judges)
    assert judges.clip is not None
    working: dict[str, Any] = {"clip": _clip(judges.clip, place)}
    if judges.iqa:
        same = judges.iqa == judges.clip
        working["iqa"] = working["clip"] if same else opened(load_rn50, judges.iqa, judges.iqa, place)
    if judges.second:
        working["clip2"] = _second(judges.second, place)
    if judges.reward:
        working["reward"] = opened(ImageReward.load, judges.reward, judges.reward, place)
    working |= asked(judges.outside, {"clip": judges.clip, "reward": judges.reward}, place)
    has_front = suite.truth.has_front if suite.truth else None
    return Scorer(working, suite.prompts, asked=_asked(suite, judges), has_front=has_front)


def _served(judges: Judges) -> dict[str, Path | str | None]:
    """The judges by the need of a metric that they serve."""
    return {"clip": judges.clip, "iqa": judges.iqa, "clip2": judges.second, "reward": judges.reward}


def _asked(suite: Suite, judges: Judges) -> set[str]:
    """Needs that no model serves: objects that are not known are asked for their fronts and backs in words."""
    return ({"asked"} if judges.asked else set()) | ({"directions"} if suite.truth is None else set())


def _second(name: Path | str, device: str) -> Encodes:
    return opened(load_open_clip, name, parts_of(name)[1], device) if isinstance(name, str) else _clip(name, device)


def _clip(folder: Path, device: str = "cpu") -> Encoder:
    return opened(load_clip, folder, folder, device)
