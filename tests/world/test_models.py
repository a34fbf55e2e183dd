"""The shipped models: their formats, their size, and that they know the world."""

from __future__ import annotations

import warnings

import pytest
import torch

import world
from prompts import load
from scene.cameras import orbit
from world import models
from world.train import clip
from world.train.check import sample

PROMPTS = [prompt.text for prompt in load("world")]


def test_weights_are_small_and_half_precision_safetensors():
    files = list(models.MODELS.rglob("*.safetensors"))
    assert len(files) == 4
    assert sum(file.stat().st_size for file in files) <= 24e6
    assert max(file.stat().st_size for file in files) <= 15e6
    assert not list(models.MODELS.rglob("*.bin"))


@pytest.fixture(scope="module")
def judge():
    from transformers import CLIPModel, CLIPProcessor

    model = CLIPModel.from_pretrained(models.TINY_CLIP, dtype=torch.float32).eval()
    return model, CLIPProcessor.from_pretrained(models.TINY_CLIP).tokenizer


@torch.no_grad()
def ranked(judge, images: torch.Tensor) -> torch.Tensor:
    model, words = judge
    return clip.similarities(model, images, clip.tokens(words, PROMPTS)).argmax(1)


def test_the_clip_names_true_views(judge):
    views = [world.truth_views(prompt, orbit(4), 64) for prompt in PROMPTS]
    images = torch.cat([v.rgb + (1 - v.opacity) * 0.6 for v in views])
    own = torch.arange(len(PROMPTS)).repeat_interleave(4)
    assert (ranked(judge, images) == own).float().mean() >= 0.95


def test_diffusers_opens_the_prior_and_its_samples_are_of_their_prompt(judge):
    from diffusers import StableDiffusionPipeline

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe = StableDiffusionPipeline.from_pretrained(
            models.TINY_SD, torch_dtype=torch.float32, safety_checker=None, local_files_only=True
        )
    images = sample(pipe, PROMPTS)
    assert images.shape == (len(PROMPTS), 3, 64, 64)
    assert (ranked(judge, images) == torch.arange(len(PROMPTS))).float().mean() >= 0.75


def test_no_configuration_names_a_path_of_a_machine():
    for file in models.MODELS.rglob("*.json"):
        assert "_name_or_path" not in file.read_text("utf-8"), file
