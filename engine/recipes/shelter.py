"""What a process has one of, and a rule from a file may set for itself: random numbers, torch's and numpy's settings,
the environment, paths, warnings. Each rule gets its own, and whoever called it finds all as it was.

Flags are read and set by name. What a rule's file and its `start` set is in force whenever the rule is called; what is
set later ends with the call, so that a job that is resumed computes what it would have.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.modules import module as modules

Flag = tuple[Callable[[], Any], Callable[[Any], object]]
SMALL, ONE = 5e-324, 1.0  # the smallest double, which a processor may be told to take for 0
HANDLED = (signal.SIGINT, signal.SIGTERM)


def _attribute(place: Any, name: str) -> Flag:
    return lambda: getattr(place, name), lambda value: setattr(place, name, value)


def _list(values: Callable[[], list]) -> Flag:
    def put(before: list) -> None:
        values()[:] = before

    return lambda: list(values()), put


def _mapping(values: Any) -> Flag:
    def put(before: dict) -> None:
        for key in values.keys() - before.keys():
            del values[key]
        values.update({key: value for key, value in before.items() if values.get(key) is not value})

    return lambda: dict(values), put


def _autocast(device: str) -> dict[str, Flag]:
    return {
        f"autocast {device}": (
            lambda: torch.is_autocast_enabled(device),
            lambda v: torch.set_autocast_enabled(device, v),
        ),
        f"autocast dtype {device}": (
            lambda: torch.get_autocast_dtype(device),
            lambda v: torch.set_autocast_dtype(device, v),
        ),
    }


def _put_filters(before: list) -> None:
    warnings.filters[:] = before  # type: ignore[index]
    getattr(warnings, "_filters_mutated", lambda: None)()


def _put_numpy_errors(before: dict) -> None:
    np.seterr(**before)


def _handlers() -> Any:
    return [signal.getsignal(number) for number in HANDLED]


def _put_handlers(before: list) -> None:
    if threading.current_thread() is threading.main_thread():
        for number, handler in zip(HANDLED, before, strict=True):
            signal.signal(number, handler)


def _default_device() -> Any:
    context = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    return context and context.device


FLAGS: dict[str, Flag] = {
    "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "default device": (_default_device, torch.set_default_device),
    "threads": (torch.get_num_threads, torch.set_num_threads),
    "gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
    "anomalies": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "deterministic": (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    "fill": _attribute(torch.utils.deterministic, "fill_uninitialized_memory"),
    "denormals": (lambda: SMALL * ONE == 0, torch.set_flush_denormal),
    "matmul precision": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    **{f"matmul {n}": _attribute(torch.backends.cuda.matmul, n) for n in (
        "allow_tf32", "allow_fp16_reduced_precision_reduction", "allow_bf16_reduced_precision_reduction"
    )},
    **{f"cudnn {n}": _attribute(torch.backends.cudnn, n) for n in (
        "enabled", "benchmark", "deterministic", "allow_tf32"
    )},
    "mkldnn": _attribute(torch.backends.mkldnn, "enabled"),
    "flash": (torch.backends.cuda.flash_sdp_enabled, torch.backends.cuda.enable_flash_sdp),
    "efficient": (torch.backends.cuda.mem_efficient_sdp_enabled, torch.backends.cuda.enable_mem_efficient_sdp),
    "math": (torch.backends.cuda.math_sdp_enabled, torch.backends.cuda.enable_math_sdp),
    **_autocast("cpu"),
    **_autocast("cuda"),
    **{n: _mapping(v) for n, v in vars(modules).items() if n.startswith("_global_") and isinstance(v, dict)},
    "full backward hooks": _attribute(modules, "_global_is_full_backward_hook"),
    "numpy errors": (np.geterr, _put_numpy_errors),
    "warnings": (lambda: list(warnings.filters), _put_filters),
    "showing warnings": _attribute(warnings, "showwarning"),
    "sys.path": _list(lambda: sys.path),
    "sys.argv": _list(lambda: sys.argv),
    "stdout": _attribute(sys, "stdout"),
    "stderr": _attribute(sys, "stderr"),
    "hook of exceptions": _attribute(sys, "excepthook"),
    "recursion": (sys.getrecursionlimit, sys.setrecursionlimit),
    "environment": _mapping(os.environ),
    "folder": (os.getcwd, os.chdir),
    "signals": (_handlers, _put_handlers),
    "logging": _attribute(logging.root.manager, "disable"),
    "level": (lambda: logging.root.level, logging.root.setLevel),
    "handlers": _list(lambda: logging.root.handlers),
}  # fmt: skip


def flags() -> dict[str, Any]:
    """The value of every flag that can be read here."""
    values = {}
    for name, (read, _) in FLAGS.items():
        with contextlib.suppress(Exception):  # a part that this build of torch lacks, a folder that was deleted
            values[name] = read()
    return values


def put(values: dict[str, Any]) -> None:
    """Set the flags that are otherwise."""
    now = flags() if values else {}
    for name, value in values.items():
        if name not in now or now[name] != value:
            FLAGS[name][1](value)


def changed(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in after.items() if name not in before or before[name] != value}


class Numbers(NamedTuple):
    """Where the generators stand that all share: torch's, on the CPU and on a GPU in use, numpy's, Python's."""

    torch: torch.Tensor
    cuda: torch.Tensor | None
    numpy: tuple
    python: tuple

    @classmethod
    def now(cls) -> Numbers:
        cuda = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None
        return cls(torch.get_rng_state(), cuda, np.random.get_state(), random.getstate())  # type: ignore[arg-type]

    @classmethod
    def seeded(cls, seed: object) -> Numbers:
        """Where they start for a seed; they themselves stay where they are."""
        before, number = cls.now(), int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[:4], "big")
        torch.manual_seed(number)
        np.random.seed(number)
        random.seed(number)
        start = cls.now()
        before.put()
        return start

    def put(self) -> None:
        torch.set_rng_state(self.torch)
        if self.cuda is not None:
            torch.cuda.set_rng_state(self.cuda)
        np.random.set_state(self.numpy)
        random.setstate(self.python)

    def state_dict(self) -> dict[str, Any]:
        kind, keys, *rest = self.numpy
        version, words, gauss = self.python
        return {
            "torch": self.torch,
            "cuda": self.cuda,
            "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), *rest],
            "python": [version, torch.tensor(words), gauss],
        }

    @classmethod
    def of(cls, state: dict[str, Any]) -> Numbers:
        kind, keys, *rest = state["numpy"]
        version, words, gauss = state["python"]
        numpy = (kind, keys.numpy().astype(np.uint32), *rest)
        return cls(state["torch"], state["cuda"], numpy, (version, tuple(words.tolist()), gauss))


class Shelter:
    """One rule's own numbers and flags: `with shelter:` they are in force."""

    def __init__(self, numbers: Numbers, own: dict[str, Any]):
        self.numbers, self.own = numbers, own

    @contextlib.contextmanager
    def inside(self, keep: bool = False) -> Iterator[None]:
        """The rule's numbers and flags, and afterwards the caller's. `keep`: flags that are set here stay the rule's
        own."""
        flags_before, numbers_before = flags(), Numbers.now()
        put(self.own)
        self.numbers.put()
        try:
            yield
        finally:
            self.numbers = Numbers.now()
            if keep:
                self.own = changed(flags_before, flags())
            numbers_before.put()
            put(flags_before)
