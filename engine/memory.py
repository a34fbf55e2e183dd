"""Peak memory of a job: CUDA's allocator on a GPU, the process's resident set on a CPU."""

from __future__ import annotations

import platform
import threading
from types import TracebackType

import psutil
import torch

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
