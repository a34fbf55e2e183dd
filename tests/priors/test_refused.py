"""Priors that cannot be right are refused before any work, by a sentence that names what is wrong with them."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from errors import UserError
from priors import stable_diffusion
from tests.priors.folders import SCHEDULER, STEMS, edit, rebuilt, save, shard, tensors, weights
from tests.tiny import write_prior


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_prior(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "prior")


def refused(folder, reason):
    with pytest.raises(UserError, match=reason) as caught:
        stable_diffusion.load(folder)
    assert "\n" not in str(caught.value)


def changed(folder, part, change):
    save({name: change(name, tensor) for name, tensor in tensors(folder, part).items()}, weights(folder, part))


@pytest.mark.parametrize("part", STEMS)
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_one_number_that_is_none(folder, part, number):
    name = sorted(tensors(folder, part))[0]
    changed(folder, part, lambda n, t: t.index_fill(0, torch.tensor([len(t) - 1]), number) if n == name else t)
    refused(folder, rf"{part} are damaged: {name} is not finite")


@pytest.mark.parametrize(("part", "said"), [("unet", "U-Net"), ("vae", "VAE"), ("text_encoder", "text encoder")])
def test_weights_of_zeros_and_weights_that_overflow(folder, part, said):
    found = tensors(folder, part)
    changed(folder, part, lambda _, t: torch.zeros_like(t))
    refused(folder, f"its {said} gives the same answer to unlike questions")
    save({name: t * 0 + 1e30 if t.ndim > 1 else t for name, t in found.items()}, weights(folder, part))
    refused(folder, f"its {said} gives numbers that are not finite")


def test_a_network_that_does_not_listen_to_texts(folder):
    """Its cross-attention gives nothing: what an adapter that was merged wrongly may leave."""
    changed(folder, "unet", lambda n, t: t * 0 if "attn2" in n else t)
    refused(folder, "its U-Net gives the same answer")


def test_half_precision_that_overflows_is_seen_in_half_precision_alone(folder):
    name = "conv_in.weight"
    changed(folder, "unet", lambda n, t: t * 0 + 1e5 if n == name else t)
    stable_diffusion.load(folder)
    with pytest.raises(UserError, match=f"{name} is not finite"):
        stable_diffusion.load(folder, dtype=torch.float16)


@pytest.mark.parametrize("part", STEMS)
def test_whole_numbers_are_quantised_and_mixed_precision_is_not(folder, part):
    changed(folder, part, lambda n, t: t.half() if len(n) % 2 else t.double())
    stable_diffusion.load(folder)
    changed(folder, part, lambda _, t: (10 * t).to(torch.int8))
    refused(folder, r"are quantised .\S+ is I8.")


@pytest.mark.parametrize("part", STEMS)
@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "header too small"), (b"version https://git-lfs.github.com/spec/v1\noid", "pointer of Git LFS")],
    ids=["empty", "pointer"],
)
def test_files_that_hold_no_tensors(folder, part, content, reason):
    file = weights(folder, part)
    file.write_bytes(content)
    refused(folder, f"{file} cannot be read .*{reason}")


@pytest.mark.parametrize("part", STEMS)
def test_a_file_that_is_cut(folder, part):
    file = weights(folder, part)
    file.write_bytes(file.read_bytes()[:-100])
    refused(folder, f"{file} cannot be read .*incomplete")


def test_a_shard_that_is_cut(folder):
    shard(folder, "unet")
    file = folder / "unet/diffusion_pytorch_model-00002-of-00002.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    refused(folder, f"{file} cannot be read")


@pytest.mark.parametrize("part", STEMS)
@pytest.mark.parametrize("named", [None, {}, ["a"], {"a": 3}, {"a": ["b"]}])
def test_an_index_that_names_no_files(folder, part, named):
    shard(folder, part)
    file = folder / part / f"{STEMS[part]}.safetensors.index.json"
    file.write_text(json.dumps({"metadata": {}, "weight_map": named}))
    refused(folder, f"{file} does not say which files have the weights")


@pytest.mark.parametrize("part", STEMS)
def test_a_shard_that_lacks_what_its_index_says_it_has(folder, part):
    shard(folder, part)
    file = folder / part / f"{STEMS[part]}-00002-of-00002.safetensors"
    kept = dict(sorted(load_file(file).items())[1:])
    save(kept, file)
    refused(folder, r"lack \S+\.(weight|bias)")


@pytest.mark.parametrize("file", ["unet/diffusion_pytorch_model.safetensors", "vae/config.json"])
def test_a_link_that_leads_nowhere(folder, file):
    (folder / file).unlink()
    (folder / file).symlink_to("blob-of-a-cleared-cache")
    with pytest.raises(UserError, match=f"{file} cannot be read .No such file"):
        stable_diffusion.checksum(folder)


@pytest.mark.parametrize(
    ("part", "settings"),
    [
        ("unet", {"_class_name": "UNet3DConditionModel"}),
        ("vae", {"_class_name": "AutoencoderTiny"}),
        ("text_encoder", {"model_type": "t5"}),
    ],
)
def test_a_part_of_another_class(folder, part, settings):
    file = folder / part / "config.json"
    edit(file, **settings)
    refused(folder, rf"where {file} says {next(iter(settings.values()))}")


@pytest.mark.parametrize("part", STEMS)
@pytest.mark.parametrize("content", [None, "[]", "{"])
def test_a_part_without_its_configuration(folder, part, content):
    file = folder / part / "config.json"
    file.unlink() if content is None else file.write_text(content)
    refused(folder, f"{file} (cannot be read|is no JSON object)")


def test_a_second_text_encoder(folder):
    shutil.copytree(folder / "text_encoder", folder / "text_encoder_2")
    refused(folder, "has a text_encoder_2")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"shift_factor": 0.06}, "moves its latents .shift_factor"),
        ({"latents_mean": [0.5] * 4, "latents_std": [2.0] * 4}, "moves its latents .latents_mean"),
        ({"scaling_factor": 0}, "scale its latents by 0:"),
        ({"scaling_factor": "0.5"}, "scale its latents by '0.5'"),
        ({"scaling_factor": True}, "scale its latents by True:"),
        ({"scaling_factor": 1e4}, "latents of size .*scaling_factor is wrong"),
        ({"scaling_factor": 1e-4}, "latents of size .*scaling_factor is wrong"),
    ],
)
def test_latents_that_are_not_as_stable_diffusion_has_them(folder, settings, reason):
    edit(folder / "vae/config.json", **settings)
    refused(folder, reason)


def test_a_vae_of_other_pictures(folder):
    from diffusers import AutoencoderKL

    config = dict(AutoencoderKL.load_config(folder / "vae"))
    AutoencoderKL.from_config(config | {"in_channels": 4}).save_pretrained(folder / "vae")
    refused(folder, "its VAE fails")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"beta_start": 0.0}, "not above 0"),
        ({"trained_betas": [-0.01] * 1000}, "not above 0"),
        ({"trained_betas": [float("nan")] * 1000}, "noise alone"),
        ({"beta_start": "0.00085"}, "noise is not known"),
        ({"beta_schedule": "linearly"}, "noise is not known: .*linearly"),
        ({"num_train_timesteps": "1000"}, "noise is not known"),
        ({"num_train_timesteps": 10**9}, "1000000000 timesteps"),
        ({"num_train_timesteps": 0}, "0 timesteps"),
        ({"num_train_timesteps": 4}, "4 timesteps"),
    ],
)
def test_noise_that_no_rule_can_take(folder, settings, reason):
    edit(folder / SCHEDULER, **settings)
    refused(folder, reason)


def test_a_cosine_schedule_and_a_network_that_asks_the_same_width_everywhere_are_taken(folder):
    edit(folder / SCHEDULER, beta_schedule="squaredcos_cap_v2")
    rebuilt(folder, cross_attention_dim=[16, 16])
    stable_diffusion.load(folder)


def test_a_network_that_asks_for_the_weight_of_guidance(folder):
    rebuilt(folder, time_cond_proj_dim=8)
    refused(folder, "more than one text .time_cond_proj_dim")


@pytest.mark.parametrize("size", [0, "8", [8, 8, 8.5], [], True, 10**6])
def test_a_size_that_is_none(folder, size):
    edit(folder / "unet/config.json", sample_size=size)
    refused(folder, "sample_size")


def words(folder, change):
    file = folder / "tokenizer/tokenizer.json"
    content = json.loads(file.read_text())
    change(content["model"])
    file.write_text(json.dumps(content))


def test_a_tokenizer_of_a_smaller_model(folder):
    words(folder, lambda model: model["vocab"].popitem() and model["merges"].pop())
    refused(folder, "is another model's")


def test_a_tokenizer_that_lost_a_letter(folder):
    words(folder, lambda model: model["vocab"].update({"~~~": model["vocab"].pop("q</w>")}))
    words(folder, lambda model: model["vocab"].update({"~~~~": model["vocab"].pop("z</w>")}))
    refused(folder, "unlike texts for the same")


def test_a_tokenizer_without_merges(folder):
    words(folder, lambda model: model.update(merges=[]))
    refused(folder, "its merges are not its words'")


def test_a_tokenizer_that_cuts_every_prompt(folder):
    edit(folder / "tokenizer/tokenizer_config.json", model_max_length=4)
    refused(folder, "no prompt fits in")


def test_unknown_words_for_views(folder):
    (folder / "views.json").write_text('{"view_words": "seven"}')
    refused(folder, "'seven': they are coarse or sectors")


@pytest.mark.parametrize("share", ["0", "-1", "1.5", '"a third"', "true", "null", "[0.5]", "NaN"])
def test_a_share_of_a_text_that_is_none(folder, share):
    (folder / "views.json").write_text(f'{{"text_share": {share}}}')
    refused(folder, "it is a number above 0, and at most 1")


def test_a_folder_above_or_below_or_of_the_hubs_cache_is_answered_with_the_right_one(whole, tmp_path):
    model = shutil.copytree(whole, tmp_path / "above/model")
    refused(tmp_path / "above", f"did you mean {model}.")
    refused(model / "unet", f"did you mean {model}.")
    snapshot = shutil.copytree(whole, tmp_path / "models--a--b/snapshots/0123")
    refused(tmp_path / "models--a--b", f"did you mean {snapshot}.")
    stable_diffusion.load(snapshot)
    refused(tmp_path / "nowhere", "There is no prior at")
