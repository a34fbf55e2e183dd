"""How the CPU kernels of `scene` are compiled and run: by Numba, on threads of Python.

Kernels run without Python's lock, so that its threads run them side by side; Numba's own are unsafe after a fork or
when called from two threads. What a thread does never depends on how many there are: so results do not either.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

config: Any = numba.config
if not config.CACHE_DIR:  # compiled once a machine; the checkout may be read-only
    config.CACHE_DIR = str(Path.home() / ".cache" / "score-distillation" / "kernels")


def compiled(function: Callable | None = None, *, fused: bool = False) -> Callable:
    """Compile a function for numbers and arrays at its first call, and keep it between runs. `fused` lets sums be
    reordered and multiplications joined with additions, the same way at every call."""
    if function is None:
        return functools.partial(compiled, fused=fused)
    plain = inspect.unwrap(function)  # a type checker may have wrapped it
    return numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"} if fused else False)(plain)


def serves(*tensors: Tensor) -> bool:
    """Whether kernels can: float32 on a CPU."""
    return all(v.device.type == "cpu" and v.dtype == torch.float32 for v in tensors)


def array(v: Tensor) -> np.ndarray:
    """The tensor's numbers in place, or a copy of them where they are not in order."""
    return v.detach().contiguous().numpy()


def spread(task: Callable[[int], None], over: range) -> None:
    """Do a task for each number, on as many threads as torch has."""
    threads = min(torch.get_num_threads(), len(over))
    if threads <= 1:
        for k in over:
            task(k)
    else:
        list(_pool(os.getpid(), threads).map(task, over))


@functools.cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Of one process: a fork does not inherit threads."""
    return ThreadPoolExecutor(threads, "kernels")
