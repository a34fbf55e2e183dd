"""An adapter of low rank (LoRA, 2106.09685) added to a prior's weights: W + (alpha / r) B A, once, where it is read.

Files are diffusers' or peft's: `unet.MODULE.lora_A.weight` and `.lora_B.weight`, `text_encoder.` likewise, without a
part the U-Net's; older spellings (kohya's too) are renamed by diffusers. alpha is said in the file's metadata, beside
it in adapter_config.json, or in tensors `.alpha`; it is r where nothing says it. peft does not merge it: it would leave
out what it does not know, and reaches a text encoder by way of transformers, which wants a newer peft than diffusers.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from errors import UserError, first_line, is_out_of_memory
from files import digest_once, read_json

KEY = re.compile(r"(?P<module>.+)\.(?:lora_(?P<side>[AB])(?:\.default)?\.weight|(?P<alpha>alpha))")
SETTINGS = "adapter_config.json"
PARTS = ("unet", "text_encoder")
WRAPPED = ("base_model.model.", "text_model.")  # in front of a module's name: peft's, and older transformers'


def merge(file: str | Path, unet: Any, text_encoder: Any) -> None:
    """Add a file's adapter to the networks it is for. Raises UserError, and adds nothing, where any of it is not
    understood or does not fit."""
    checksum(file)  # which says where there is none
    try:
        factors, said = _read(Path(file))
    except UserError:
        raise
    except Exception as error:  # safetensors' own, and diffusers' for names that it cannot translate
        if is_out_of_memory(error):
            raise
        raise UserError(f"The adapter {file} cannot be read ({first_line(error)}): take one of diffusers.") from error
    networks = {"unet": dict(unet.named_modules()), "text_encoder": dict(text_encoder.named_modules())}
    sums = [_added(file, networks[part], part, module, found, said) for (part, module), found in factors.items()]
    if not sums:
        raise UserError(f"There is no adapter in {file}: it has no lora_A and lora_B.")
    for weight, more in sums:
        weight.data.add_(more.to(weight))


def checksum(file: str | Path) -> str:
    """sha256, as hex, of what an adapter is read from: its file, and the settings beside it. Raises UserError where
    there is none."""
    file = Path(file)
    if file.suffix != ".safetensors" or not file.is_file():
        raise UserError(f"There is no adapter at {file}: give --lora a .safetensors file.")
    return digest_once([file, *file.parent.glob(SETTINGS)], within=file.parent)


def _read(file: Path) -> tuple[dict[tuple[str, str], dict[str, Tensor]], dict[str, Any]]:
    """A, B and alpha by part and module, and what is said of all of them."""
    from diffusers.loaders import StableDiffusionLoraLoaderMixin

    with safe_open(file, "pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        said = _said(file, opened.metadata() or {})
    for name in tensors:
        if re.search("dora_scale|magnitude|hada_|lokr_|lora_bias", name):
            raise UserError(f"The adapter {file} is no plain LoRA ({name}): merge it into the prior's folder.")
    state, alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(tensors)
    state |= {name: torch.tensor(value) for name, value in (alphas or {}).items()}
    by_part: dict[str, dict[str, Tensor]] = {part: {} for part in PARTS}
    for name, tensor in state.items():
        part, _, rest = name.removeprefix(WRAPPED[0]).partition(".")
        by_part[part if part in by_part else PARTS[0]][rest if part in by_part else name] = tensor
    factors: dict[tuple[str, str], dict[str, Tensor]] = {}
    for part, found in by_part.items():
        for name, tensor in found.items():
            if not (match := KEY.fullmatch(_todays(name))):
                raise UserError(f"The adapter {file} holds {part}.{name}, which no LoRA of Stable Diffusion has.")
            if match["side"] and not tensor.is_floating_point():
                raise UserError(
                    f"The adapter {file} is quantised ({part}.{name} is {tensor.dtype}): take one that is not."
                )
            module = match["module"].removeprefix(WRAPPED[0])
            factors.setdefault((part, module), {})[match["side"] or "alpha"] = tensor.float()
    return factors, said


def _todays(name: str) -> str:
    """A tensor's name in place of diffusers' older ones (`to_q.lora.down.weight`, `processor.to_q_lora.up.weight`)."""
    name = re.sub(r"(?:_lora|\.lora|\.lora_linear_layer)\.(down|up)\.weight$", r".lora_\1.weight", name)
    name = name.replace(".lora_down.", ".lora_A.").replace(".lora_up.", ".lora_B.").replace(".processor.", ".")
    name = re.sub(r"(?:_lora|\.lora|\.lora_linear_layer)?(?:\.down)?(?:\.weight)?\.alpha$", ".alpha", name)
    name = re.sub(r"self_attn\.to_([qkv])\.", r"self_attn.\1_proj.", name).replace(
        "self_attn.to_out.", "self_attn.out_proj."
    )
    return re.sub(r"\.to_out\.(lora_[AB]|alpha)", r".to_out.0.\1", name)


def _said(file: Path, metadata: dict[str, str]) -> dict[str, Any]:
    """peft's settings, by part, or for all where nothing says the part."""
    inside = json.loads(metadata.get("lora_adapter_metadata") or "{}")
    beside = file.with_name(SETTINGS)
    return inside or (read_json(beside) if beside.is_file() else {})


def _added(
    file: str | Path,
    modules: dict[str, nn.Module],
    part: str,
    name: str,
    found: dict[str, Tensor],
    said: dict[str, Any],
) -> tuple[Tensor, Tensor]:
    """A module's weight, and what is added to it. Raises UserError where they do not fit."""
    plain = name.removeprefix(WRAPPED[1])
    module = modules.get(name) or modules.get(plain) or modules.get(WRAPPED[1] + name)
    weight = getattr(module, "weight", None)
    if not {"A", "B"} <= found.keys() or weight is None:
        lacks = "has no such module" if weight is None else "has but one of lora_A and lora_B"
        raise UserError(f"The adapter {file} is for another model: for its {part}.{name} the prior {lacks}.")
    a, b = found["A"], found["B"]
    more = b.flatten(1) @ a.flatten(1) if b.shape[1] == a.shape[0] else torch.empty(0)
    if more.numel() != weight.numel() or len(b) != len(weight) or not more.isfinite().all():
        numbers = a.isfinite().all() and b.isfinite().all()
        cause = (
            f"{tuple(b.shape)} times {tuple(a.shape)} does not fit {tuple(weight.shape)}"
            if numbers
            else "it is not finite"
        )
        raise UserError(f"The adapter {file} is for another model, or damaged: at {part}.{name} {cause}.")
    return weight, _scale(found, said, part, name) * more.reshape(weight.shape)


def _scale(found: dict[str, Tensor], said: dict[str, Any], part: str, name: str) -> float:
    """alpha / r, or alpha / sqrt(r) where peft was told so (2312.03732)."""
    rank = len(found["A"])
    if "alpha" in found:
        return float(found["alpha"]) / rank
    told = {key: said.get(f"{part}.{key}", said.get(key)) for key in ("lora_alpha", "alpha_pattern", "use_rslora")}
    own = [alpha for key, alpha in (told["alpha_pattern"] or {}).items() if re.fullmatch(rf"(.*\.)?({key})", name)]
    alpha = (own or [told["lora_alpha"] or rank])[0]
    return alpha / rank**0.5 if told["use_rslora"] else alpha / rank
