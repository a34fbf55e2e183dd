"""Published archives of tensors to safetensors, the only format that this project reads weights from.

Nothing in an archive is called: torch's pickles are read as tensors alone, and a TorchScript archive gives its state.
"""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from errors import UserError, first_line

SIZES = ("input_resolution", "context_length", "vocab_size")  # numbers that OpenAI's archives keep among the tensors


def to_safetensors(archive: Path, file: Path) -> None:
    """Write the tensors of an archive under their own names; floating ones in single precision.

    Raises UserError where the archive is damaged, or holds more than tensors."""
    try:
        tensors = _scripted(archive) if _is_script(archive) else torch.load(archive, "cpu", weights_only=True)
        state = {name: _alone(t) for name, t in tensors.items() if name.split(".")[-1] not in SIZES}
    except Exception as error:  # torch has a dozen for a damaged archive
        reason = first_line(error)
        raise UserError(f"{archive} is no archive of tensors ({reason}): delete it and fetch again.") from error
    new = file.with_name(f"{file.name}.new")
    save_file(state, new, metadata={"format": "pt"})
    new.replace(file)


def _alone(tensor: Tensor) -> Tensor:
    """With memory of its own, as safetensors wants it."""
    return tensor.detach().to(torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True).contiguous()


def _is_script(archive: Path) -> bool:
    if not zipfile.is_zipfile(archive):
        return False
    with zipfile.ZipFile(archive) as inside:
        return any(name.endswith("/constants.pkl") for name in inside.namelist())


def _scripted(archive: Path) -> dict[str, Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # TorchScript is deprecated; OpenAI's file is made of it
        return torch.jit.load(archive, map_location="cpu").state_dict()
