"""How the kernels of `scene` are compiled and run: on a CPU by Numba, on threads of Python; on a GPU by Triton.

Numba's run without Python's lock, so that its threads run them side by side; Numba's own are unsafe after a fork or
when called from two threads. What a thread does never depends on how many there are: so results do not either.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import math
import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from errors import first_line, is_out_of_memory

NUMBA = find_spec("numba") is not None  # a machine whose GPU is measured may lack it: plain torch serves on its CPU
if NUMBA:
    import numba

    config: Any = numba.config
    if not config.CACHE_DIR:  # compiled once a machine; the checkout may be read-only
        config.CACHE_DIR = str(Path.home() / ".cache" / "score-distillation" / "kernels")


def compiled(function: Callable | None = None, *, fused: bool = False) -> Callable:
    """Compile a function for numbers and arrays at its first call, and keep it between runs. `fused` lets sums be
    reordered and multiplications joined with additions, the same way at every call. One that others call is put into
    them whole: of several copies, which one a call reaches would depend on whether they were read from the cache."""
    if function is None:
        return functools.partial(compiled, fused=fused)
    if not NUMBA:
        return _absent
    plain = inspect.unwrap(function)  # a type checker may have wrapped it
    math = {"contract", "reassoc", "nsz"} if fused else False
    return numba.njit(cache=True, nogil=True, forceinline=True, fastmath=math)(plain)


def _absent(*_: Any) -> Any:
    raise ModuleNotFoundError("No module named 'numba'", name="numba")


PROBED, NEAR = 1000, 1e-4  # points of a probe, and what of the largest number a kernel may be from its twin

_forced: bool | None = None


@contextlib.contextmanager
def forced(kernels: bool) -> Iterator[None]:
    """The kernels, probed or not, or their twins in plain torch in place of them: to compare the two."""
    global _forced
    before, _forced = _forced, kernels
    try:
        yield
    finally:
        _forced = before


def plain() -> contextlib.AbstractContextManager[None]:
    """The twins in plain torch in place of the kernels."""
    return forced(False)


def serves(kernel: str, *tensors: Tensor) -> bool:
    """Whether a kernel, by its name in `scene.probes`, can: float32 on a CPU with Numba, or on a GPU where Triton's is
    its twin's equal."""
    device = tensors[0].device
    if not all(v.dtype == torch.float32 and v.device == device for v in tensors):
        return False
    if _forced is not None:
        return _forced
    if device.type == "cpu":
        return NUMBA
    return device.type == "cuda" and triton_works(device) and proven(kernel, device)


def on_gpu(v: Tensor) -> bool:
    """Whether a tensor that kernels serve is Triton's: on a GPU, or anywhere where TRITON_INTERPRET=1 has its kernels
    interpreted, which is how they are tested without a GPU."""
    return v.is_cuda or os.environ.get("TRITON_INTERPRET") == "1"


def module_of(name: str) -> ModuleType:
    """A module of kernels, imported where it is used: Triton is not on every machine, nor is Numba."""
    return importlib.import_module(f"scene.kernels.{name}")


def prove_all(device: str) -> None:
    """Probe every kernel on a device now, rather than in a job's first steps. On a CPU there is nothing to prove."""
    place = torch.device(device)
    if place.type == "cuda" and triton_works(place):
        for kernel in _probes().PROBES:
            proven(kernel, place)


@functools.cache
def proven(kernel: str, device: torch.device) -> bool:
    """Whether a kernel compiles for the device and gives its twin's numbers, forward and backward: compilers have
    turned out wrong products for one generation of GPUs and not for others. Warns once where it does not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the twins' sums are not deterministic on a GPU, and need not be
            found = dict(_probes().errors(kernel, device, PROBED))
        what, error = max(found.items(), key=lambda pair: math.inf if math.isnan(pair[1]) else pair[1])
        if not error <= NEAR:
            raise RuntimeError(f"its {what} are {error:.0e} from plain torch's")
        return True
    except Exception as error:  # each of compiler, driver and loader has its own types
        if is_out_of_memory(error):
            raise
        warnings.warn(
            f"The kernel for {kernel} cannot serve on {device} ({first_line(error)}): plain torch does, slower.",
            stacklevel=2,
        )
        return False


def _probes() -> ModuleType:
    """Imported where it is used: it calls the kernels."""
    return importlib.import_module("scene.probes")


@functools.cache
def triton_works(device: torch.device) -> bool:
    """Whether Triton is here and compiles for the device: it needs a C compiler. Warns once where it does not."""
    try:
        if torch.version.hip or torch.cuda.get_device_capability(device) < (8, 0):
            raise RuntimeError("an NVIDIA GPU of the Ampere generation or later is needed")
        rays = module_of("rays_triton")
        value = torch.ones(3, 1, device=device)
        return rays.total(value, torch.tensor([0, 1, 1], device=device), 2).tolist() == [[1.0], [2.0]]
    except Exception as error:  # each of compiler, driver and loader has its own types
        warnings.warn(f"Triton cannot serve on {device} ({first_line(error)}): plain torch does, slower.", stacklevel=2)
        return False


def array(v: Tensor) -> np.ndarray:
    """The tensor's numbers in place, or a copy of them where they are not in order."""
    return v.detach().contiguous().numpy()


def in_place(v: Tensor) -> np.ndarray:
    """The tensor's numbers in whatever order they lie."""
    return v.detach().numpy()


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
