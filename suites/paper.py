"""The paper's suite (arXiv 2405.15891): Stable Diffusion 2.1-base and the judges of Table 1, as `fetch` brings them."""

from __future__ import annotations

from prompts import held_out, paper43
from suites.base import Judges, Suite

PAPER = Suite(
    name="paper",
    about="the paper's 43 prompts; fetch has the weights; have a GPU, or --rehearse",
    prompts=paper43(),
    tracks={"paper": "published"},
    prior="sd21-base",
    latents=(4, 64, 64),
    judges=Judges("clip-vit-b32", "clip-iqa-rn50", "image-reward"),
    phi="sd21",
    tuned_on=held_out(),
    rehearsed=3,
    gpu=True,
    megabytes=70.0,  # 50 MB of hash grid in single precision, 50 PNG of 512 x 512
)
