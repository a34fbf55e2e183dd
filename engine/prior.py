"""Which prior a name means, and what identifies its weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from engine.weights import manifest as weights
from errors import UserError
from files import read_json
from names import EXACT, RANDOM
from priors import student
from priors.base import Prior
from suites.paper import PAPER
from suites.world import WORLD

PLUS = " + "  # between a folder and an adapter


@dataclass(frozen=True)
class Kind:
    """A kind of prior: `open(device, half)` makes it, `half` with its network in float16 on a GPU; `identity` is the
    checksum of what it is made of, or a name where that is nothing that could change."""

    open: Callable[[str, bool], Prior]
    identity: Callable[[], str]


def folder(name: str) -> Kind:
    """A folder in Stable Diffusion's format, or a file in its original layout, or one with an adapter."""
    from priors import stable_diffusion

    path, lora = parts_of(name)
    settings = fetched() if Path(path).is_file() else None

    def opened(device: str, half: bool) -> Prior:
        return stable_diffusion.load(path, device, _dtype(device, half), lora, settings)

    return Kind(opened, lambda: stable_diffusion.checksum(path, lora, settings))


def fetched() -> Path | None:
    """What a single file reads its settings from that has none beside it: fetch's own prior, where it is there."""
    return weights.located(PAPER.prior)


def settings_of(name: str) -> str:
    """The folder of a prior's settings. Raises UserError where a single file is no prior, or has none."""
    from priors import single_file

    path = parts_of(name)[0]
    return str(single_file.settings_of(single_file.checked(path), fetched())) if Path(path).is_file() else path


def with_adapter(prior: str, lora: str | None) -> str:
    """The name of a folder's prior with a LoRA. Raises UserError where the prior is no folder's."""
    if lora and prior in KINDS:
        raise UserError(f"The prior {prior} takes no adapter: give --lora with a folder or a file as --prior.")
    return f"{prior}{PLUS}{lora}" if lora else prior


def parts_of(name: str) -> tuple[str, str | None]:
    """A name's folder, and its adapter or None."""
    path, plus, lora = name.rpartition(PLUS)
    return (path, lora) if plus and not Path(name).exists() else (name, None)


def _random(device: str, half: bool) -> Prior:
    from priors import stable_diffusion

    return stable_diffusion.random_sd21(device, _dtype(device, half))


def _dtype(device: str, half: bool) -> torch.dtype:
    return torch.float16 if half and torch.device(device).type == "cuda" else torch.float32


def _exact(device: str, half: bool) -> Prior:
    import world

    return world.exact_prior(device)


KINDS: dict[str, Kind] = {  # whatever else a name is, it is a folder's or a file's
    RANDOM: Kind(_random, lambda: RANDOM),
    EXACT: Kind(_exact, lambda: f"exact {folder(str(WORLD.prior)).identity()}"),
}


def kind_of(name: str) -> Kind:
    return KINDS[name] if name in KINDS else folder(name)


@lru_cache(maxsize=1)
def open_prior(name: str, device: str = "cpu", half: bool = False) -> Prior:
    """A folder's prior, a file's, or one of KINDS; kept for the next job. `half`: its network in float16 on a GPU.

    Raises UserError where it is none."""
    return kind_of(name).open(device, half)


def forget() -> None:
    """Free what `open_prior` keeps, and what students do."""
    open_prior.cache_clear()
    student.network_of.cache_clear()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def identity(name: str) -> str:
    """What tells a prior from others. Raises UserError where the folder is none."""
    return kind_of(name).identity()


def variants(name: str) -> int:
    """How many variants of each object a folder's prior was trained on; 1 where it does not say."""
    views = Path(parts_of(name)[0]) / "views.json"
    found = read_json(views).get("variants", 1) if views.is_file() else 1
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise UserError(f"The file {views} says {found!r:.40} for its variants: a whole number above 0 is expected.")
    return found
