"""CLIPs of open_clip: what is said without library or weights, and, where it is installed, a small one's features."""

import dataclasses
import json
import sys
from importlib.util import find_spec

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.scoring.judges import judges_of, scorer_of
from errors import UserError
from eval import open_clip as ours
from eval.encoders import Encoder
from prompts import paper43
from suites.paper import PAPER
from suites.world import MODELS, WORLD
from tests.eval.clip import write_clip

here = pytest.mark.skipif(find_spec("open_clip") is None, reason="open_clip is an extra")
NAME = "tiny-quarter"
SIZES = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture
def weights(tmp_path):
    """A small architecture under its name, with random weights."""
    import open_clip

    (tmp_path / f"{NAME}.json").write_text(json.dumps(SIZES))
    open_clip.add_model_config(tmp_path)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.create_model(NAME)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


@pytest.fixture
def images():
    return (torch.rand(3, 3, 48, 40, generator=torch.Generator().manual_seed(0)) * 255).round() / 255


@pytest.mark.parametrize(
    "name", ["open_clip:", "open_clip:ViT-L-14", "open_clip:ViT-L-14=w.pt", "open_clip:hf-hub:a/b=w.safetensors"]
)
def test_a_name_that_names_none(name):
    with pytest.raises(UserError, match="write open_clip:ARCHITECTURE=FILE"):
        ours.parts_of(name)


def test_without_the_library_a_sentence_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    monkeypatch.setattr(ours, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="uv sync --extra metrics"):
        judges_of(WORLD, None, "open_clip:ViT-B-32=nowhere.safetensors")


def test_without_the_weights_a_sentence_says_so(monkeypatch):
    monkeypatch.setattr(ours, "find_spec", lambda name: True)
    with pytest.raises(UserError, match=r"no weights nowhere\.safetensors"):
        judges_of(PAPER, None, "open_clip:ViT-B-32=nowhere.safetensors")


def test_a_folder_as_the_second_encoder_scores_too(tmp_path):
    folder = write_clip(tmp_path / "clip")
    judges = judges_of(WORLD, None, str(folder))
    assert judges.second == folder
    scorer = scorer_of(WORLD, judges)
    assert isinstance(scorer.judges["clip2"], Encoder)
    assert scorer.asked == {"asked"}
    assert not scorer_of(WORLD, judges_of(WORLD)).asked


def test_the_worlds_own_second_encoder_can_be_asked_for(tmp_path):
    judges = judges_of(WORLD, None, str(MODELS / "tiny-clip-2"))
    assert judges == dataclasses.replace(judges_of(WORLD), asked=True)
    assert "clip_score_2" in scorer_of(WORLD, judges).stamps(paper43()[0].id, "pictures", True)


@here
def test_features_are_open_clips_own(weights, images):
    import open_clip
    from PIL import Image

    encoder = ours.load_open_clip(f"open_clip:{NAME}={weights}")
    model, _, transform = open_clip.create_model_and_transforms(NAME, pretrained=str(weights))
    pictures = [Image.fromarray((p * 255).round().byte().permute(1, 2, 0).numpy()) for p in images]
    with torch.no_grad():
        image = model.eval().encode_image(torch.stack([transform(p) for p in pictures]), normalize=True)
        texts = model.encode_text(open_clip.get_tokenizer(NAME)(["a cat", "a dog " * 90]), normalize=True)
    torch.testing.assert_close(encoder.images(images), image)
    torch.testing.assert_close(encoder.texts(["a cat", "a dog " * 90]), texts)
    assert (texts[0] - texts[1]).abs().max() > 1e-3


@here
def test_the_checksum_tells_weights_and_architectures_apart(weights, tmp_path):
    first = ours.load_open_clip(f"open_clip:{NAME}={weights}").checksum
    state = load_file(weights)
    state["text_projection"] += 1
    save_file(state, weights)
    assert ours.load_open_clip(f"open_clip:{NAME}={weights}").checksum != first
    assert ours.digest([weights], "a") != ours.digest([weights], "b")


@here
def test_what_cannot_be_read_is_a_sentence(weights):
    with pytest.raises(UserError, match="cannot be read as open_clip's ViT-B-32"):
        ours.load_open_clip(f"open_clip:ViT-B-32={weights}")
    with pytest.raises(UserError, match="no architecture ViT-Z"):
        ours.load_open_clip(f"open_clip:ViT-Z={weights}")
    weights.write_bytes(b"damaged")
    with pytest.raises(UserError, match="cannot be read"):
        ours.load_open_clip(f"open_clip:{NAME}={weights}")
