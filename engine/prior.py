"""Which prior a name means, and what identifies its weights."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch

from files import read_json
from names import EXACT, RANDOM
from priors import student
from priors.base import Prior
from suites.world import WORLD


@lru_cache(maxsize=1)
def open_prior(name: str, device: str = "cpu", half: bool = False) -> Prior:
    """A folder's prior, or one of `names.PRIORS`; kept for the next job. `half`: its network in float16 on a GPU."""
    from priors import stable_diffusion

    dtype = torch.float16 if half and torch.device(device).type == "cuda" else torch.float32
    if name == RANDOM:
        return stable_diffusion.random_sd21(device, dtype)
    if name == EXACT:
        import world

        return world.exact_prior(device)
    return stable_diffusion.load(name, device, dtype)


def forget() -> None:
    """Free what `open_prior` keeps, and what students do."""
    open_prior.cache_clear()
    student.network_of.cache_clear()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def identity(name: str) -> str:
    """The checksum of the weights that a prior is made of; the name of one that has none."""
    from priors import stable_diffusion

    if name == RANDOM:
        return RANDOM
    return f"exact {stable_diffusion.checksum(WORLD.prior)}" if name == EXACT else stable_diffusion.checksum(name)


def variants(name: str) -> int:
    """How many variants of each object a folder's prior was trained on; 1 where it does not say."""
    views = Path(name) / "views.json"
    return read_json(views).get("variants", 1) if views.is_file() else 1
