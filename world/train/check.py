"""What the shipped models can, measured on views that no training saw: a table, a sheet of samples, and their cards."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPModel, CLIPProcessor

from errors import UserError
from world import models
from world.dataset import Pictures, pictures
from world.train import clip, curves, vae
from world.train.run import rng_of
from world.train.sheet import grid

SAMPLES, STEPS, CFG, SEED = 10, 30, 3.0, 1
SHEET, CURVES = Path("docs/samples.png"), Path("docs/training.png")


def check(prompts: list[str], unseen: int) -> bool:
    """Measure, print, write the cards, and say whether every model meets its aim."""
    for folder in (models.TINY_SD, models.TINY_CLIP):
        if not folder.exists():
            raise UserError(f"There are no weights in {folder.name}: run `python -m world.train` for each model first.")
    data = pictures(prompts, unseen, seed=SEED)
    judge = CLIPModel.from_pretrained(models.TINY_CLIP, torch_dtype=torch.float32).eval()
    words = CLIPProcessor.from_pretrained(models.TINY_CLIP).tokenizer
    pipe = StableDiffusionPipeline.from_pretrained(
        models.TINY_SD, torch_dtype=torch.float32, safety_checker=None, local_files_only=True
    )
    rows = [
        ("VAE, PSNR on unseen views", vae.psnr(pipe.vae.eval(), data, rng_of(SEED, 0)), 28.0, "dB"),
        (
            "CLIP, true renders ranked to their prompt",
            _ranked(judge, data, prompts, words, grey=False),
            98.0,
            "%",
        ),
        ("CLIP, the same in grey scale", _ranked(judge, data, prompts, words, grey=True), 80.0, "%"),
        ("U-Net, samples ranked to their prompt", _sampled(pipe, judge, prompts, words), 80.0, "%"),
    ]
    table = Table("quality", "measured", "aim", "", title=f"The world's models on {len(data.rgba)} unseen views")
    for name, value, aim, unit in rows:
        table.add_row(name, f"{value:.1f} {unit}", f">= {aim:g} {unit}", "yes" if value >= aim else "[red]no")
    Console().print(table)
    _cards(rows)
    curves.draw(CURVES)
    return all(value >= aim for _, value, aim, _ in rows)


def _ranked(judge: CLIPModel, data: Pictures, prompts: list[str], words, grey: bool) -> float:
    return clip.accuracy(judge, data, prompts, words, rng_of(SEED, 1), grey)


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


def _sampled(pipe: StableDiffusionPipeline, judge: CLIPModel, prompts: list[str], words) -> float:
    """Share in % of plain-prompt samples that the judge ranks to their own prompt; the sheet is written too."""
    texts = [prompt for prompt in prompts for _ in range(SAMPLES)]
    images = torch.cat([sample(pipe, texts[k : k + 30], SEED + k) for k in range(0, len(texts), 30)])
    SHEET.parent.mkdir(exist_ok=True)
    grid(images.unflatten(0, (len(prompts), SAMPLES)), prompts).save(SHEET)
    label = torch.arange(len(prompts)).repeat_interleave(SAMPLES)
    with torch.no_grad():
        rank = clip.similarities(judge, images, clip.tokens(words, prompts)).argmax(1)
    return 100 * (rank == label).float().mean().item()


def _cards(rows: list[tuple[str, float, float, str]]) -> None:
    """A README beside each model: what it is, its size, and what was measured."""
    about = {
        models.TINY_SD: (
            "tiny SD",
            "Stable Diffusion's format, 64x64 images, 8x16x16 latents, v-prediction",
            rows[:1] + rows[3:],
        ),
        models.TINY_CLIP: (
            "tiny CLIP",
            "a transformers CLIPModel, 64x64 images in patches of 8x8",
            rows[1:3],
        ),
    }
    for folder, (name, what, measured) in about.items():
        files = sorted(folder.rglob("*.safetensors"))
        count = {f.relative_to(folder).as_posix(): sum(v.numel() for v in load_file(f).values()) for f in files}
        lines = [f"# {name}", "", f"Of the known world: {what}; trained by `python -m world.train`.", ""]
        lines += ["| measured on unseen views | value | aim |", "| --- | --- | --- |"]
        lines += [f"| {n} | {v:.1f} {u} | >= {a:g} {u} |" for n, v, a, u in measured]
        lines += [
            "",
            "| weights | parameters |",
            "| --- | --- |",
            *(f"| {k} | {v:,} |" for k, v in count.items()),
        ]
        (folder / "README.md").write_text("\n".join(lines) + "\n")
