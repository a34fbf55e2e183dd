"""Checkpoints in one file of the original layout: the same prior as their folder, or refused by what they are."""

from __future__ import annotations

import shutil

import pytest
import torch
from safetensors.torch import load_file

import run_benchmark
from engine import prior as priors
from errors import UserError
from priors import stable_diffusion
from tests.priors import original
from tests.priors.folders import SCHEDULER, STEMS, edit, save, weights
from tests.published import stable_diffusion as published
from tests.tiny import PROMPT, write_prior


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_prior(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def tensors(whole, tmp_path_factory):
    return load_file(original.write(whole, tmp_path_factory.mktemp("single") / "model.safetensors"))


@pytest.fixture
def file(whole, tensors, tmp_path):
    """A file, and beside it the settings alone, in a folder of its name."""
    settings(whole, tmp_path / "model")
    save(tensors, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def settings(folder, place):
    shutil.copytree(folder, place, ignore=shutil.ignore_patterns("*.safetensors"))


def seen(path) -> torch.Tensor:
    prior = stable_diffusion.load(path)
    rng, side = torch.Generator().manual_seed(0), prior.image_size
    text, image = prior.embed([PROMPT]), prior.encode(torch.rand(1, 3, side, side, generator=rng), rng)
    return torch.cat([x.flatten() for x in (text, image, prior.eps(image, torch.tensor([500]), text))])


def refused(path, reason):
    with pytest.raises(UserError, match=reason) as caught:
        stable_diffusion.load(path)
    assert "\n" not in str(caught.value)


def changed(file, tensors, change):
    save({new: t.clone() for name, tensor in tensors.items() for new, t in change(name, tensor)}, file)


def test_a_file_is_the_same_prior_as_its_folder(file, whole):
    assert torch.equal(seen(file), seen(whole))


def test_as_stable_diffusion_2_has_it(tmp_path):
    """Attention in the autoencoder, linear projections, open_clip's text encoder; the settings where the file lies."""
    folder = tmp_path / "sd21-base"
    published.write(folder, "sd21-base")
    for file in folder.glob("*/*.safetensors"):  # half-precision files under the names of single
        file.rename(file.with_name(file.name.replace(".fp16", "")))
    noise = stable_diffusion.load(folder).schedule.abar.float()
    more = {
        "alphas_cumprod": noise,
        "cond_stage_model.model.logit_scale": torch.ones(()),
        "model_ema.decay": torch.ones(()),
    }
    file = original.write(folder, folder / "v2-1_512-ema-pruned.safetensors", open_clip=True, **more)
    assert torch.equal(seen(file), seen(folder))
    edit(folder / SCHEDULER, beta_end=0.02)
    refused(file, "trained with other noise .alphas_cumprod. than .*sd21-base/scheduler has")


def test_settings_beside_a_file_and_its_weights_make_its_checksum(file, tensors):
    before = stable_diffusion.checksum(file)
    save({"a": torch.zeros(1)}, weights(file.with_suffix(""), "unet"))  # of the folder of settings: not read
    assert stable_diffusion.checksum(file) == before == stable_diffusion.load(file).checksum
    edit(file.with_suffix("") / SCHEDULER, beta_end=0.013)
    other = stable_diffusion.checksum(file)
    changed(file, tensors, lambda name, t: [(name, t + 1)])
    assert len({before, other, stable_diffusion.checksum(file)}) == 3


def test_a_file_without_settings(file):
    shutil.rmtree(file.with_suffix("") / "tokenizer")
    refused(file, f"does not say its settings: put tokenizer of its model .* into {file.with_suffix('')}, or fetch")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda n, t: [(n.replace("model.diffusion_model", "unet"), t)], "no model.diffusion_model.*; give a whole"),
        (lambda n, t: [] if n.startswith("first_stage") else [(n, t)], "it has no first_stage_model"),
        (lambda n, t: [] if n.startswith("cond_stage") else [(n, t)], "it has no cond_stage_model"),
        (lambda n, t: [] if n.endswith("time_embed.0.bias") else [(n, t)], "unet does not fit .* lack time_embedding"),
        (lambda n, t: [(n, t[:, :2] if n.endswith("input_blocks.0.0.weight") else t)], "another shape, conv_in.weight"),
        (lambda n, t: [(n, t), ("model.diffusion_model.label_emb.0.0.bias", t)], "does not know: .*label_emb.0.0.bias"),
        (lambda n, t: [(n, t), ("first_stage_model.loss.x", t)], "vae .* does not know: first_stage_model.loss.x"),
        (lambda n, t: [(n.replace("mid.block_1", "mid.block_3"), t)], "vae does not fit .* lack decoder.mid_block"),
        (lambda n, t: [(n.replace("cond_stage_model.transformer", "cond_stage_model.t5"), t)], "text_encoder .* lack"),
        (lambda n, t: [("lora_unet_down_blocks_0.lora_up.weight", t)], "is an adapter .*give it as --lora"),
        (lambda n, t: [(n, t), (f"{n}.lora_A.weight", t)], "an adapter that is not merged"),
        (lambda n, t: [(n.replace("cond_stage_model.", "conditioner.embedders.0."), t)], "of Stable Diffusion XL"),
        (lambda n, t: [("model.diffusion_model.joint_blocks.0.x", t)], "of Stable Diffusion 3"),
        (lambda n, t: [(n, t * float("nan"))], "are damaged: .* is not finite"),
        (lambda n, t: [(n, (10 * t).to(torch.int8))], "are quantised"),
        (lambda n, t: [(n, t * 0)], "gives the same answer to unlike questions"),
    ],
)  # fmt: skip
def test_files_that_are_no_prior_or_another(file, tensors, change, reason):
    changed(file, tensors, change)
    refused(file, reason)


def test_files_that_cannot_be_read(file):
    content = file.read_bytes()
    for cut, reason in ((content[:-100], "cannot be read .*incomplete"), (b"version https://git-lfs", "pointer")):
        file.write_bytes(cut)
        refused(file, f"{file} {reason}" if "cannot" in reason else reason)
    refused(shutil.copy(file, file.with_suffix(".ckpt")), "is a pickle, .*convert it")


@pytest.mark.parametrize("part", STEMS)
def test_a_part_of_a_folder_is_answered_with_the_folder(whole, part):
    refused(weights(whole, part), f"did you mean {whole}.$")


def test_settings_of_another_model(file):
    """Layers of another number: no shape of any tensor says so."""
    edit(file.with_suffix("") / "unet/config.json", layers_per_block=2)
    refused(file, "its unet (fails to convert|does not fit them)")


def test_a_file_that_is_none_is_refused_before_any_job(file, tmp_path, capsys):
    out = tmp_path / "run"
    file.write_bytes(b"cut")
    assert run_benchmark.main(["--steps", "1", "--limit", "1", "--out", str(out), "--prior", str(file)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not out.exists()


def test_without_settings_of_its_own_a_file_takes_those_of_what_fetch_brought(file, monkeypatch):
    place = file.with_suffix("").rename(file.with_name("sd21-base"))
    monkeypatch.setattr(priors, "fetched", lambda: place)
    opened, name = priors.open_prior(str(file)), str(file)
    assert opened.checksum == priors.identity(name) == stable_diffusion.checksum(file, settings=place)
    assert (priors.settings_of(name), priors.settings_of(str(place))) == (str(place), str(place))
