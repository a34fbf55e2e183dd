"""Job folders: what a job leaves behind, and what lets it go on after a crash.

    RUN/<recipe>/<NN-slug>/<seed>/         a finished job: exists only whole, renamed into place at the end
        config.json record.json log.jsonl scene.safetensors views/{rgb,opacity}_000.png
    RUN/.unfinished/<recipe>/<NN-slug>/<seed>/   a job under way: config.json log.jsonl checkpoint.safetensors lock

Every file is written aside, flushed to disk and renamed, so that a kill at any moment leaves the old or the new one.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from engine.job import Job
from errors import UserError
from files import read_json, read_text, replaced, write_json, write_text

try:
    import fcntl
except ImportError:  # no such locks on Windows, where two commands on one run must not overlap
    fcntl = None  # type: ignore[assignment]

FINAL = ("finished", "non-finite", "out-of-memory")  # results; a job that "crashed" is tried again


class Store:
    """The folders of one job in a run."""

    def __init__(self, run: Path, job: Job):
        self.final = run / job.path
        self.work = run / ".unfinished" / job.path

    def record(self) -> dict[str, Any] | None:
        """What the job ended with, or None where it has not. Raises UserError where the folder is unreadable."""
        return _read(self.final / "record.json") if self.final.exists() else None

    def key(self) -> str | None:
        """The key of the finished job."""
        return _read(self.final / "config.json").get("key") if self.final.exists() else None

    @contextlib.contextmanager
    def opened(self, config: dict[str, Any]) -> Iterator[None]:
        """The working folder, held against other processes; emptied where it belongs to a job of another key."""
        with self._locked():
            for aside in (*self.work.glob("finished-*"), *self.work.glob("old-*")):
                shutil.rmtree(aside)  # of a process that was killed
            before = self.work / "config.json"
            if before.exists() and not _same(before, config):
                for name in ("log.jsonl", "checkpoint.safetensors"):
                    (self.work / name).unlink(missing_ok=True)
            write_json(before, config)
            yield

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """The system frees the lock with the process that held it, however that ends."""
        path = self.work / "lock"
        while True:
            self.work.mkdir(parents=True, exist_ok=True)
            with path.open("w") as lock:
                if fcntl:
                    fcntl.flock(lock, fcntl.LOCK_EX)
                if path.exists() and path.stat().st_ino == os.fstat(lock.fileno()).st_ino:
                    yield
                    return  # else the holder finished and removed the folder meanwhile

    def save_checkpoint(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        write_tensors(self.work / "checkpoint.safetensors", tensors, facts)

    def load_checkpoint(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        path = self.work / "checkpoint.safetensors"
        return read_tensors(path) if path.exists() else None

    def keep_log(self, step: int) -> None:
        """Forget what was logged after the checkpoint."""
        path = self.work / "log.jsonl"
        lines = read_text(path).splitlines() if path.exists() else []
        kept = [line for line in lines if _step(line) < step]
        write_text(path, "".join(line + "\n" for line in kept))

    def log(self, rows: list[dict[str, Any]]) -> None:
        with (self.work / "log.jsonl").open("a", encoding="utf-8") as stream:
            stream.writelines(json.dumps(row) + "\n" for row in rows)

    def finish(self, record: dict[str, Any], fill: Callable[[Path], None] | None = None) -> None:
        """Put the finished folder in place: config, log and record, and what `fill` writes into it."""
        self.final.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix="finished-", dir=self.work))
        for name in ("config.json", "log.jsonl"):
            if (self.work / name).exists():
                shutil.copy2(self.work / name, aside / name)
        if fill:
            fill(aside)
        write_json(aside / "record.json", record)
        aside.chmod(0o755)
        self.discard()
        aside.rename(self.final)
        if record["status"] in FINAL:
            shutil.rmtree(self.work)
            self._prune()

    def discard(self) -> None:
        """Remove the finished folder, if there is one: aside first, so that it is never half there."""
        if self.final.exists():
            self.work.mkdir(parents=True, exist_ok=True)
            old = Path(tempfile.mkdtemp(prefix="old-", dir=self.work))
            self.final.rename(old / "job")
            shutil.rmtree(old)

    def _prune(self) -> None:
        """Remove the empty parents of the working folder."""
        for folder in list(self.work.parents)[:3]:
            with contextlib.suppress(OSError):
                folder.rmdir()


def write_tensors(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any] | None = None) -> None:
    """A safetensors file, with a dict of facts as JSON in its header."""
    owned = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    replaced(path, lambda aside: save_file(owned, aside, metadata={"facts": json.dumps(facts or {})}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Raises UserError where the file is damaged."""
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {}).get("facts", "{}"))
            return {name: file.get_tensor(name).clone() for name in file.keys()}, facts  # noqa: SIM118
    except (OSError, ValueError, SafetensorError) as error:
        raise damaged(path) from error


def damaged(path: Path) -> UserError:
    return UserError(f"The file {path} cannot be read: {_mend(path)}.")


def _read(path: Path) -> dict[str, Any]:
    return read_json(path, _mend(path))


def _mend(path: Path) -> str:
    return f"delete {path.parent} and run the same command again"


def _same(path: Path, config: dict[str, Any]) -> bool:
    try:
        return _read(path).get("key") == config["key"]
    except UserError:
        return False


def _step(line: str) -> float:
    """The step of a log line; a torn last line belongs to no step that is kept."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError):
        return float("inf")
