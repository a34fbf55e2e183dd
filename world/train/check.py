"""What the shipped models can, measured on views that no training saw: a table, samples beside the truth, quality
against guidance, and the models' cards."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPModel, CLIPProcessor

from errors import UserError
from eval.image_reward import ImageReward
from priors import stable_diffusion
from priors.base import Prior
from world import models
from world.dataset import Pictures, pictures
from world.train import clip, curves, responses, reward, sides, vae
from world.train.run import rng_of
from world.train.sheet import grid
from world.train.sides import SEED, Samples

CFG = 7.5  # published for Stable Diffusion: SDI's, and most rules'
SCALES = (1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0)
BEST = (5.0, 10.0)  # where guidance should be best, as it is for Stable Diffusion
SHEET, CURVES, GUIDANCE = Path("docs/samples.png"), Path("docs/training.png"), Path("docs/guidance.png")
JUDGED = Path("docs/judges.png")
IQA = {"iqa_quality": "quality", "iqa_sharpness": "sharp", "iqa_real": "real"}
ABOUT = {
    models.TINY_SD: "tiny SD: Stable Diffusion's format, 64x64 images, 8x16x16 latents, v-prediction",
    models.TINY_CLIP: "tiny CLIP: a transformers CLIPModel, 64x64 images in patches of 8x8",
    models.TINY_CLIP_2: "tiny CLIP 2: a second CLIPModel, of another seed and size, to check R-Precision",
    models.TINY_REWARD: "tiny reward: ImageReward's form (BLIP and a linear head), 64x64 images in patches of 8x8",
}


class Quality(NamedTuple):
    """A row of the table, of the model in `folder`; `at_most` where less is better."""

    folder: Path
    name: str
    value: float
    aim: float
    unit: str
    at_most: bool = False

    @property
    def met(self) -> bool:
        return self.value <= self.aim if self.at_most else self.value >= self.aim

    @property
    def cells(self) -> tuple[str, str, str]:
        bound = "<=" if self.at_most else ">="
        return self.name, f"{self.value:.{1 if self.unit else 2}f} {self.unit}", f"{bound} {self.aim:g} {self.unit}"


def check(prompts: list[str], unseen: int) -> bool:
    """Measure, print, write the cards, and say whether every model meets its aim."""
    for folder in (models.TINY_SD, models.TINY_CLIP, models.TINY_CLIP_2, models.TINY_REWARD):
        if not folder.exists():
            raise UserError(f"There are no weights in {folder.name}: run `python -m world.train` for each model first.")
    data = pictures(prompts, unseen, seed=SEED)
    prior = stable_diffusion.load(models.TINY_SD)
    psnr, detail = vae.rebuilt(models.shipped_vae(), data, rng_of(SEED, 0))
    rows = [
        Quality(models.TINY_SD, "VAE, PSNR on unseen views", psnr, 30.0, "dB"),
        Quality(models.TINY_SD, "VAE, detail on unseen views, off the truth's by", abs(detail - 1), 0.15, "", True),
    ]
    rows += _ranked(prior, data, prompts) + _rewarded(data, prompts) + _responding(data, prompts)
    table = Table("quality", "measured", "aim", "", title=f"The world's models on {len(data.rgba)} unseen views")
    for row in rows:
        table.add_row(*row.cells, "yes" if row.met else "[red]no")
    Console().print(table)
    _cards(rows)
    curves.draw(CURVES)
    return all(row.met for row in rows)


def _ranked(prior: Prior, data: Pictures, prompts: list[str]) -> list[Quality]:
    """What both CLIPs say of unseen true renders; what the prior's samples are worth, at each guidance."""
    judges, rows, shares = [], [], []
    for folder, name in ((models.TINY_CLIP, "CLIP"), (models.TINY_CLIP_2, "second CLIP")):
        judge = CLIPModel.from_pretrained(folder, torch_dtype=torch.float32).eval()
        words = CLIPProcessor.from_pretrained(folder).tokenizer
        judges.append((judge, words))
        true, grey = (clip.accuracy(judge, data, prompts, words, rng_of(SEED, 1), grey=g) for g in (False, True))
        rows.append(Quality(folder, f"{name}, true renders ranked to their prompt", true, 98.0, "%"))
        rows.append(Quality(folder, f"{name}, the same in grey scale", grey, 85.0, "%"))
        shares.append(true)
    made = {cfg: sides.samples(prior, prompts, cfg) for cfg in SCALES}
    precision = {cfg: [_own(judge, s.images, prompts, words) for judge, words in judges] for cfg, s in made.items()}
    curve = guidance_curve(made, {cfg: both[0] for cfg, both in precision.items()})
    curve.to_csv(curves.KEPT / "guidance.csv", float_format="%.4g")
    curves.draw_guidance(curve, BEST, GUIDANCE)
    at, apart = made[CFG], precision[CFG]
    beside = torch.cat([at.images, at.truth], 1)
    grid(beside, prompts, columns=2).quantize(256).save(SHEET)
    worst = at.psnr.mean(1)
    name = f"samples at CFG {CFG:g} from four sides"
    rows += [
        Quality(models.TINY_SD, f"{name}, PSNR to the nearest true view", worst.mean().item(), 23.0, "dB"),
        Quality(models.TINY_SD, f"{name}, the worst toy's ({prompts[worst.argmin()]})", worst.min().item(), 19.0, "dB"),
        Quality(models.TINY_SD, f"{name}, detail, off the truth's by", abs(curve.detail[CFG] - 1), 0.15, "", True),
        Quality(models.TINY_SD, f"{name}, ranked to their prompt", apart[0], 100.0, "%"),
        Quality(models.TINY_CLIP_2, f"{name}, ranked to their prompt by the second CLIP", apart[1], 100.0, "%"),
        Quality(models.TINY_SD, "guidance of the best samples, at least", curve.psnr.idxmax(), BEST[0], ""),
        Quality(models.TINY_SD, "guidance of the best samples, at most", curve.psnr.idxmax(), BEST[1], "", True),
    ]
    for name, gap in (("true renders", shares[0] - shares[1]), ("samples", apart[0] - apart[1])):
        rows.append(
            Quality(models.TINY_CLIP_2, f"the CLIPs' R-Precision apart, {name}", abs(gap), 5.0, "points", at_most=True)
        )
    return rows


def guidance_curve(made: dict[float, Samples], precision: dict[float, float]) -> pd.DataFrame:
    """Means of what samples are worth at each guidance, by guidance: PSNR in dB, detail and chroma as shares of the
    truth's, R-Precision in per cent."""
    rows = {
        cfg: {
            "psnr": s.psnr.mean().item(),
            "detail": s.detail.nanmean().item(),
            "chroma": s.chroma.nanmean().item(),
            "r_precision": precision[cfg],
        }
        for cfg, s in made.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("guidance")


def _rewarded(data: Pictures, prompts: list[str]) -> list[Quality]:
    """Shares of unseen pairs that the reward ranks rightly."""
    shares = reward.right(ImageReward.load(models.TINY_REWARD), data, prompts, rng_of(SEED, 2))
    names = {way: f"reward, a true render above itself {way.replace('_', ' ')}" for way in shares}
    names["mismatched"] = "reward, a true render above one of another prompt"
    return [Quality(models.TINY_REWARD, names[way], share, 95.0, "%") for way, share in shares.items()]


def _responding(data: Pictures, prompts: list[str]) -> list[Quality]:
    """What the judges say of true views, and whether it falls as these are distorted."""
    found = responses.responses(responses.shipped(), data, prompts)
    means = responses.curve(found)
    means.to_csv(curves.KEPT / "responses.csv", float_format="%.4g")
    curves.draw_responses(means, JUDGED)
    return response_rows(found)


def response_rows(found: pd.DataFrame) -> list[Quality]:
    """Of the metrics by distortion, strength and prompt: CLIP-IQA's level on true views, and its spread over toys; of
    every judge, how many of its curves fall at every step."""
    true = found.xs("blurred", level="distortion").xs(0.0, level="strength")  # of all views
    means, rows = responses.curve(found), []
    for metric, name in IQA.items():
        name, value = f"CLIP-IQA {name}, true views", true[metric]
        rows += [
            Quality(models.TINY_CLIP, f"{name}, mean, at least", value.mean(), 75.0, "%"),
            Quality(models.TINY_CLIP, f"{name}, mean, at most", value.mean(), 95.0, "%", True),
            Quality(models.TINY_CLIP, f"{name}, standard deviation over toys", value.std(), 12.0, "points", True),
            Quality(models.TINY_CLIP, f"{name}, the least toy's ({value.idxmin()})", value.min(), 50.0, "%"),
        ]
    names = {"clip_score": "CLIP score", "image_reward": "reward"} | {k: f"CLIP-IQA {v}" for k, v in IQA.items()}
    for metric, ways in responses.NAMED.items():
        folder = models.TINY_REWARD if metric == "image_reward" else models.TINY_CLIP
        fall, name = len(responses.falling(means, metric, ways)), f"{names[metric]}, distortions with which it falls"
        rows.append(Quality(folder, name, fall, len(ways), f"of {len(ways)}"))
    return rows


@torch.no_grad()
def _own(judge: CLIPModel, images: Tensor, prompts: list[str], words) -> float:
    """Share in % of the samples (T,4,3,H,W) that the judge ranks to their own prompt."""
    rank = clip.similarities(judge, images.flatten(0, 1), clip.tokens(words, prompts)).argmax(1)
    return 100 * (rank.view(len(prompts), -1) == torch.arange(len(prompts))[:, None]).float().mean().item()


def _cards(rows: list[Quality]) -> None:
    """A README beside each model: what it is, its size, and what was measured."""
    for folder, about in ABOUT.items():
        name, what = about.split(": ", 1)
        files = sorted(folder.rglob("*.safetensors"))
        count = {f.relative_to(folder).as_posix(): sum(v.numel() for v in load_file(f).values()) for f in files}
        lines = [f"# {name}", "", f"Of the known world: {what}; trained by `python -m world.train`.", ""]
        lines += ["| measured on unseen views | value | aim |", "| --- | --- | --- |"]
        lines += [f"| {' | '.join(row.cells)} |" for row in rows if row.folder == folder]
        lines += [
            "",
            "| weights | parameters |",
            "| --- | --- |",
            *(f"| {k} | {v:,} |" for k, v in count.items()),
        ]
        (folder / "README.md").write_text("\n".join(lines) + "\n")
