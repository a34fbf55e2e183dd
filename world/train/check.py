"""What the shipped models can, measured on views that no training saw: a table, a sheet of samples, and their cards."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPModel, CLIPProcessor

from errors import UserError
from eval.image_reward import ImageReward
from world import models
from world.dataset import Pictures, pictures
from world.train import clip, curves, reward, vae
from world.train.run import rng_of
from world.train.sheet import grid

SAMPLES, STEPS, CFG, SEED = 10, 30, 3.0, 1
SHEET, CURVES = Path("docs/samples.png"), Path("docs/training.png")
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
        return self.name, f"{self.value:.1f} {self.unit}", f"{bound} {self.aim:g} {self.unit}"


def check(prompts: list[str], unseen: int) -> bool:
    """Measure, print, write the cards, and say whether every model meets its aim."""
    for folder in (models.TINY_SD, models.TINY_CLIP, models.TINY_CLIP_2, models.TINY_REWARD):
        if not folder.exists():
            raise UserError(f"There are no weights in {folder.name}: run `python -m world.train` for each model first.")
    data = pictures(prompts, unseen, seed=SEED)
    pipe = StableDiffusionPipeline.from_pretrained(
        models.TINY_SD, torch_dtype=torch.float32, safety_checker=None, local_files_only=True
    )
    psnr = vae.psnr(pipe.vae.eval(), data, rng_of(SEED, 0))
    rows = [Quality(models.TINY_SD, "VAE, PSNR on unseen views", psnr, 30.0, "dB")]
    rows += _ranked(pipe, data, prompts) + _rewarded(data, prompts)
    table = Table("quality", "measured", "aim", "", title=f"The world's models on {len(data.rgba)} unseen views")
    for row in rows:
        table.add_row(*row.cells, "yes" if row.met else "[red]no")
    Console().print(table)
    _cards(rows)
    curves.draw(CURVES)
    return all(row.met for row in rows)


def _ranked(pipe: StableDiffusionPipeline, data: Pictures, prompts: list[str]) -> list[Quality]:
    """What both CLIPs say of unseen true renders and of the prior's samples."""
    images, rows = _sampled(pipe, prompts), []
    shares = []
    for folder, name in ((models.TINY_CLIP, "CLIP"), (models.TINY_CLIP_2, "second CLIP")):
        judge = CLIPModel.from_pretrained(folder, torch_dtype=torch.float32).eval()
        words = CLIPProcessor.from_pretrained(folder).tokenizer
        true, grey = (clip.accuracy(judge, data, prompts, words, rng_of(SEED, 1), grey=g) for g in (False, True))
        rows.append(Quality(folder, f"{name}, true renders ranked to their prompt", true, 98.0, "%"))
        rows.append(Quality(folder, f"{name}, the same in grey scale", grey, 85.0, "%"))
        shares.append((true, _own(judge, images, prompts, words)))
    (true, sampled), (true_2, sampled_2) = shares
    rows.append(Quality(models.TINY_SD, "U-Net, samples ranked to their prompt", sampled, 80.0, "%"))
    for name, gap in (("true renders", true - true_2), ("samples", sampled - sampled_2)):
        rows.append(
            Quality(models.TINY_CLIP_2, f"the CLIPs' R-Precision apart, {name}", abs(gap), 5.0, "points", at_most=True)
        )
    return rows


def _rewarded(data: Pictures, prompts: list[str]) -> list[Quality]:
    """Shares of unseen pairs that the reward ranks rightly."""
    shares = reward.right(ImageReward.load(models.TINY_REWARD), data, prompts, rng_of(SEED, 2))
    names = {way: f"reward, a true render above itself {way.replace('_', ' ')}" for way in shares}
    names["mismatched"] = "reward, a true render above one of another prompt"
    return [Quality(models.TINY_REWARD, names[way], share, 95.0, "%") for way, share in shares.items()]


@torch.no_grad()
def sample(pipe: StableDiffusionPipeline, texts: list[str], seed: int = SEED, cfg: float = CFG) -> Tensor:
    """One DDIM sample of each text, (n,3,64,64) in [0, 1]."""
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    made = pipe(
        texts, num_inference_steps=STEPS, guidance_scale=cfg, generator=torch.Generator().manual_seed(seed),
        output_type="pt", height=64, width=64,
    )  # fmt: skip
    return made.images.float()


def _sampled(pipe: StableDiffusionPipeline, prompts: list[str]) -> Tensor:
    """SAMPLES plain-prompt samples of each prompt, in order; the sheet is written too."""
    texts = [prompt for prompt in prompts for _ in range(SAMPLES)]
    images = torch.cat([sample(pipe, texts[k : k + 30], SEED + k) for k in range(0, len(texts), 30)])
    SHEET.parent.mkdir(exist_ok=True)
    grid(images.unflatten(0, (len(prompts), SAMPLES)), prompts).quantize(256).save(SHEET)
    return images


@torch.no_grad()
def _own(judge: CLIPModel, images: Tensor, prompts: list[str], words) -> float:
    """Share in % of the samples that the judge ranks to their own prompt."""
    label = torch.arange(len(prompts)).repeat_interleave(SAMPLES)
    rank = clip.similarities(judge, images, clip.tokens(words, prompts)).argmax(1)
    return 100 * (rank == label).float().mean().item()


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
