"""How the GPU kernels of `scene` are declared and launched. Importing this needs Triton."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
import triton


def kernel(function: Callable) -> Any:
    """A function for Triton to compile; a type checker may have wrapped it."""
    return triton.jit(inspect.unwrap(function))


def blocks(count: int, size: int) -> int:
    """How many blocks of a size hold as many."""
    return -(-count // size)


def launch(function: Any, grid: tuple[int, ...], first: torch.Tensor, *args: Any, **names: Any) -> None:
    """Run a kernel on the device of its first argument, with its products rounded before they are added, as torch's
    are; nothing where the grid is empty."""
    if all(grid):
        with torch.cuda.device_of(first):
            function[grid](first, *args, **names, enable_fp_fusion=False)
