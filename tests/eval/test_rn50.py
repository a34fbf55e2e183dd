"""The RN50 of CLIP-IQA: torchmetrics' numbers of its default model, any size of picture, and folders that are none."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from errors import UserError
from eval.clip_iqa import ANTONYMS, SENTENCES, clip_iqa
from eval.rn50 import WEIGHTS, load_rn50
from tests.eval import clip_iqa_equality as small


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return small.write_folder(tmp_path_factory.mktemp("rn50"))


@pytest.fixture
def folder(tmp_path):
    return small.write_folder(tmp_path)


def test_percentages_are_those_of_torchmetrics_through_piq(whole):
    record, model = load_file(small.RECORD), load_rn50(whole)
    assert torch.equal(record["pictures"], small.pictures())
    ours = clip_iqa(model.images(record["pictures"] / 255), model.texts(SENTENCES))
    assert tuple(ours) == small.PAIRS == tuple(ANTONYMS)
    assert (record["percent"].std(dim=1) > 0.5).all()
    torch.testing.assert_close(torch.stack([*ours.values()]), record["percent"], atol=2e-4, rtol=0)


def test_features_are_of_unit_length_at_any_size_and_do_not_depend_on_the_batch(whole):
    model, images = load_rn50(whole), small.pictures() / 255
    features = model.images(images)
    torch.testing.assert_close(features.norm(dim=-1), torch.ones(3))
    torch.testing.assert_close(model.images(images[1:2]), features[1:2], atol=1e-5, rtol=0)
    for size in (32, 45, 224):
        assert model.images(torch.rand(1, 3, size, size)).shape == features[:1].shape


def test_a_text_is_read_to_the_longest_and_no_further(whole):
    model, text = load_rn50(whole), "A ripe strawberry " * 60
    torch.testing.assert_close(model.texts([text]), model.texts([text + "and more"]))
    both = model.texts(["Good photo.", text])
    torch.testing.assert_close(both[:1], model.texts(["Good photo."]), atol=1e-6, rtol=0)
    assert (both[0] - model.texts(["Bad photo."])[0]).abs().max() > 1e-3


def test_the_positional_embedding_of_the_pooling_is_not_read(whole, folder):
    state = load_file(folder / WEIGHTS)
    state["visual.attnpool.positional_embedding"] += 1
    save_file(state, folder / WEIGHTS)
    images, before, after = small.pictures() / 255, load_rn50(whole), load_rn50(folder)
    assert torch.equal(after.images(images), before.images(images))
    assert after.checksum != before.checksum


@pytest.mark.parametrize(
    "name", ["visual.layer2.0.conv3.weight", "visual.bn1.running_var", "ln_final.bias", "text_projection"]
)
def test_a_tensor_that_is_missing_is_named(folder, name):
    state = load_file(folder / WEIGHTS)
    state.pop(name)
    save_file(state, folder / WEIGHTS)
    with pytest.raises(UserError, match=f"lacks the tensor '{name}'"):
        load_rn50(folder)


def test_a_folder_that_is_none_is_explained(folder, tmp_path):
    (folder / WEIGHTS).write_bytes(b"damaged")
    with pytest.raises(UserError, match="cannot be read"):
        load_rn50(folder)
    small.write_folder(folder)
    state = load_file(folder / WEIGHTS)
    state["visual.conv2.weight"] = state["visual.conv2.weight"][:, :1].clone()
    save_file(state, folder / WEIGHTS)
    with pytest.raises(UserError, match="cannot be read"):
        load_rn50(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"tokenizer\.json is missing; run_benchmark\.py fetch"):
        load_rn50(folder)
