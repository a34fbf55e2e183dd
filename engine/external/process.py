"""A program and all that it starts: begun, watched, and ended to the last process.

Its output goes into a file, from which steps and losses are read while it runs. What it starts is known by a mark in
the environment, so that nothing outlives it: not what left its group, nor what an earlier command left that was killed.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from engine.external import gpu
from engine.external.spec import Log
from errors import TOO_LITTLE

MARK = "SCORE_DISTILLATION_JOB"  # the variable by which a job's processes are known
LOOK = 0.2  # seconds between two looks
GPU_LOOK = 2.0  # between two at the GPU, which take a tenth of a second
GRACE = 5.0  # seconds that processes have to end by themselves
LOST = 20  # losses in a row that are no number: a program does not come back from there
BLOCK = 1 << 20  # bytes of the log read at a time
TAIL = 30  # last lines, in which a program that failed says why
SAYS_NAN = re.compile(r"\bnan\b|\bnot?n?[- ]?finite\b", re.IGNORECASE)
SAYS_MEMORY = re.compile("|".join(map(re.escape, (*TOO_LITTLE, "MemoryError", "OutOfMemoryError"))), re.IGNORECASE)
SAYS_KILLED = re.compile(
    r"\bkilled\b|\bSIGKILL\b|\bsignal 9\b|\bexit ?code:? -9\b", re.IGNORECASE
)  # a launcher, of its own


@dataclass
class Ended:
    """How a program ended. `code` is negative for a signal, None where it was ended from here, for `reason`: "timeout",
    "diverged" or "stopped". `peak` is of the resident memory of the whole tree, `gpu_peak` None where no GPU says."""

    code: int | None
    reason: str
    seconds: float
    peak: int
    gpu_peak: int | None
    step: int
    tail: list[str]
    killed_for_memory: bool


class Reader:
    """What a log says while it grows: the last step, and whether losses are numbers."""

    def __init__(self, path: Path, patterns: Log):
        self.path, self.at, self.rest = path, 0, b""
        self.patterns = [re.compile(p) if p else None for p in (patterns.step, patterns.diverged)]
        self.step, self.lost, self.tail = 0, 0, [""]

    def look(self) -> bool:
        """Read on; returns whether there is more at once."""
        with self.path.open("rb") as stream:
            stream.seek(self.at)
            block = stream.read(BLOCK)
        self.at += len(block)
        *lines, self.rest = re.split(rb"[\r\n]+", self.rest + block)
        self.rest = self.rest[-BLOCK:]
        for line in lines:
            self._take(line.decode("utf-8", errors="replace"))
        return len(block) == BLOCK

    def end(self) -> None:
        """Read what is left; a last line may have no end."""
        while self.look():
            pass
        if self.rest:
            self._take(self.rest.decode("utf-8", errors="replace"))

    def _take(self, line: str) -> None:
        line = line.strip()[:2000]
        if not line:
            return
        self.tail = [*self.tail[-TAIL:], line]
        step, loss = self.patterns
        if step and (found := step.search(line)):
            with contextlib.suppress(ValueError):
                self.step = int(found[1])
        if loss and (values := [value for m in loss.finditer(line) if (value := _float(m[1])) is not None]):
            self.lost = 0 if all(map(math.isfinite, values)) else self.lost + 1


def _float(text: str) -> float | None:
    """nan and inf are numbers here."""
    try:
        return float(text.rstrip(".,-+"))
    except ValueError:
        return None


def run(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    log: Path,
    patterns: Log,
    mark: str,
    timeout: float,
    told: Callable[[int], None] = lambda step: None,
    stop: threading.Event | None = None,
) -> Ended:
    """Run a program to its end, or until `timeout` seconds, LOST losses that are no numbers, or `stop`. `told` hears of
    each new step. Raises OSError where it cannot be started."""
    end_marked(mark)
    before, kills = time.monotonic(), memory_kills()
    variables = {**os.environ, "PYTHONUNBUFFERED": "1", **environment, MARK: mark}
    with log.open("wb") as stream:
        program = subprocess.Popen(
            list(command), cwd=folder, env=variables, stdin=subprocess.DEVNULL, stdout=stream,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    watch = Watch(program.pid)
    reader, reason = Reader(log, patterns), ""
    try:
        while program.poll() is None and not reason:
            watch.look()
            shown = reader.step
            reader.look()
            if reader.step != shown:
                told(reader.step)
            if time.monotonic() - before > timeout:
                reason = "timeout"
            elif reader.lost >= LOST:
                reason = "diverged"
            elif stop is not None and stop.wait(LOOK):
                reason = "stopped"
            elif stop is None:
                time.sleep(LOOK)
    finally:
        seconds = time.monotonic() - before
        end_tree(watch.family)
        end_marked(mark)
    code = program.wait() if not reason else None
    reader.end()
    signalled = code in (-9, 137) or (code and any(SAYS_KILLED.search(line) for line in reader.tail))
    killed = bool(signalled) and memory_kills() > kills
    return Ended(code, reason or ("diverged" if reader.lost else ""), seconds, watch.peak, watch.gpu_peak,
                 reader.step, reader.tail, killed)  # fmt: skip


class Watch:
    """The memory of a process and of all that it starts."""

    def __init__(self, pid: int):
        self.family: dict[int, psutil.Process] = {}
        self.peak, self.gpu_peak, self.gpu_looked = 0, None, 0.0
        with contextlib.suppress(psutil.Error):
            self.family[pid] = psutil.Process(pid)
        self.root = pid

    gpu_peak: int | None

    def look(self) -> None:
        with contextlib.suppress(psutil.Error):
            for child in self.family[self.root].children(recursive=True):
                self.family.setdefault(child.pid, child)
        resident = 0
        for process in list(self.family.values()):
            with contextlib.suppress(psutil.Error):
                if process.is_running():
                    resident += process.memory_info().rss
        self.peak = max(self.peak, resident)
        if time.monotonic() - self.gpu_looked > GPU_LOOK:
            self.gpu_looked = time.monotonic()
            used = gpu.used_by(self.family)
            if used is not None:
                self.gpu_peak = max(self.gpu_peak or 0, used)


def end_tree(family: Mapping[int, psutil.Process]) -> None:
    """Ask processes to end, wait, then kill those that are left."""
    _end([p for p in family.values() if _alive(p)])


def end_marked(mark: str) -> None:
    """End the processes that carry a job's mark, whoever started them: the job is this command's now."""
    _end([p for p in psutil.process_iter() if _marked(p, mark)])


def _end(processes: list[psutil.Process]) -> None:
    for signal in ("terminate", "kill"):
        for process in processes:
            with contextlib.suppress(psutil.Error):
                getattr(process, signal)()
        _, processes = psutil.wait_procs(processes, timeout=GRACE)
        if not processes:
            return


def _alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _marked(process: psutil.Process, mark: str) -> bool:
    if process.pid == os.getpid():
        return False
    with contextlib.suppress(psutil.Error, OSError):
        return process.environ().get(MARK) == mark and _alive(process)
    return False


def memory_kills() -> int:
    """How often the system has ended processes for want of memory; 0 where it does not say (Linux does)."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        counts: dict[str, Any] = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
        return int(counts["oom_kill"])
    return 0
