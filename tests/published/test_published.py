"""The small ones have the files, settings, names and types of the published ones, and the loaders take them."""

import hashlib
import json
import re
import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from engine.weights import manifest as weights
from eval.encoders import load_clip
from eval.image_reward import ImageReward
from priors import stable_diffusion as sd
from prompts import paper43
from tests.published import stable_diffusion, write
from tests.published.settings import PUBLISHED, SMALL


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return write(tmp_path_factory.mktemp("weights"))


@pytest.fixture(autouse=True)
def found(monkeypatch, place):
    monkeypatch.setenv(weights.PLACE, str(place))


def pinned():
    files = [(w.name, f) for w in weights.manifest().values() for f in w.files]
    return [(name, f) for name, f in files if f.sha256 and f.path in PUBLISHED[name]]


@pytest.mark.parametrize(("name", "file"), pinned(), ids=lambda v: v if isinstance(v, str) else v.path)
def test_settings_are_the_published_bytes(name, file):
    """Before they are made small, and where nothing in them is."""
    text = PUBLISHED[name][file.path]
    assert hashlib.sha256(text.encode()).hexdigest() == file.sha256
    if file.path not in SMALL:
        assert (weights.place() / name / file.path).read_text("utf-8") == text


@pytest.mark.parametrize("name", weights.manifest())
def test_every_file_of_the_manifest_is_there(name, place):
    assert weights.folder(name) == place / name
    wanted = {file.becomes or file.path for file in weights.manifest()[name].files}
    assert {f.relative_to(place / name).as_posix() for f in (place / name).rglob("*") if f.is_file()} == wanted


def test_they_are_small_and_equal_each_time(place, tmp_path):
    again = write(tmp_path)
    files = [f for f in place.rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files) < 10e6
    assert all(f.read_bytes() == (again / f.relative_to(place)).read_bytes() for f in files)


@pytest.mark.parametrize("name", ["sd21-base", "sd21"])
@pytest.mark.parametrize("part", stable_diffusion.FILES)
def test_tensors_at_full_size_fill_the_published_file(name, part):
    """Names, types and shapes at the published sizes make a header and a body of just the published length."""
    with torch.device("meta"):
        state = stable_diffusion.state(part, json.loads(PUBLISHED[name][f"{part}/config.json"]))
    file = next(f for f in weights.manifest()[name].files if f.path == f"{part}/{stable_diffusion.FILES[part]}")
    body, entries = 0, {"__metadata__": {"format": "pt"}}
    for key in sorted(state, key=lambda k: (-state[k].element_size(), k)):
        end = body + state[key].numel() * state[key].element_size()
        kind = {torch.float16: "F16", torch.int64: "I64"}[state[key].dtype]
        entries[key] = {"dtype": kind, "shape": list(state[key].shape), "data_offsets": [body, end]}
        body = end
    header = len(json.dumps(entries, separators=(",", ":")))
    assert file.bytes == 8 + header + -header % 8 + body


@pytest.mark.parametrize(("name", "predicts"), [("sd21-base", "epsilon"), ("sd21", "v_prediction")])
def test_stable_diffusion_loads(name, predicts, place):
    prior = sd.load(place / name)
    side = {"sd21-base": 64, "sd21": 96}[name]
    assert prior.prediction == predicts
    assert (prior.latent_shape, prior.image_size) == ((4, side, side), 8 * side)
    texts = prior.embed(["a red ball", "a blue cube"])
    assert texts.shape == (2, 77, 32)
    assert (texts[0] - texts[1]).abs().max() > 0.1
    x = torch.randn(2, 4, side, side, generator=torch.Generator().manual_seed(0))
    assert prior.eps(x, torch.tensor([500, 10]), texts).isfinite().all()


def test_a_vae_in_single_precision_with_its_first_names_loads(place, tmp_path):
    """The release's full files name a VAE's attentions as diffusers did before 0.18."""
    shutil.copytree(place / "sd21-base", tmp_path, dirs_exist_ok=True)
    half = tmp_path / "vae" / stable_diffusion.FILES["vae"]
    state, old = load_file(half), {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for new, name in old.items():
        state = {k.replace(f".{new}.", f".{name}."): t.float() for k, t in state.items()}
    assert "encoder.mid_block.attentions.0.query.weight" in state
    save_file(state, half.with_name("diffusion_pytorch_model.safetensors"), metadata={"format": "pt"})
    half.unlink()
    mine, theirs = (sd.load(folder).vae.state_dict() for folder in (tmp_path, place / "sd21-base"))
    assert all(torch.equal(mine[k], theirs[k]) for k in theirs)


def test_the_bpe_reads_the_papers_prompts(place):
    """In the slow files of Stable Diffusion and the fast ones of CLIP alike, without the unknown, and uncut."""
    from transformers import CLIPTokenizer

    slow = CLIPTokenizer.from_pretrained(place / "sd21-base" / "tokenizer")
    fast = CLIPTokenizer.from_pretrained(place / "clip-vit-b32")
    texts = [p.text for p in paper43()]
    assert slow(texts).input_ids == fast(texts).input_ids
    end = len(slow) - 1
    for text in texts:
        ids = slow(text).input_ids
        assert (ids[0], ids[-1], ids.count(end)) == (end - 1, end, 1)
        assert len(ids) <= slow.model_max_length == 77
        assert re.sub(r"\s", "", slow.decode(ids[1:-1])) == re.sub(r"\s", "", text.lower())


def test_clip_loads(place):
    clip = load_clip(place / "clip-vit-b32")
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert clip.images(images).shape == clip.texts(["a red ball", "A plush dragon toy"]).shape == (2, 64)
    assert clip.model.vision_model.embeddings.patch_embedding.kernel_size == (32, 32)
    assert not clip.texts(["a red ball"]).equal(clip.texts(["a blue ball"]))


def test_image_reward_loads(place):
    reward = ImageReward.load(place / "image-reward")
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert reward.score(images, "A ripe strawberry").isfinite().all()


def test_rn50_has_openais_names(place):
    with safe_open(place / "clip-iqa-rn50/RN50.safetensors", "pt") as file:
        names = set(file.keys())
        assert file.get_slice("visual.attnpool.positional_embedding").get_shape() == [7 * 7 + 1, 128]
    blocks = {tuple(n.split(".")[1:3]) for n in names if n.startswith("visual.layer")}
    assert len(blocks) == 3 + 4 + 6 + 3
    assert {"visual.conv1.weight", "visual.layer1.0.downsample.1.running_var", "text_projection"} <= names
    assert {"transformer.resblocks.1.attn.in_proj_weight", "ln_final.bias", "logit_scale"} <= names
