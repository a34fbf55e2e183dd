"""Judges, each loaded once: an option that names one is refused before any work, and what was loaded then scores."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import torch

KEPT = 4  # judges of a suite


class Moves(Protocol):
    """A judge that can go to another device."""

    def on(self, device: torch.device | str) -> Self: ...


Judge = TypeVar("Judge", bound=Moves)


def opened(load: Callable[[Any], Judge], name: Path | str, at: Path, device: torch.device | str = "cpu") -> Judge:
    """What `load` makes of a name, on a device; kept while the files `at` the place stay as they are, in size, in time
    and by number. It is the same network each time: where it is asked for on another device, it goes there."""
    inside = sorted(at.iterdir()) if at.is_dir() else [at] if at.exists() else []
    stamps = tuple((str(f), s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for f in inside for s in [os.stat(f)])
    return _loaded(load, name, stamps).on(device)


@lru_cache(maxsize=KEPT)
def _loaded(load: Callable[[Any], Judge], name: Path | str, stamps: tuple[tuple[Any, ...], ...]) -> Judge:
    return load(name)
