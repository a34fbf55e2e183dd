"""From the pictures of a job to its scores.csv: a row a view, all metrics, and with what they were measured.

A job that left no pictures (non-finite, out of memory) is scored as its background, so that a table over all jobs can
be made of the same files; tables over survivors leave it out.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

import files
from errors import UserError
from eval import truth as known
from eval import views
from eval.clip_iqa import SENTENCES, clip_iqa
from eval.clip_score import clip_score
from eval.divergence import DIVERGED, classify
from eval.encoders import Encoder, Encodes
from eval.image_reward import ImageReward
from eval.r_precision import r_precision
from eval.view_preference import WORDS, view_preference
from prompts import Prompt
from scene.background import GREY

SCORES = "scores.csv"
VIEWS = 50  # of a job whose record does not say
# columns that say with what a file was made
STAMP = ("encoder", "candidates", "truth", "encoder_iqa", "encoder_2", "reward")

Truth = Callable[[str], tuple[Tensor, Tensor]]


class Scorer:
    """Scores views. The suite's texts and CLIP-IQA's sentences are encoded once.

    `prompts` are the candidates of R-Precision: all of the suite's. `truth`, for a suite whose objects are known, takes
    a prompt's text to the true views of its K variants at the job's azimuths: rgb (K,V,3,H,W), premultiplied, on black,
    and opacity.
    `iqa` is the encoder of CLIP-IQA: the first itself where it is "clip"; without one its columns are left out.
    `second` is another CLIP, for R-Precision and, where `scores` says so, for a second CLIP score.
    `directions`, for objects that are not known: whether prompts are asked for their fronts and backs too.
    """

    def __init__(
        self,
        encoder: Encoder,
        prompts: Iterable[Prompt],
        truth: Truth | None = None,
        second: Encodes | None = None,
        reward: ImageReward | None = None,
        iqa: Encodes | Literal["clip"] | None = "clip",
        directions: bool = False,
        scores: bool = False,
    ):
        self.encoder, self.prompts, self.truth = encoder, tuple(prompts), truth
        self.second, self.reward = second, reward
        self.scores = scores
        self.iqa = encoder if iqa == "clip" else iqa
        texts = [p.text for p in self.prompts]
        self._texts, self._texts_2 = encoder.texts(texts), second.texts(texts) if second else None
        self._anchors = self.iqa.texts(SENTENCES) if self.iqa else None
        self._directions = encoder.texts([t + word for t in texts for word in WORDS]) if directions else None
        self._number = {p.id: n for n, p in enumerate(self.prompts)}

    @property
    def asks_for_views(self) -> bool:
        return self._directions is not None

    @property
    def cut(self) -> dict[str, int]:
        """The tokens by which prompts, by id, exceed the encoder's longest text: those are not scored."""
        return {p.id: n for p in self.prompts if (n := self.encoder.cut(p.text))}

    def __call__(self, pictures: views.Pictures, prompt_id: str) -> dict[str, Float[Tensor, " V"]]:
        """The columns of the metrics. Raises UserError for a prompt that is not the suite's."""
        if prompt_id not in self._number:
            raise UserError(
                f"There is no prompt {prompt_id!r} in the suite scored: give the suite that the run was made with."
            )
        own, image = self._number[prompt_id], self.encoder.images(pictures.rgb)
        scores = {"clip_score": clip_score(image, self._texts[own])}
        if self.iqa and self._anchors is not None:
            looked = image if self.iqa is self.encoder else self.iqa.images(pictures.rgb)
            scores |= {f"iqa_{name}": p for name, p in clip_iqa(looked, self._anchors).items()}
        if self.reward:
            scores["image_reward"] = self.reward.score(pictures.rgb, self.prompts[own].text)
        scores["r_precision"] = r_precision(image, self._texts, own)
        if self.second and self._texts_2 is not None:
            looked = self.second.images(pictures.rgb)
            scores["r_precision_2"] = r_precision(looked, self._texts_2, own)
            if self.scores:
                scores["clip_score_2"] = clip_score(looked, self._texts_2[own])
        if self._directions is not None:
            scores["view_preference"] = view_preference(image, *self._directions[2 * own : 2 * own + 2])
        if pictures.opacity is not None:
            scores["opacity"] = pictures.opacity.mean((1, 2, 3))
            if self.truth:
                scores |= self._against_truth(pictures, self.prompts[own].text)
        return scores

    def _against_truth(self, pictures: views.Pictures, text: str) -> dict[str, Tensor]:
        assert self.truth is not None
        assert pictures.opacity is not None
        rgb, opacity = (x.float().cpu() for x in self.truth(text))
        if rgb.shape[1:] != pictures.rgb.shape:
            raise UserError(
                f"The true views of {text!r} have shape {tuple(rgb.shape[1:])}, the job's {tuple(pictures.rgb.shape)}."
            )
        return known.measure(pictures.rgb, pictures.opacity, known.over(rgb, opacity, GREY), opacity)

    def blank(self, n: int, size: int) -> views.Pictures:
        """n views of nothing, for a job that left none."""
        return views.Pictures(torch.full((n, 3, size, size), GREY), torch.zeros(n, 1, size, size))


def score_run(run: Path, scorer: Scorer, each: Callable[[Path, bool], None] | None = None) -> list[Path]:
    """Score every job of a run that has not been scored with this encoder; returns the folders scored now.

    `each` is told of every folder and whether it was scored now."""
    scored = []
    for folder in views.jobs(run):
        fresh = score_job(folder, scorer)
        scored += [folder] if fresh else []
        if each:
            each(folder, fresh)
    return scored


def score_job(folder: Path, scorer: Scorer) -> bool:
    """Write the job's scores.csv, unless it is there with the same encoder, suite and truth; returns whether it did.

    A failed job has no scores. Raises UserError for damaged views, a damaged record, and a prompt that is not the
    suite's."""
    record, recipe = read_json(folder / "record.json"), read_json(folder / "config.json").get("recipe", {})
    if views.has_pictures(folder):
        pictures = None  # read only if needed
    elif classify(record, None) in DIVERGED:
        orbit = recipe.get("orbit", {})
        pictures = scorer.blank(orbit.get("views", VIEWS), orbit.get("resolution", 64))
    elif classify(record, None) == "failed":
        return False
    else:
        raise UserError(f"The views of {folder} are missing: delete the folder and run the same command again.")
    stamp = _stamp(scorer)
    if _scored_with(folder / SCORES) == stamp:
        return False
    pictures = pictures or views.read(folder)
    write(folder / SCORES, scorer(pictures, folder.parent.name), stamp)
    return True


def write(path: Path, scores: dict[str, Tensor], stamp: dict[str, str]) -> None:
    """A CSV with a row a view, written aside and renamed."""
    n = len(scores["clip_score"])
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(["view", "azimuth", *scores, *stamp])
    for v in range(n):
        values = [_number(float(column[v])) for column in scores.values()]
        table.writerow([v, _number(360 * v / n), *values, *stamp.values()])
    files.write_text(path, stream.getvalue())


def read_json(path: Path) -> dict[str, Any]:
    """A job's JSON; {} where there is none, as in folders made elsewhere. Raises UserError where it is damaged."""
    if not path.exists():
        return {}
    return files.read_json(path, f"delete {path.parent} and run the same command again")


def _stamp(scorer: Scorer) -> dict[str, str]:
    """What scores depend on besides the pictures: equal stamps, equal scores."""
    stamp = {
        "encoder": scorer.encoder.checksum[:16],
        "candidates": " ".join(p.id[:2] for p in scorer.prompts),
        "truth": "known" if scorer.truth else "views" if scorer.asks_for_views else "unknown",
    }
    if scorer.iqa is not scorer.encoder:
        stamp["encoder_iqa"] = scorer.iqa.checksum[:16] if scorer.iqa else "none"
    others: dict[str, Encodes | ImageReward | None] = {"encoder_2": scorer.second, "reward": scorer.reward}
    return stamp | {name: model.checksum[:16] for name, model in others.items() if model}


def _scored_with(path: Path) -> dict[str, str]:
    """The stamp of a file of scores; {} for none, or one without."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as stream:
        first = next(csv.DictReader(stream), {})
    return {name: first[name] for name in STAMP if first.get(name)}


def _number(value: float) -> str:
    """Seven significant digits; empty for NaN, as pandas reads it."""
    return "" if math.isnan(value) else f"{value:.7g}"
