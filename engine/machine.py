"""The machine: its devices, how many processes fit on it, the peak memory of a job, and the commit that runs."""

from __future__ import annotations

import os
import platform
import subprocess
import threading
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import ClassVar

import torch

from engine.weights import manifest as weights
from errors import UserError
from files import ROOT

GIGABYTES_A_JOB = 2.5  # at most, beside the weights: 1.6 to 2.5 of the paper's suite in small, 0.8 of the world's
DEVICES = "auto, cpu, cuda, or some of its devices as in cuda:0,cuda:3"
INTERVAL = 0.1  # seconds between two looks at the process


class Peak:
    """A context that watches memory; `bytes` is the largest seen so far. Where several are open in the process, what
    each sees is of them all: `scenes` is how many there were at most, and `kind` says so. `scenes` before: of the part
    of a job that was done earlier."""

    opened: ClassVar[set[Peak]] = set()

    def __init__(self, device: str, scenes: int = 1):
        self.cuda = torch.device(device).type == "cuda"
        self.device = torch.cuda.get_device_name(device) if self.cuda else platform.processor() or platform.machine()
        self.scenes = scenes
        self._device, self._seen = device, 0
        self._end = threading.Event()

    @property
    def kind(self) -> str:
        return ("CUDA peak" if self.cuda else "process peak") + (f", {self.scenes} scenes" if self.scenes > 1 else "")

    @property
    def bytes(self) -> int:
        if self.cuda:
            return torch.cuda.max_memory_allocated(self._device)
        self._seen = max(self._seen, resident())
        return self._seen

    def __enter__(self) -> Peak:
        if not self.cuda:
            threading.Thread(target=self._watch, daemon=True).start()
        elif not self.opened:
            torch.cuda.reset_peak_memory_stats(self._device)  # it is one for the process: others' would be lost
        self.opened.add(self)
        for peak in self.opened:
            peak.scenes = max(peak.scenes, len(self.opened))
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.opened.discard(self)
        self._end.set()

    def _watch(self) -> None:
        while not self._end.wait(INTERVAL):
            self.bytes  # noqa: B018 - looking is what counts


def resident() -> int:
    """Bytes that the process has in memory; where psutil is not installed, the most that it had."""
    try:
        import psutil
    except ModuleNotFoundError:  # a machine whose GPU is measured may lack it
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return psutil.Process().memory_info().rss


def be_deterministic() -> None:
    """As jobs compute: by deterministic operators, where torch has them; it warns where not."""
    torch.set_deterministic_debug_mode("warn")  # the other way to say it imports a second of compilers
    # every torch.empty would be filled; nothing reads it unwritten, so that the bits are the same without
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def devices_of(name: str) -> list[str]:
    """The devices that jobs go to by turns: of `auto` and `cuda` all GPUs that there are, of `cuda:0,cuda:3` those; or
    the CPU, alone. Raises UserError for what is not here."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    found = [device for part in name.split(",") for device in _devices(part.strip())]
    if len(set(found)) < len(found) or ("cpu" in found and len(found) > 1):
        raise UserError(f"The device {name!r} is not supported: give the CPU alone, or each GPU once.")
    return found


def _devices(name: str) -> list[str]:
    """Of one name, all that it means."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"There is no device {name!r}: use {DEVICES}.") from error
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"The device {name!r} is not supported: use {DEVICES}.")
    if device.type == "cpu":
        return ["cpu"]
    if not torch.cuda.is_available():
        raise UserError("There is no CUDA device here: use --device cpu.")
    count = torch.cuda.device_count()
    if device.index is None:
        return [f"cuda:{k}" for k in range(count)]
    if device.index >= count:
        raise UserError(f"There is no device {name!r}: the last one here is cuda:{count - 1}.")
    return [str(device)]


def device_of(name: str) -> str:
    """The device of work that uses one: the first of `devices_of`. `auto` and `cuda` stay the choice of CUDA's."""
    first = devices_of(name)[0]
    return "cuda" if name in ("auto", "cuda") and first != "cpu" else first


def slots_of(jobs: str, device: str, missing: int, folders: Iterable[str | None] = ()) -> int:
    """Processes: `auto` is one a core (as far as memory goes) on a CPU, where each has one thread; one a GPU.
    `folders` hold the weights that each of them reads."""
    if asked := asked_for(jobs):
        return min(asked, max(missing, 1))
    if device != "cpu":
        return max(min(len(devices_of(device)), missing), 1)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    import psutil

    room = int(psutil.virtual_memory().available / 2**30 / (GIGABYTES_A_JOB + gigabytes(folders)))
    return max(min(cores, room, missing), 1)


def asked_for(jobs: str) -> int | None:
    """The number of processes that `--jobs` says; None for `auto`."""
    if jobs == "auto":
        return None
    if not (jobs.isascii() and jobs.isdecimal()) or int(jobs) < 1:
        raise UserError(f"--jobs takes a number of processes or auto, not {jobs!r}.")
    return int(jobs)


def gigabytes(folders: Iterable[str | None]) -> float:
    """Of the weights in folders, or in a single file, in single precision, as a CPU has them."""
    places = [Path(folder) for folder in folders if folder]
    files = [f for place in places for f in ([place] if place.is_file() else place.rglob("*.safetensors"))]
    return sum(file.stat().st_size * (2 if weights.HALF in file.name else 1) for file in files) / 2**30


@cache
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


@cache
def version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
