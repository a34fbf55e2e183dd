"""A prior's folder as one file of the original layout: the names of its tensors, written backwards."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel

from tests.priors.folders import save

RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection",
}  # fmt: skip
UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip
ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
OPEN_CLIP = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.": "ln_final.", "encoder.layers.": "transformer.resblocks.", "layer_norm": "ln_",
    "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj", "self_attn.out_proj": "attn.out_proj",
}  # fmt: skip


def write(folder: Path, file: Path, open_clip: bool = False, **more: torch.Tensor) -> Path:
    """The weights of a folder in one file, with more tensors beside them."""
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    vae = AutoencoderKL.from_pretrained(folder / "vae")
    text = CLIPTextModel.from_pretrained(folder / "text_encoder").state_dict()
    per, levels = unet.config.layers_per_block + 1, len(vae.config.block_out_channels)
    names = {name: of_unet(name, per) for name in unet.state_dict()}
    attended = {".".join(name.split(".")[:2]) for name in names.values() if re.match(r"output_blocks\.\d+\.1\.", name)}
    found = {}
    for name, tensor in unet.state_dict().items():
        block, _, rest = names[name].partition(".UP.")  # an upsampler follows the attention, where there is one
        place = f"{block}.{2 if block in attended else 1}.{rest}" if rest else block
        found[f"model.diffusion_model.{place}"] = tensor
    for name, tensor in vae.state_dict().items():
        conv = "mid_block.attentions" in name and tensor.ndim == 2  # linear layers were convolutions
        found[f"first_stage_model.{of_vae(name, levels)}"] = tensor[:, :, None, None] if conv else tensor
    text = {name.removeprefix("text_model."): tensor for name, tensor in text.items()}
    found |= of_open_clip(text) if open_clip else {
        f"cond_stage_model.transformer.text_model.{name}": tensor for name, tensor in text.items()
    }  # fmt: skip
    save({name: tensor.contiguous() for name, tensor in (found | more).items()}, file)
    return file


def of_unet(name: str, per: int) -> str:
    """`per` blocks of the original make one of diffusers'."""
    for end, original in UNET_ENDS.items():
        if name.startswith(f"{end}."):
            return original + name.removeprefix(end)
    if match := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)", name):
        kind, k, rest = match.groups()
        return f"middle_block.{2 * int(k) if kind == 'resnets' else 1}.{within(kind, rest)}"
    way, block, kind, k, rest = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)", name).groups()
    if kind == "downsamplers":
        return f"input_blocks.{(int(block) + 1) * per}.0.op.{rest.removeprefix('conv.')}"
    if kind == "upsamplers":
        return f"output_blocks.{(int(block) + 1) * per - 1}.UP.{rest}"
    first = 1 + int(block) * per if way == "down" else int(block) * per
    side = "input" if way == "down" else "output"
    return f"{side}_blocks.{first + int(k)}.{int(kind == 'attentions')}.{within(kind, rest)}"


def within(kind: str, rest: str) -> str:
    part, _, end = rest.partition(".")
    return f"{RESNET.get(part, part)}.{end}" if kind == "resnets" else rest


def of_vae(name: str, levels: int) -> str:
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block.", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample.", name)
    name = re.sub(r"up_blocks\.(\d+)\.resnets\.", lambda m: f"up.{levels - 1 - int(m[1])}.block.", name)
    name = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0\.", lambda m: f"up.{levels - 1 - int(m[1])}.upsample.", name)
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    if "mid_block.attentions.0." in name:
        for new, old in ATTENTION.items():
            name = name.replace(f".{new}.", f".{old}.")
    return name.replace("mid_block.attentions.0.", "mid.attn_1.")


def of_open_clip(text: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As Stable Diffusion 2 has it: one tensor for q, k and v."""
    found, split = {}, re.compile(r"(.+)self_attn\.q_proj\.(weight|bias)")
    for name, tensor in text.items():
        if match := split.fullmatch(name):
            kinds = [text[f"{match[1]}self_attn.{kind}_proj.{match[2]}"] for kind in "qkv"]
            name, tensor = f"{match[1]}attn.in_proj_{match[2]}", torch.cat(kinds)
        elif re.search(r"self_attn\.[kv]_proj", name):
            continue
        for new, old in OPEN_CLIP.items():
            name = name.replace(new, old)
        found[f"cond_stage_model.model.{name}"] = tensor
    return found
