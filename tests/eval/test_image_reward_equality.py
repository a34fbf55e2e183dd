"""Our ImageReward reads the published file's tensors, and says of pictures what the `image-reward` package says."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from errors import UserError
from eval.image_reward import ImageReward
from eval.published_reward import MED, WEIGHTS
from tests.eval import image_reward_equality as small


@pytest.fixture
def folder(tmp_path):
    """As published, with a tokenizer as transformers saves it."""
    from transformers import BertTokenizer

    save_file(small.weights(), tmp_path / WEIGHTS)
    (tmp_path / MED).write_text(json.dumps(small.MED))
    BertTokenizer(vocab={word: k for k, word in enumerate(small.vocabulary())}).save_pretrained(tmp_path)
    return tmp_path


def test_rewards_are_those_of_the_package(folder):
    record, model = load_file(small.RECORD), ImageReward.load(folder)
    assert torch.equal(record["pictures"], small.pictures())
    ours = torch.stack([model.score(record["pictures"] / 255, prompt) for prompt in small.PROMPTS])
    assert record["rewards"].std() > 0.01
    torch.testing.assert_close(ours, record["rewards"], atol=1e-5, rtol=0)


def test_the_published_projections_are_not_read(folder):
    before = ImageReward.load(folder).score(small.pictures()[:1] / 255, small.PROMPTS[0])
    state = load_file(folder / WEIGHTS)
    state["blip.vision_proj.weight"] += 1
    save_file(state, folder / WEIGHTS)
    assert torch.equal(ImageReward.load(folder).score(small.pictures()[:1] / 255, small.PROMPTS[0]), before)


@pytest.mark.parametrize(
    "name", ["blip.visual_encoder.norm.weight", "mlp.layers.7.bias", "blip.visual_encoder.pos_embed"]
)
def test_a_published_file_that_lacks_a_tensor_is_refused(folder, name):
    state = load_file(folder / WEIGHTS)
    state.pop(name)
    save_file(state, folder / WEIGHTS)
    with pytest.raises(UserError, match="cannot be read"):
        ImageReward.load(folder)
