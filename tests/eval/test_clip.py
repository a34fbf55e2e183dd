"""Metrics over CLIP's features, against torchmetrics on the same encoder."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from errors import UserError
from eval import encoders
from eval.clip_iqa import ANTONYMS, SENTENCES, clip_iqa
from eval.clip_score import clip_score
from eval.encoders import load_clip
from eval.r_precision import r_precision
from eval.rn50 import load_rn50
from prompts import paper43
from tests.eval.clip import Plain, by_torchmetrics, encoder, folder
from tests.eval.clip_iqa_equality import write_folder
from tests.eval.reward import reward

TEXTS = [p.text for p in paper43()][:4]


@pytest.fixture(scope="module")
def images():
    """Four pictures that a random network tells apart: flat colours under noise, of 8 bits."""
    rng = torch.Generator().manual_seed(0)
    flat = torch.rand(4, 3, 1, 1, generator=rng)
    return ((0.7 * flat + 0.3 * torch.rand(4, 3, 48, 48, generator=rng)) * 255).round() / 255


def test_clip_score_is_torchmetrics_view_by_view(images):
    clip = encoder()
    features, texts = clip.images(images), clip.texts(TEXTS)
    ours = torch.stack([clip_score(features, text) for text in texts])
    theirs = [[by_torchmetrics(clip, image[None], text) for image in images] for text in TEXTS]
    assert ours.count_nonzero() >= 4  # a negative cosine is 0 for both
    torch.testing.assert_close(ours, torch.tensor(theirs), atol=2e-4, rtol=0)


def test_clip_iqa_is_torchmetrics(images):
    from torchmetrics.functional.multimodal import clip_image_quality_assessment

    clip = encoder()
    ours = clip_iqa(clip.images(images), clip.texts(SENTENCES))
    # its processor divides by 255 whatever `data_range` says, so that it is right for 0 ... 255 alone
    theirs = clip_image_quality_assessment(
        (images * 255).round(), lambda: (Plain(clip.model), clip.processor), data_range=1.0, prompts=tuple(ANTONYMS)
    )
    assert list(ours) == ["quality", "sharpness", "real"]
    for name in ANTONYMS:
        assert ours[name].std() > 1e-3
        torch.testing.assert_close(ours[name], 100 * theirs[name], atol=2e-3, rtol=0)


def test_antonyms_are_torchmetrics():
    from torchmetrics.functional.multimodal.clip_iqa import _PROMPTS

    assert all(_PROMPTS[name] == pair for name, pair in ANTONYMS.items())


def test_clip_score_is_never_negative():
    image = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    assert clip_score(image, torch.tensor([-1.0, 0.0])).tolist() == [0.0, 0.0]
    torch.testing.assert_close(clip_score(image, torch.tensor([0.0, 1.0])), torch.tensor([0.0, 80.0]))


def test_r_precision_is_the_ranking_by_hand():
    rng = torch.Generator().manual_seed(1)
    image, texts = torch.randn(20, 5, generator=rng), torch.randn(6, 5, generator=rng)
    by_hand = [100.0 * (max(range(6), key=lambda n: float(v @ texts[n])) == 2) for v in image]
    assert 0 < sum(by_hand) < 2000
    assert r_precision(image, texts, 2).tolist() == by_hand


def test_a_tie_is_not_won():
    assert r_precision(torch.ones(2, 3), torch.ones(4, 3), 1).tolist() == [0.0, 0.0]


def test_a_long_prompt_is_cut_and_says_so():
    clip = encoder()
    text = "A ripe strawberry " * 40
    assert clip.cut("A ripe strawberry") == 0
    assert clip.cut(text) > 0
    torch.testing.assert_close(clip.texts([text]), clip.texts([text + "and more"]))


def test_features_are_of_unit_length_and_do_not_depend_on_the_batch(images):
    features = encoder().images(images)
    torch.testing.assert_close(features.norm(dim=-1), torch.ones(4))
    torch.testing.assert_close(encoder().images(images[2:3]), features[2:3], atol=1e-5, rtol=0)


def test_half_precision_moves_no_score_and_leaves_single_precision(images, monkeypatch, tmp_path):
    """As on a GPU: within .1 of a CLIP score, and of a reward within .02."""
    judges = [encoder(), load_rn50(write_folder(tmp_path))]
    exact = [(100 * judge.images(images) @ judge.texts(TEXTS).mT) for judge in judges]
    reward_of = reward().score(images, TEXTS[0])
    monkeypatch.setattr(encoders, "HALVED", ("cpu",))
    for judge, scores in zip(judges, exact, strict=True):
        features, texts = judge.images(images), judge.texts(TEXTS)
        assert features.dtype == texts.dtype == torch.float32
        halved = 100 * features @ texts.mT
        assert not torch.equal(halved, scores)
        torch.testing.assert_close(halved, scores, atol=0.1, rtol=0)
    halved = reward().score(images, TEXTS[0])
    assert not torch.equal(halved, reward_of)
    torch.testing.assert_close(halved, reward_of, atol=0.02, rtol=0)


def test_the_checksum_is_of_the_folders_contents(tmp_path):
    copy = shutil.copytree(folder(), tmp_path / "copy")
    assert load_clip(copy).checksum == encoder().checksum
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert load_clip(copy).checksum != encoder().checksum


def test_a_folder_without_clip_is_explained(tmp_path):
    with pytest.raises(UserError, match="There is no CLIP in"):
        load_clip(tmp_path)
    copy = shutil.copytree(folder(), tmp_path / "copy")
    (copy / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match="cannot be read"):
        load_clip(copy)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda name, t: {}, "they lack {name}"),
        (lambda name, t: {name: t, "extra.lora_A.weight": t.clone()}, r"does not know: extra\.lora_A\.weight"),
        (lambda name, t: {name: t[:-1].contiguous()}, "in another shape, {name}"),
    ],
    ids=["missing", "unknown", "misshapen"],
)
@pytest.mark.parametrize("name", ["visual_projection.weight", "text_model.embeddings.position_embedding.weight"])
def test_weights_that_would_be_read_in_part_are_refused_by_the_tensors_name(tmp_path, change, reason, name):
    file = shutil.copytree(folder(), tmp_path / "copy") / "model.safetensors"
    tensors = load_file(file)
    save_file(tensors | change(name, tensors.pop(name)), file, metadata={"format": "pt"})
    with pytest.raises(UserError, match=reason.format(name=name)):
        load_clip(file.parent)
