"""The reward: its form, its folder, and that a score is of one picture and one prompt, whatever is scored beside it."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from errors import UserError
from eval.encoders import BATCH
from eval.image_reward import ImageReward, head
from tests.eval.reward import folder, random_reward, reward

PROMPT, OTHER = "A ripe strawberry", "A sea turtle"


@pytest.fixture(scope="module")
def images():
    """Six flat colours under noise, of 8 bits."""
    rng = torch.Generator().manual_seed(0)
    flat = torch.rand(6, 3, 1, 1, generator=rng)
    return ((0.7 * flat + 0.3 * torch.rand(6, 3, 64, 64, generator=rng)) * 255).round() / 255


def test_a_score_a_picture_that_depends_on_picture_and_prompt(images):
    scores = reward().score(images, PROMPT)
    assert scores.shape == (6,)
    assert scores.isfinite().all()
    assert scores.std() > 1e-3
    assert (scores - reward().score(images, OTHER)).abs().min() > 1e-4


def test_a_score_depends_on_neither_batch_nor_order(images):
    many = images.repeat(BATCH // 6 + 1, 1, 1, 1)
    scores = reward().score(many, PROMPT)
    alone = torch.cat([reward().score(image[None], PROMPT) for image in images])
    torch.testing.assert_close(scores, alone.repeat(BATCH // 6 + 1), atol=1e-4, rtol=0)
    order = torch.tensor([3, 0, 5, 2, 4, 1])
    assert reward().score(images[order], PROMPT).argsort().tolist() == alone[order].argsort().tolist()


def test_a_batch_of_prompts_is_judged_as_each_alone(images):
    model, texts = reward(), [PROMPT, OTHER + " with a long hat and a short coat"]
    with torch.inference_mode():
        raw = model.judge(model.look(model.pixels(images[:2])), model.words(texts))
    alone = torch.cat([model.score(images[k : k + 1], texts[k]) for k in range(2)])
    torch.testing.assert_close((raw - 0.5) / 2.0, alone, atol=1e-4, rtol=0)


def test_saved_and_loaded_it_scores_the_same(images, tmp_path):
    model = random_reward(seed=3)
    model.save(tmp_path)
    assert sorted(f.name for f in tmp_path.iterdir()) == [
        "config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    loaded = ImageReward.load(tmp_path)
    assert torch.equal(loaded.score(images, PROMPT), model.score(images, PROMPT))
    assert not torch.equal(loaded.score(images, PROMPT), reward().score(images, PROMPT))
    assert len(loaded.checksum) == 64
    assert loaded.checksum != reward().checksum
    random_reward(seed=3).half().save(tmp_path)
    assert ImageReward.load(tmp_path).mlp[0].weight.dtype == torch.float32


def test_pictures_are_resized_cropped_and_normalised_as_published():
    rng = torch.Generator().manual_seed(1)
    image = (torch.rand(1, 3, 96, 160, generator=rng) * 255).round() / 255
    whole = Image.fromarray((image[0].permute(1, 2, 0) * 255).round().byte().numpy())
    small = whole.resize((106, 64), Image.Resampling.BICUBIC)  # the short side to 64, torchvision's int(64 * 160 / 96)
    middle = torch.from_numpy(np.array(small.crop((21, 0, 85, 64)))).permute(2, 0, 1) / 255
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in ((0.48145466, 0.4578275, 0.40821073),
                                                          (0.26862954, 0.26130258, 0.27577711)))  # fmt: skip
    torch.testing.assert_close(reward().pixels(image)[0], (middle - mean) / std, atol=1e-5, rtol=0)


def test_the_first_token_is_cls_and_long_prompts_are_cut(images):
    model, long = reward(), "a ripe strawberry " * 30
    tokens = model.words([PROMPT, long])
    assert tokens["input_ids"].shape == (2, model.config["max_tokens"])
    assert tokens["input_ids"][0, 0] == model.tokenizer.cls_token_id
    assert tokens["attention_mask"].sum(1).tolist() == [5, model.config["max_tokens"]]
    assert torch.equal(model.score(images, long), model.score(images, long + "and more"))


def test_the_text_sees_the_whole_picture_and_the_whole_text():
    model = random_reward()
    seen = torch.randn(1, 65, 96, generator=torch.Generator().manual_seed(0)).requires_grad_()
    words = model.words([PROMPT])
    model.judge(seen, words).sum().backward()
    assert (seen.grad.abs().amax(-1) > 0).all()
    last = words["input_ids"].clone()
    last[0, -2] = model.tokenizer.convert_tokens_to_ids("turtle")  # [CLS] comes first, and reads what follows
    with torch.no_grad():
        assert (model.judge(seen, words | {"input_ids": last}) - model.judge(seen, words)).abs() > 1e-4


def test_the_head_has_the_published_form():
    names = [type(layer).__name__ for layer in head([768, 1024, 128, 64, 16, 1], [0.2, 0.2, 0.1])]
    assert names == ["Linear", "Dropout", "Linear", "Dropout", "Linear", "Dropout", "Linear", "Linear"]
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    linear = head([8, 6, 1], []).double()
    torch.testing.assert_close(linear(2 * x.double()) - linear(x.double()), linear(x.double()) - linear(0 * x.double()))


@pytest.mark.parametrize("part", ["config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json"])
def test_a_missing_or_damaged_part_is_explained(tmp_path, part):
    copy = shutil.copytree(folder(), tmp_path / "copy")
    (copy / part).write_bytes(b"{damaged")
    with pytest.raises(UserError, match="cannot be read"):
        ImageReward.load(copy)
    (copy / part).unlink()
    with pytest.raises(UserError, match=f"There is no ImageReward in .*{part} is missing"):
        ImageReward.load(copy)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.pop("head"),
        lambda c: c.update(head=[32, 8]),
        lambda c: c["vision_config"].update(hidden_size="wide"),
        lambda c: c["text_config"].update(num_hidden_layers=3),
    ],
)
def test_weights_that_do_not_fit_their_config_are_refused(tmp_path, change):
    copy = shutil.copytree(folder(), tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    change(config)
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="cannot be read"):
        ImageReward.load(copy)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: {}, r"they lack mlp\.0\.weight"),
        (lambda t: {"mlp.0.weight": t, "mlp.9.weight": t.clone()}, r"does not know: mlp\.9\.weight"),
        (lambda t: {"mlp.0.weight": t[:-1].contiguous()}, r"in another shape, mlp\.0\.weight"),
    ],
    ids=["missing", "unknown", "misshapen"],
)
def test_weights_that_would_be_read_in_part_are_refused_by_the_tensors_name(tmp_path, change, reason):
    file = shutil.copytree(folder(), tmp_path / "copy") / "model.safetensors"
    tensors = load_file(file)
    save_file(tensors | change(tensors.pop("mlp.0.weight")), file)
    with pytest.raises(UserError, match=reason):
        ImageReward.load(file.parent)
