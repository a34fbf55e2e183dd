"""How a process of this machine starts: from one that has imported the libraries, so that many import them once.

The imports take 8 to 12 s of a core, a fork with our own modules 0.3 s. CUDA does not survive a fork: where there is a
GPU, and on systems that fork badly, each process imports for itself. What is forked from has the libraries and no more:
none of our modules, no threads, nothing of any job.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from errors import UserError

LIBRARIES = [  # what a prior's folder is read with, the kernels and the bars; a fork without one imports it
    "diffusers.models.autoencoders.autoencoder_kl",
    "diffusers.models.unets.unet_2d_condition",
    "diffusers.schedulers",
    "numba",
    "rich.progress",
    "transformers.models.clip.modeling_clip",
    "transformers.models.clip.tokenization_clip",
]


HANG_UP = (signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()  # a closed terminal's, to all: the first one answers


def started(target: Callable[..., object], arguments: tuple[Any, ...], threads: int) -> BaseProcess:
    """A process that calls `target(*arguments)`, with this one's variables and `environment`'s. Ctrl-C is for this one
    to answer. Raises UserError where there is too little memory for it."""
    forks = sys.platform == "linux" and not torch.cuda.is_available()
    context: Any = multiprocessing.get_context("forkserver" if forks else "spawn")
    with environment(threads):
        process = context.Process(target=_begin, args=(dict(os.environ), target, arguments))
        if forks:
            context.set_forkserver_preload(LIBRARIES)
            with _ignored(*HANG_UP, signal.SIGINT, signal.SIGTERM):  # it ends when this process and its forks have
                forkserver.ensure_running()
            try:
                process.start()  # the first waits for the imports
            except EOFError:
                raise UserError("No process could be started: there is too little memory.") from None
        else:
            with _ignored(*HANG_UP, signal.SIGINT):
                process.start()
    return process


def _begin(variables: dict[str, str], target: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.clear()  # a fork has those of when the first process started
    os.environ.update(variables)
    target(*arguments)


@contextlib.contextmanager
def _ignored(*numbers: signal.Signals) -> Iterator[None]:
    """What a process that is started now ignores, too."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def environment(threads: int) -> Iterator[None]:
    """What the children inherit of variables; this process has its own again afterwards."""
    theirs = variables(threads)
    before = {name: os.environ.get(name) for name in theirs}
    os.environ.update(theirs)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def variables(threads: int) -> dict[str, str]:
    """Of a process that does jobs."""
    return {
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "passive",  # processes share cores: waiting threads must not spin
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # cuBLAS is deterministic only so
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONSAFEPATH": "1",  # a folder of a library's name, where the command is given, is not the library
    }
