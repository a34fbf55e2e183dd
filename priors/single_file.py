"""A Stable Diffusion checkpoint in one file of its original layout, as the first releases and most fine-tunings are:

    model.diffusion_model.*    first_stage_model.*    cond_stage_model.*

Names are translated by diffusers' own converter. A file has no tokenizer, no noise schedule and no widths of attention
heads: these settings are read from a folder in diffusers' format, whose own weights, where it has any, are not.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from errors import UserError, first_line, is_out_of_memory
from files import digest_once
from priors import folder as folders

SUFFIX = ".safetensors"
PICKLED = (".ckpt", ".pt", ".pth", ".bin")
PREFIXES = {"unet": "model.diffusion_model.", "vae": "first_stage_model.", "text_encoder": "cond_stage_model."}
CLIP, OPEN_CLIP = "cond_stage_model.transformer.", "cond_stage_model.model."  # of Stable Diffusion 1, and of 2
NOISE = "alphas_cumprod"  # abar as the model was trained, which many files keep
STRANGERS = {  # what names of tensors tell of other models
    "conditioner.embedders.": "Stable Diffusion XL",
    "model.diffusion_model.joint_blocks.": "Stable Diffusion 3",
    "model.diffusion_model.double_blocks.": "Flux",
    "control_model.": "ControlNet",
}
SETTINGS = (*(f"{part}/config.json" for part in PREFIXES), "tokenizer", "scheduler/scheduler_config.json")
CLOSE = 0.01  # of abar, which may be kept in half precision


def is_single(path: str | Path) -> bool:
    return Path(path).is_file()


def checked(path: str | Path) -> Path:
    """The file. Raises UserError where it is no such checkpoint, by the names of its tensors."""
    file = Path(path)
    if file.suffix in PICKLED:
        raise UserError(f"The prior {path} is a pickle, which can run code: convert it to {SUFFIX} and give that.")
    folders.refuse_quantised([file])
    with safe_open(file, "pt") as opened:
        names = list(opened.keys())
    for stranger, model in STRANGERS.items():
        if _some(names, stranger):
            raise UserError(f"The prior {path} is of {model}: a prior is a Stable Diffusion 1 or 2.")
    lora = next((name for name in names if "lora" in name), None)
    if lora and not _some(names, PREFIXES["unet"]):
        raise UserError(f"The prior {path} is an adapter ({lora}): give it as --lora, beside the prior it is for.")
    if lora:
        raise UserError(f"The prior {path} holds an adapter that is not merged ({lora}): merge it into the weights.")
    if missing := [prefix for prefix in PREFIXES.values() if not _some(names, prefix)]:
        near = next((f for f in file.absolute().parents[:2] if not folders.missing(f)), None)
        meant = f"did you mean {near}?" if near else "give a whole checkpoint, or a folder in diffusers' format."
        raise UserError(
            f"The prior {path} is no Stable Diffusion in its original layout: it has no {missing[0]}*; {meant}"
        )
    return file


def settings_of(file: Path, fallback: Path | None = None) -> Path:
    """The folder that a file's settings are read from: one beside it by its name without the suffix, the one it lies
    in, or the fallback. Raises UserError where none has them all."""
    near = [file.with_suffix(""), file.absolute().parent]
    lacks = {folder: [name for name in SETTINGS if not (folder / name).exists()] for folder in near}
    if fallback:
        lacks[fallback] = []
    if found := next((folder for folder, missing in lacks.items() if not missing), None):
        return found
    fewest = min(lacks.values(), key=lambda missing: len(missing))
    raise UserError(
        f"The prior {file} is one file, which does not say its settings: put {', '.join(fewest)} "
        f"of its model (those of diffusers' folder) into {near[0]}, or fetch sd21-base, if it is one of 2.1-base."
    )


def checksum(path: str | Path, fallback: Path | None = None) -> str:
    """sha256, as hex, over the file, and the settings that it is read with."""
    file = checked(path)
    folder = settings_of(file, fallback)
    settings = [f for part in folders.PARTS for f in (folder / part).iterdir() if folders.is_read(f)]
    return digest_once(settings, within=folder, name=digest_once([file]))


def tensors(file: Path) -> dict[str, Tensor]:
    """Those that a prior is made of, by the file's names, and its abar."""
    with safe_open(file, "pt") as opened:
        names = [n for n in opened.keys() if n.startswith((*PREFIXES.values(), NOISE))]  # noqa: SIM118
        return {name: opened.get_tensor(name) for name in names}


def built(model: Any, folder: Path, file: Path, found: dict[str, Tensor]) -> Any:
    """A part as its settings in `folder` say, with the file's weights. Raises UserError where these are not its."""
    part = folder.name
    with folders.without_marks(folder) as read:
        if part == "text_encoder":
            empty = model(model.config_class.from_pretrained(read, local_files_only=True))
        else:
            empty = model.from_config(model.load_config(read, local_files_only=True))
    own = {name: tensor for name, tensor in found.items() if name.startswith(PREFIXES[part])}
    try:
        state = _converted(empty, part, own)
    except Exception as error:  # the converter looks for names that it expects
        if is_out_of_memory(error):
            raise
        raise UserError(_unfit(file, part, folder, f"fails to convert ({first_line(error)})")) from error
    said = folders.amiss(folders.compared(empty.state_dict(), state))
    if not said and (lost := _unread(own, state, part)):
        said = f"hold what the model does not know: {folders.counted(lost)}"
    if said:
        raise UserError(_unfit(file, part, folder, f"does not fit them: its tensors {said}"))
    empty.load_state_dict(state, strict=False)  # position_ids may be there, or not
    return empty


def refuse_other_noise(file: Path, found: dict[str, Tensor], abar: Tensor, folder: Path) -> None:
    """Raise UserError where a file keeps an abar that its settings do not have."""
    kept = found.get(NOISE)
    if kept is None:
        return
    if kept.shape != abar.shape or not torch.allclose(kept.double(), abar.double(), rtol=CLOSE, atol=1e-4):
        raise UserError(f"The prior {file} was trained with other noise ({NOISE}) than {folder}/scheduler has.")


def _converted(empty: Any, part: str, own: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names that the model has."""
    from diffusers.loaders import single_file_utils as diffusers

    if part == "unet":
        return diffusers.convert_ldm_unet_checkpoint(own, empty.config)
    if part == "vae":
        return diffusers.convert_ldm_vae_checkpoint(own, empty.config)
    if _some(own, OPEN_CLIP):
        state = diffusers.convert_open_clip_checkpoint(empty, own, prefix=OPEN_CLIP)
    else:
        state = diffusers.convert_ldm_clip_checkpoint(own)
    wrapped = "" if any(name.startswith("text_model.") for name in empty.state_dict()) else "text_model."
    return {name.removeprefix(wrapped): tensor for name, tensor in state.items()}


def _unread(own: dict[str, Tensor], state: dict[str, Tensor], part: str) -> list[str]:
    """Names that the converter passed over: it translates the rest without a copy. A text encoder's last block and its
    projection are passed over on purpose, where Stable Diffusion 2 reads the last but one."""
    if part == "text_encoder":
        return []
    read = {tensor.data_ptr() for tensor in state.values()}
    return [name for name, tensor in own.items() if tensor.data_ptr() not in read]


def _unfit(file: Path, part: str, folder: Path, said: str) -> str:
    return (
        f"The prior {file} is not of the model whose settings are in {folder.parent}: its {part} {said}; put those of "
        f"its own model into {file.with_suffix('')}."
    )


def _some(names: Iterable[str], prefix: str) -> bool:
    return any(name.startswith(prefix) for name in names)
