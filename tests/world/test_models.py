"""The shipped models: their formats, their size, and that they know the world."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import world
from eval.image_reward import ImageReward
from priors import stable_diffusion
from prompts import paper43
from scene.cameras import orbit
from world import models
from world.dataset import Pictures
from world.train import clip, responses, reward
from world.train.sides import drawn

PROMPTS = [prompt.text for prompt in paper43()]
FILES = {"vae", "unet", "text_encoder", "tiny-clip", "tiny-clip-2", "tiny-reward"}


def test_weights_are_small_safetensors_in_half_precision_but_for_the_priors_text_encoder():
    files = list(models.MODELS.rglob("*.safetensors"))
    assert {file.parent.name for file in files} == FILES
    for file in files:
        floats = {t.dtype for t in load_file(file).values() if t.is_floating_point()}
        assert floats == {torch.float32 if file.parent.name == "text_encoder" else torch.float16}, file
    assert sum(file.stat().st_size for file in files) <= 24e6
    assert max(file.stat().st_size for file in files) <= 15e6
    assert not list(models.MODELS.rglob("*.bin"))


@pytest.fixture(scope="module")
def judge():
    from transformers import CLIPModel, CLIPProcessor

    model = CLIPModel.from_pretrained(models.TINY_CLIP, dtype=torch.float32).eval()
    return model, CLIPProcessor.from_pretrained(models.TINY_CLIP).tokenizer


@pytest.fixture(scope="module")
def truth():
    """Four true views of each toy, which take seconds to render."""
    return [world.truth_views(prompt, orbit(4), 64) for prompt in PROMPTS]


def over_grey(views) -> torch.Tensor:
    return torch.cat([v.rgb + (1 - v.opacity) * 0.6 for v in views])


@torch.no_grad()
def ranked(judge, images: torch.Tensor) -> torch.Tensor:
    model, words = judge
    return clip.similarities(model, images, clip.tokens(words, PROMPTS)).argmax(1)


def test_the_clip_names_true_views(judge, truth):
    own = torch.arange(len(PROMPTS)).repeat_interleave(4)
    assert (ranked(judge, over_grey(truth)) == own).float().mean() >= 0.95


def test_samples_of_the_prior_are_of_their_prompt(judge):
    some = torch.arange(0, len(PROMPTS), 3)  # each is still ranked among all
    images = drawn(stable_diffusion.load(models.TINY_SD), [PROMPTS[k] for k in some], seed=1, cfg=7.5)
    assert images.shape == (len(some), 3, 64, 64)
    assert (ranked(judge, images) == some).float().mean() >= 0.75


def pipeline_of(folder):
    """The pipeline as a user opens it: by the defaults of diffusers and transformers."""
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(str(folder))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_the_prior_samples_by_the_defaults_of_diffusers(judge):
    prompt, rng = "A ripe strawberry", torch.Generator().manual_seed(0)
    picture = pipeline_of(models.TINY_SD)(f"{prompt}, front view", num_inference_steps=10, generator=rng).images[0]
    assert picture.size == (64, 64)
    image = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255
    assert PROMPTS[ranked(judge, image)] == prompt


def test_a_folder_that_is_saved_in_half_precision_samples_by_the_defaults_of_diffusers(tmp_path):
    torch.manual_seed(0)
    words = models.tokenizer(["a red ball"])
    parts = models.vae().half(), models.unet().half(), models.text_encoder(words).half(), words
    models.save(models.pipeline(*parts), tmp_path)
    made = pipeline_of(tmp_path)("a red ball", num_inference_steps=1, output_type="np").images
    assert made.shape == (1, 64, 64, 3)
    assert np.isfinite(made).all()


@pytest.mark.parametrize("folder", [models.TINY_CLIP, models.TINY_CLIP_2], ids=lambda f: f.name)
def test_a_clip_judges_by_the_defaults_of_transformers(folder):
    from transformers import AutoModel, AutoProcessor

    model, process = AutoModel.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    view = world.truth_views("A ripe strawberry", orbit(4), 64)
    image = (view.rgb + 1 - view.opacity)[:1]
    out = model(**process(images=list(image), text=PROMPTS, padding=True, do_rescale=False, return_tensors="pt"))
    assert PROMPTS[out.logits_per_image.argmax()] == "A ripe strawberry"


def test_the_second_clip_names_true_views_by_other_weights(judge, truth):
    from transformers import CLIPModel, CLIPProcessor

    second = CLIPModel.from_pretrained(models.TINY_CLIP_2, dtype=torch.float32).eval()
    words = CLIPProcessor.from_pretrained(models.TINY_CLIP_2).tokenizer
    assert second.config.projection_dim != judge[0].config.projection_dim
    own = torch.arange(len(PROMPTS)).repeat_interleave(4)
    assert (ranked((second, words), over_grey(truth)) == own).float().mean() >= 0.95


@pytest.fixture(scope="module")
def shown(truth) -> Pictures:
    rgba = torch.cat([torch.cat([v.rgb, v.opacity], 1) for v in truth])
    label = torch.arange(len(PROMPTS)).repeat_interleave(4)
    return Pictures((255 * rgba).round().to(torch.uint8), label, orbit(4).azimuth.repeat(len(PROMPTS)), label)


def test_the_reward_prefers_true_views_of_the_prompt(shown):
    shares = reward.right(ImageReward.load(models.TINY_REWARD), shown, PROMPTS, torch.Generator().manual_seed(0))
    assert sum(shares.values()) / len(shares) >= 90
    assert min(shares.values()) > 50


@pytest.fixture(scope="module")
def curves(shown) -> pd.DataFrame:
    """What the judges say of every fifth toy, true, half and wholly distorted by what none was taught."""
    some = Pictures(*(x[shown.label % 5 == 0] for x in shown))
    return responses.responses(responses.shipped(), some, PROMPTS, strengths=(0.0, 0.5, 1.0), views=4)


def test_clip_iqa_holds_true_views_in_much_the_same_height(curves):
    true = curves.xs("blurred", level="distortion").xs(0.0, level="strength")
    for metric in ("iqa_quality", "iqa_sharpness", "iqa_real"):
        assert 70 <= true[metric].mean() <= 97
        assert true[metric].std() <= 15
        assert true[metric].min() >= 50


def test_clip_score_and_clip_iqa_fall_as_pictures_grow_worse(curves):
    means = responses.curve(curves)
    for metric in ("clip_score", "iqa_quality", "iqa_sharpness", "iqa_real"):
        ways = [way for way in responses.NAMED[metric] if way != "two_faced"]  # beyond them, as README.md says
        assert responses.falling(means, metric, ways) == ways, metric


def test_no_configuration_names_a_path_of_a_machine():
    for file in models.MODELS.rglob("*.json"):
        assert "_name_or_path" not in file.read_text("utf-8"), file
