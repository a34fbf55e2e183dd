"""The machine: its devices, how many processes fit on it, the peak memory of a job, and the commit that runs."""

from __future__ import annotations

import os
import platform
import subprocess
import threading
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType

import psutil
import torch

from engine.weights import manifest as weights
from errors import UserError
from files import ROOT

GIGABYTES_A_JOB = 1.5  # torch, diffusers, a scene and the world's models in one process
INTERVAL = 0.1  # seconds between two looks at the process


class Peak:
    """A context that watches memory; `bytes` is the largest seen so far."""

    def __init__(self, device: str):
        self.cuda = torch.device(device).type == "cuda"
        self.kind = "CUDA peak" if self.cuda else "process peak"
        self.device = torch.cuda.get_device_name(device) if self.cuda else platform.processor() or platform.machine()
        self._device, self._process, self._seen = device, psutil.Process(), 0
        self._end = threading.Event()

    @property
    def bytes(self) -> int:
        if self.cuda:
            return torch.cuda.max_memory_allocated(self._device)
        self._seen = max(self._seen, self._process.memory_info().rss)
        return self._seen

    def __enter__(self) -> Peak:
        if self.cuda:
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end.set()

    def _watch(self) -> None:
        while not self._end.wait(INTERVAL):
            self.bytes  # noqa: B018 - looking is what counts


def device_of(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"There is no device {name!r}: use auto, cpu or cuda.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError("There is no CUDA device here: use --device cpu.")
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"The device {name!r} is not supported: use auto, cpu or cuda.")
    return str(device)


def slots_of(jobs: str, device: str, missing: int, folders: Iterable[str | None] = ()) -> int:
    """Processes: `auto` is one a core (as far as memory goes) on a CPU, where each has one thread; one on a GPU.
    `folders` hold the weights that each of them reads."""
    if jobs != "auto":
        if not jobs.isdecimal() or int(jobs) < 1:
            raise UserError(f"--jobs takes a number of processes or auto, not {jobs!r}.")
        return min(int(jobs), max(missing, 1))
    if device != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    room = int(psutil.virtual_memory().available / 2**30 / (GIGABYTES_A_JOB + gigabytes(folders)))
    return max(min(cores, room, missing), 1)


def gigabytes(folders: Iterable[str | None]) -> float:
    """Of the weights in folders, in single precision, as a CPU has them."""
    files = [file for folder in folders if folder for file in Path(folder).rglob("*.safetensors")]
    return sum(file.stat().st_size * (2 if weights.HALF in file.name else 1) for file in files) / 2**30


def commit() -> str | None:
    """The commit of the checkout, with a + where files differ from it; None outside of git."""
    try:
        result = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty=+"],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
    except OSError:
        return None
    return result.stdout.strip() or None


def version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
