"""LoRAs as diffusers and peft write them, merged: the network that peft computes, in every spelling."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from safetensors.torch import load_file, save_file

from engine import prior as priors
from errors import UserError
from priors import stable_diffusion
from tests.tiny import PROMPT, write_prior

RANK, ALPHA = 2, 6.0
TARGETS = {"unet": ["to_q", "to_k", "to_v", "to_out.0", "conv1"], "text_encoder": ["q_proj", "v_proj"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_prior(tmp_path_factory.mktemp("whole"))


def answer(prior):
    rng = torch.Generator().manual_seed(0)
    text = prior.embed([PROMPT])
    return prior.eps(torch.randn(1, 4, 8, 8, generator=rng), torch.tensor([500]), text)


@pytest.fixture(scope="module")
def adapted(folder):
    """What peft makes of a prior with adapters on both networks, and the adapters' tensors by part."""
    prior, tensors = stable_diffusion.load(folder), {}
    torch.manual_seed(0)
    for part, targets in TARGETS.items():
        config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=targets, init_lora_weights=False)
        network = inject_adapter_in_model(config, getattr(prior, part))
        tensors[part] = {k: v.detach().clone() for k, v in get_peft_model_state_dict(network).items()}
    with prior.untraced():
        return answer(prior), tensors


def named(tensors, spell=lambda name: name):
    return {f"{part}.{spell(name)}": t.contiguous() for part, found in tensors.items() for name, t in found.items()}


def settings():
    return {f"{part}.{key}": value for part in TARGETS for key, value in (("r", RANK), ("lora_alpha", ALPHA))}


def alphas(tensors):
    modules = {name.rsplit(".lora_", 1)[0] for name in named(tensors)}
    return {f"{module}.alpha": torch.tensor(ALPHA) for module in modules}


def spelled(form, tensors, file):
    if form == "metadata":
        save_file(named(tensors), file, metadata={"lora_adapter_metadata": json.dumps(settings())})
    elif form == "beside":
        save_file({f"base_model.model.{name}": t for name, t in named(tensors).items()}, file)
        file.with_name("adapter_config.json").write_text(json.dumps({"r": RANK, "lora_alpha": ALPHA}))
    elif form == "alphas":
        save_file(named(tensors) | alphas(tensors), file)
    elif form == "old":
        old = named(tensors, lambda n: n.replace("lora_A.weight", "lora.down.weight").replace("lora_B", "lora.up"))
        old = {k.replace(".lora.", ".lora_linear_layer.") if "text_" in k else k: t for k, t in old.items()}
        save_file(old | alphas(tensors), file)
    elif form == "kohya":
        renamed = {}
        for name, t in named(tensors).items():
            module, side, _ = name.rsplit(".", 2)
            part, _, inside = module.partition(".")
            inside = ("lora_unet_" + inside) if part == "unet" else "lora_te_text_model_" + inside
            renamed[f"{inside.replace('.', '_')}.lora_{'down' if side == 'lora_A' else 'up'}.weight"] = t
            renamed[f"{inside.replace('.', '_')}.alpha"] = torch.tensor(ALPHA)
        save_file(renamed, file)
    return file


@pytest.mark.parametrize("form", ["metadata", "beside", "alphas", "old", "kohya"])
def test_the_merged_network_is_the_one_that_peft_computes(folder, adapted, tmp_path, form):
    expected, tensors = adapted
    merged = stable_diffusion.load(folder, lora=spelled(form, tensors, tmp_path / "lora.safetensors"))
    plain = answer(stable_diffusion.load(folder))
    assert (expected - plain).abs().max() > 1e-3
    torch.testing.assert_close(answer(merged), expected, rtol=1e-4, atol=1e-5)


def test_an_adapter_of_the_unet_alone_without_its_name_or_alpha(folder, tmp_path):
    torch.manual_seed(0)
    prior = stable_diffusion.load(folder)
    config = LoraConfig(r=RANK, lora_alpha=RANK, target_modules=TARGETS["unet"], init_lora_weights=False)
    inject_adapter_in_model(config, prior.unet)
    same = get_peft_model_state_dict(prior.unet)
    file = tmp_path / "lora.safetensors"
    save_file({k: v.contiguous() for k, v in same.items()}, file)
    with prior.untraced():
        torch.testing.assert_close(
            answer(stable_diffusion.load(folder, lora=file)), answer(prior), rtol=1e-4, atol=1e-5
        )


def test_what_peft_says_of_ranks_and_single_modules_counts(folder, adapted, tmp_path):
    from priors import adapter

    found = {"A": torch.zeros(4, 2)}
    assert adapter._scale(found, {"lora_alpha": 8, "use_rslora": True}, "unet", "a.to_q") == 4
    assert adapter._scale(found, {"unet.lora_alpha": 8, "text_encoder.lora_alpha": 2}, "unet", "a.to_q") == 2
    assert adapter._scale(found, {"lora_alpha": 8, "alpha_pattern": {"to_k": 1}}, "unet", "a.to_k") == 0.25
    assert adapter._scale(found, {"lora_alpha": 8, "alpha_pattern": {"to_k": 1}}, "unet", "a.to_q") == 2


def test_an_adapter_is_part_of_the_priors_identity(folder, adapted, tmp_path):
    _, tensors = adapted
    file = spelled("alphas", tensors, tmp_path / "lora.safetensors")
    name = priors.with_adapter(str(folder), str(file))
    before = priors.identity(name)
    assert before != priors.identity(str(folder))
    assert priors.open_prior(name).checksum == before
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 1}))
    assert priors.identity(name) != before
    (tmp_path / "adapter_config.json").unlink()
    save_file({k: 2 * t for k, t in load_file(file).items()}, file)
    assert priors.identity(name) != before


def refused(folder, file, reason):
    with pytest.raises(UserError, match=reason) as caught:
        stable_diffusion.load(folder, lora=file)
    assert "\n" not in str(caught.value)


def test_adapters_that_do_not_fit_are_refused_by_the_name_of_a_module(folder, adapted, tmp_path):
    _, tensors = adapted
    file, good = tmp_path / "lora.safetensors", named(tensors)
    first = next(name for name in good if name.endswith("lora_B.weight"))
    module = first.removesuffix(".lora_B.weight")
    pair = {"lora_A.weight": torch.ones(2, 4), "lora_B.weight": torch.ones(4, 2)}
    wrong = {
        "has no such module": good | {f"unet.mid.to_q.{side}": t for side, t in pair.items()},
        f"at {module} .* does not fit": good | {first: torch.ones(3, RANK)},
        f"for its {module} the prior has but one": {k: v for k, v in good.items() if k != first},
        f"or damaged: at {module} it is not finite": good | {first: good[first] * float("nan")},
        "is quantised": good | {first: (10 * good[first]).to(torch.int8)},
        "has no lora_A and lora_B": {},
        "no plain LoRA": good | {f"{module}.lora_magnitude_vector": torch.ones(4)},
        "which no LoRA of Stable Diffusion has": good | {"unet.conv_in.weight": torch.ones(4)},
        "text_encoder_2": good | {f"text_encoder_2.q_proj.{side}": t for side, t in pair.items()},
    }
    for reason, found in wrong.items():
        save_file(found, file)
        refused(folder, file, reason)


def test_files_that_are_no_adapters(folder, tmp_path):
    refused(folder, tmp_path / "nowhere.safetensors", "There is no adapter at")
    torch.save({}, tmp_path / "lora.bin")
    refused(folder, tmp_path / "lora.bin", "give --lora a .safetensors file")
    (tmp_path / "cut.safetensors").write_bytes(b"cut")
    refused(folder, tmp_path / "cut.safetensors", "cannot be read .*header")
    shutil.copy(folder / "unet/diffusion_pytorch_model.safetensors", tmp_path / "whole.safetensors")
    refused(folder, tmp_path / "whole.safetensors", "which no LoRA of Stable Diffusion has")


def test_a_prior_that_is_no_folder_takes_none():
    with pytest.raises(UserError, match="takes no adapter"):
        priors.with_adapter("exact", "lora.safetensors")
