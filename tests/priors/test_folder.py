"""Priors as people have them: variants, shards and stray files are read by the libraries' rules; models that would be
loaded in part, or are others than Stable Diffusion, are refused by a sentence that says why."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from errors import UserError
from priors import stable_diffusion
from tests.priors.folders import SCHEDULER, STEMS, edit, rebuilt, rename, save, shard, tensors, weights
from tests.tiny import PROMPT, write_prior


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A prior whose weights are exact in every precision, so that a variant gives the same numbers."""
    folder = write_prior(tmp_path_factory.mktemp("whole"))
    for part in STEMS:
        save(tensors(folder, part), weights(folder, part))
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "prior")


def seen(folder: Path) -> torch.Tensor:
    """What a prior makes of a text, a picture and noise, in one row."""
    prior = stable_diffusion.load(folder)
    rng = torch.Generator().manual_seed(0)
    text, image = prior.embed([PROMPT]), prior.encode(torch.rand(1, 3, 32, 32, generator=rng), rng)
    return torch.cat([x.flatten() for x in (text, image, prior.eps(image, torch.tensor([500]), text))])


@pytest.mark.parametrize("part", STEMS)
@pytest.mark.parametrize(("variant", "dtype"), [(".bf16", torch.bfloat16), (".fp16", torch.float16)])
def test_a_variant_is_read_where_there_are_no_plain_weights(folder, whole, part, variant, dtype):
    rename(folder, part, variant, dtype)
    torch.testing.assert_close(seen(folder), seen(whole), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("part", STEMS)
@pytest.mark.parametrize("variant", ["", ".fp16"])
def test_shards_are_read(folder, whole, part, variant):
    shard(folder, part, variant)
    torch.testing.assert_close(seen(folder), seen(whole), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stray", ["{}.non_ema.safetensors", "pytorch_lora_weights.safetensors", "._{}.safetensors"])
def test_files_that_are_not_read_change_neither_numbers_nor_checksum(folder, whole, stray):
    rename(folder, "unet", ".fp16", torch.float16)
    expected = stable_diffusion.checksum(folder)
    save({"a": torch.zeros(2)}, folder / "unet" / stray.format(STEMS["unet"]))
    torch.testing.assert_close(seen(folder), seen(whole), rtol=1e-4, atol=1e-5)
    assert stable_diffusion.checksum(folder) == expected


def test_plain_weights_are_read_before_a_variant(folder, whole):
    save({name: torch.zeros_like(t) for name, t in tensors(folder, "unet").items()}, weights(folder, "unet", ".fp16"))
    assert torch.equal(seen(folder), seen(whole))


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_a_mark_of_byte_order_is_read_over(folder, whole, part):
    files = list((folder / part).glob("*.json"))
    assert files
    for file in files:
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert torch.equal(seen(folder), seen(whole))


def test_a_schedule_may_have_another_length(folder, whole):
    edit(folder / SCHEDULER, num_train_timesteps=500)
    prior = stable_diffusion.load(folder)
    assert len(prior.schedule) == 500
    ends = stable_diffusion.load(whole).schedule.abar[[0, -1]]
    assert prior.schedule.abar[0] == pytest.approx(ends[0])
    assert prior.schedule.abar[-1] > ends[1]  # half as many steps between the same betas


def test_without_its_configuration_a_tokenizer_cuts_at_what_the_text_encoder_reads(folder, whole):
    (folder / "tokenizer/tokenizer_config.json").unlink()
    assert torch.equal(seen(folder), seen(whole))
    with pytest.warns(UserWarning, match="reads only 32 tokens"):
        assert stable_diffusion.load(folder).embed(["ball " * 200]).shape[1] == 32


def test_a_size_may_be_stated_for_both_sides(folder, whole):
    edit(folder / "unet/config.json", sample_size=[8, 8])
    assert stable_diffusion.load(folder).latent_shape == (4, 8, 8)


def test_the_merges_of_a_tokenizer_count_in_the_checksum(folder):
    words = folder / "tokenizer"
    model = json.loads((words / "tokenizer.json").read_text())["model"]
    (words / "tokenizer.json").unlink()
    (words / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    (words / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))
    before = stable_diffusion.checksum(folder)
    (words / "merges.txt").write_text("\n".join(["#version: 0.2", *merges[:-1], ""]))
    assert stable_diffusion.checksum(folder) != before


@pytest.mark.parametrize("part", STEMS)
def test_weights_that_lack_a_tensor_are_refused_by_its_name(folder, part):
    found = tensors(folder, part)
    name = sorted(found)[0]
    save({k: t for k, t in found.items() if k != name}, weights(folder, part))
    with pytest.raises(UserError, match=rf"{part} are not all of this model's: they lack \S*{name}"):
        stable_diffusion.load(folder)


@pytest.mark.parametrize("part", STEMS)
def test_weights_that_the_model_does_not_know_are_refused_by_their_name(folder, part):
    adapter = {"attn1.to_q.lora_A.weight": torch.ones(4, 8), "attn1.to_q.lora_B.weight": torch.ones(8, 4)}
    save(tensors(folder, part) | adapter, weights(folder, part))
    with pytest.raises(UserError, match=r"does not know: attn1\.to_q\.lora_A\.weight and 1 more;"):
        stable_diffusion.load(folder)


@pytest.mark.parametrize("part", STEMS)
def test_weights_of_another_shape_are_refused_by_their_name(folder, part):
    found = tensors(folder, part)
    name = sorted(found)[0]
    save(found | {name: torch.ones(3, 3)}, weights(folder, part))
    with pytest.raises(UserError, match=rf"in another shape, \S*{name}"):
        stable_diffusion.load(folder)


def test_an_adapter_that_was_not_merged_is_refused(folder):
    found = tensors(folder, "unet")
    save({k.replace("to_q.weight", "to_q.base_layer.weight"): t for k, t in found.items()}, weights(folder, "unet"))
    with pytest.raises(UserError, match=r"lack \S*to_q\.weight.*base_layer.*merge an adapter"):
        stable_diffusion.load(folder)


def test_numbers_of_positions_may_be_kept_beside_the_weights(folder, whole):
    save(
        tensors(folder, "text_encoder") | {"embeddings.position_ids": torch.arange(32)[None]},
        weights(folder, "text_encoder"),
    )
    assert torch.equal(seen(folder), seen(whole))


def test_a_shard_that_is_not_there_is_named(folder):
    shard(folder, "unet")
    (folder / "unet/diffusion_pytorch_model-00002-of-00002.safetensors").unlink()
    with pytest.raises(UserError, match="lack diffusion_pytorch_model-00002-of-00002"):
        stable_diffusion.load(folder)


def test_of_unknown_variants_none_is_guessed(folder):
    found = rename(folder, "unet", ".mine", torch.float16)
    seen(folder)
    save(found, weights(folder, "unet", ".non_ema"))
    with pytest.raises(UserError, match="the weights of mine and non_ema"):
        stable_diffusion.load(folder)


@pytest.mark.parametrize("files", [(), ("vocab.json",), ("merges.txt",)])
def test_a_tokenizer_without_words_is_refused(folder, files):
    (folder / "tokenizer/tokenizer.json").unlink()
    for name in files:
        (folder / "tokenizer" / name).write_text("{}")
    with pytest.raises(UserError, match="has no words: it lacks"):
        stable_diffusion.load(folder)


def test_a_tokenizer_that_takes_all_texts_for_the_same_is_refused(folder):
    file = folder / "tokenizer/tokenizer.json"
    content = json.loads(file.read_text())
    special = {"<|startoftext|>": 0, "<|endoftext|>": 1}
    content["model"] |= {"vocab": special, "merges": []}
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match="unlike texts for the same"):
        stable_diffusion.load(folder)


def test_a_tokenizer_of_a_larger_model_is_refused(folder):
    file = folder / "tokenizer/tokenizer.json"
    content = json.loads(file.read_text())
    content["model"]["vocab"] |= {"more</w>": len(content["model"]["vocab"])}
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match="is another model's"):
        stable_diffusion.load(folder)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "FlowMatchEulerDiscreteScheduler"),
        ({"_class_name": "EDMEulerScheduler"}, "EDMEulerScheduler"),
        ({"_class_name": "EulerDiscreteScheduler", "use_flow_sigmas": True}, "use_flow_sigmas"),
        ({"prediction_type": "sample"}, "'sample'"),
        ({"prediction_type": "flow_prediction"}, "'flow_prediction'"),
        ({"beta_start": None, "beta_end": None, "beta_schedule": None}, "lacks beta_start, beta_end, beta_schedule"),
        ({"beta_end": None}, "lacks beta_end"),
        ({"rescale_betas_zero_snr": True}, "noise alone .rescale_betas_zero_snr"),
        ({"trained_betas": [0.001] * 999 + [1.0]}, "noise alone .its betas"),
        ({"trained_betas": [0.001] * 500}, "500 betas for 1000 timesteps"),
    ],
)
def test_a_schedule_that_is_not_understood_is_refused(folder, settings, reason):
    edit(folder / SCHEDULER, **settings)
    with pytest.raises(UserError, match=reason):
        stable_diffusion.load(folder)


@pytest.mark.parametrize(
    "name", ["PNDMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "LCMScheduler"]
)
def test_schedulers_of_stable_diffusion_state_the_same_noise(folder, whole, name):
    edit(folder / SCHEDULER, _class_name=name)
    assert torch.equal(seen(folder), seen(whole))


@pytest.mark.parametrize("size", [None, [8, 4]])
def test_latents_of_unknown_size_are_refused(folder, size):
    file = folder / "unet/config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"sample_size": size}))
    with pytest.raises(UserError, match="sample_size"):
        stable_diffusion.load(folder)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            {
                "addition_embed_type": "text_time",
                "addition_time_embed_dim": 8,
                "projection_class_embeddings_input_dim": 64,
            },
            "more than one text .addition_embed_type text_time",
        ),
        ({"num_class_embeds": 3}, "more than one text .num_class_embeds"),
        ({"encoder_hid_dim_type": "text_proj", "encoder_hid_dim": 12}, "more than one text .encoder_hid_dim"),
        ({"in_channels": 9}, "takes 9 channels"),
        ({"out_channels": 8}, "gives 8"),
        ({"cross_attention_dim": 24}, "texts of 24 channels"),
    ],
    ids=lambda s: s if isinstance(s, str) else next(iter(s)),
)
def test_another_kind_of_network_is_refused(folder, settings, reason):
    rebuilt(folder, **settings)
    with pytest.raises(UserError, match=reason):
        stable_diffusion.load(folder)
