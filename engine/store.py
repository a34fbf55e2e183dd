"""Job folders: what a job leaves behind, and what lets it go on after a crash.

    RUN/<recipe>/<NN-slug>/<seed>/         a finished job: exists only whole, renamed into place at the end
        config.json record.json log.jsonl scene.safetensors views/{rgb,opacity}_000.png
    RUN/.unfinished/<recipe>/<NN-slug>/<seed>/   a job under way: config.json log.jsonl checkpoint.safetensors,
        and who has it: lock claim.json (engine/claims.py)

Every file is written aside, flushed to disk and renamed, so that a kill at any moment leaves the old or the new one.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from engine import claims
from engine.claims import Claim, Gone, Held
from engine.job import Job
from errors import UserError
from files import read_json, replaced, sha256, write_json, write_text
from locks import held
from records import RECORD, VERSION, NewerError, read_record

FINAL = ("finished", "non-finite", "out-of-memory")  # results; a job that "crashed" is tried again
SCENE = "scene.safetensors"
LEVELS = 4  # of folders for a job under way: .unfinished, and three for the job
LOOK = 0.1  # seconds between two looks at a folder that another process holds


class Store:
    """The folders of one job in a run."""

    def __init__(self, run: Path, job: Job):
        self.final = run / job.path
        self.work = run / ".unfinished" / job.path
        self.claim: Claim | None = None  # ours, while `opened`

    def record(self) -> dict[str, Any] | None:
        """What the job ended with, or None where it has not. Raises UserError where the folder is unreadable, and
        NewerError where a later version of this program wrote it."""
        path = self.final / RECORD
        return read_record(path, _mend(path)) if self.final.exists() else None

    def key(self, record: dict[str, Any] | None = None) -> str | None:
        """The key of the finished job, whose record may be known."""
        if record and "key" in record:
            return record["key"]
        return _read(self.final / "config.json").get("key") if self.final.exists() else None

    def found(self, key: str) -> dict[str, Any] | None:
        """The record of an end with that key, be it a failure; a damaged one is none, and is replaced. Raises
        NewerError."""
        try:
            record = self.record()
            return record if record and self.key(record) == key else None
        except NewerError:
            raise
        except UserError:
            return None

    @property
    def held(self) -> bool:
        """Whether somebody works at the job now."""
        return claims.is_held(self.work)

    @contextlib.contextmanager
    def opened(self, config: dict[str, Any], wait: bool = False) -> Iterator[dict[str, Any] | None]:
        """The working folder, held against other processes; emptied where it belongs to a job of another key. Raises
        Held where another has it, and is not to be waited for.

        Gives the record where another has finished the same job meanwhile, so that nothing is left to do; else None."""
        self.claim = self._claimed(wait)
        try:
            record = self.found(config["key"])
            if record is not None and record.get("status") in FINAL:
                yield record
                self._clear()
                return
            for aside in (*self.work.glob("finished-*"), *self.work.glob("old-*")):
                shutil.rmtree(aside)  # of a process that was killed
            before = self.work / "config.json"
            if before.exists() and not _same(before, config):
                for name in ("log.jsonl", "checkpoint.safetensors"):
                    (self.work / name).unlink(missing_ok=True)
            write_json(before, config)
            yield None
        finally:
            self.claim.release()
            self.claim = None

    def _claimed(self, wait: bool) -> Claim:
        while True:
            try:
                return Claim(self.work)
            except Held:
                if not wait:
                    raise
            time.sleep(LOOK)

    def at(self, step: int) -> None:
        """Let others know how far the job is."""
        if self.claim:
            self.claim.step = step

    def _check(self) -> None:
        if self.claim:
            self.claim.check()

    def save_checkpoint(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Raises Held where another has taken the job for abandoned, Gone where its folder was removed; so does
        `finish`."""
        self._check()
        write_tensors(self.work / "checkpoint.safetensors", tensors, facts)

    def load_checkpoint(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        path = self.work / "checkpoint.safetensors"
        return read_tensors(path) if path.exists() else None

    def kept_step(self) -> int:
        return step_of(self.work / "checkpoint.safetensors")

    def drop_checkpoint(self) -> None:
        (self.work / "checkpoint.safetensors").unlink(missing_ok=True)

    def keep_log(self, step: int) -> None:
        """Forget what was logged after the checkpoint."""
        path = self.work / "log.jsonl"
        lines = path.read_text("utf-8", errors="replace").splitlines() if path.exists() else []
        kept = [line for line in lines if _step(line) < step]
        write_text(path, "".join(line + "\n" for line in kept))

    def log(self, rows: list[dict[str, Any]]) -> None:
        with (self.work / "log.jsonl").open("a", encoding="utf-8") as stream:
            stream.writelines(json.dumps(row) + "\n" for row in rows)

    def finish(self, record: dict[str, Any], fill: Callable[[Path], None] | None = None) -> dict[str, Any]:
        """Put the finished folder in place: config, log and record, and what `fill` writes into it. Returns the record
        as it is kept."""
        self._check()
        self.final.parent.mkdir(parents=True, exist_ok=True)
        aside = self._aside("finished-new")
        for name in ("config.json", "log.jsonl"):
            if (self.work / name).exists():
                shutil.copy2(self.work / name, aside / name)
        if fill:
            fill(aside)
        kept = {"version": VERSION, "tries": 1, "failures": [], **record, **_identity(aside)}
        if (before := self.found(kept.get("key", ""))) and before["status"] not in FINAL:
            kept["tries"] = before.get("tries", 1) + 1
            kept["failures"] = [*before.get("failures", []), before.get("cause")]
        write_json(aside / RECORD, kept)
        self.discard()
        aside.rename(self.final)
        if record["status"] in FINAL:
            self._clear()
        return kept

    def give_up(self, config: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
        """Put a record in place for a job that came to no end of its own; returns the job's record. Where another
        command has the job by now, or the folder cannot be written to, nothing is, and the job counts as not done."""
        try:
            with self.opened(config) as found:
                return self.finish(record) if found is None else found
        except (OSError, Held, Gone):
            return record

    def discard(self) -> None:
        """Remove the finished folder, if there is one, when nobody scores or renders it: aside first, so that it is
        never half there."""
        with contextlib.suppress(FileNotFoundError), held(self.final):
            self.work.mkdir(parents=True, exist_ok=True)
            old = self._aside("old-result")
            self.final.rename(old / "job")
            shutil.rmtree(old)

    def _aside(self, name: str) -> Path:
        """A new folder beside the checkpoint, with the modes that folders get."""
        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)  # of a result that could not be written whole
        folder.mkdir()
        return folder

    def _clear(self) -> None:
        """Remove the working folder, and its parents where they are empty."""
        if self.claim:
            self.claim.rest()  # else a sign of life may come back into what is being removed
        shutil.rmtree(self.work, ignore_errors=True)
        claims.remove_empty(self.work, LEVELS)

    def tidy(self) -> None:
        """Remove what a kill left of a job that was in its place already; nothing that somebody works at, or that a job
        can go on from."""
        with contextlib.suppress(Held, UserError):
            record = self.record() if self.work.exists() else None
            if record and record.get("status") in FINAL:
                with self.opened({"key": self.key(record)}):
                    pass  # it clears what is finished
        claims.remove_empty(self.work, LEVELS)


def tidy(run: Path, jobs: Iterable[Job]) -> None:
    """Remove what commands that were killed left of finished jobs, and of themselves."""
    if (run / ".unfinished").is_dir():
        for job in jobs:
            Store(run, job).tidy()
        claims.forget_commands(run)


def write_tensors(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any] | None = None) -> None:
    """A safetensors file, with a dict of facts as JSON in its header, and a sum by which damage is known. They are one
    entry of the header: safetensors writes several in any order, and equal files are to be equal in their bytes."""
    owned = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    said = json.dumps(facts or {})
    header = {"kept": json.dumps({"crc32": checked_sum(owned, said), "facts": said})}
    replaced(path, lambda aside: save_file(owned, aside, metadata=header))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Raises UserError where the file is damaged, be it by a bit. Scenes of before sums were kept have none."""
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        if "kept" not in header:
            return tensors, {}
        kept = json.loads(header["kept"])
        if kept["crc32"] != checked_sum(tensors, kept["facts"]):
            raise damaged(path)
        return tensors, json.loads(kept["facts"])
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise damaged(path) from error


def step_of(checkpoint: Path) -> int:
    """The step of a checkpoint; 0 where there is none that can be read."""
    try:
        with safe_open(checkpoint, "pt") as file:
            return json.loads(json.loads(file.metadata()["kept"])["facts"])["step"]
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return 0


def checked_sum(tensors: dict[str, Tensor], facts: str) -> str:
    """CRC-32 of names, contents and facts: a gigabyte takes a second."""
    total = zlib.crc32(facts.encode())
    for name, tensor in sorted(tensors.items()):
        total = zlib.crc32(name.encode(), total)
        total = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, total)
    return f"{total:08x}"


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
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def _identity(folder: Path) -> dict[str, Any]:
    """What a record says of the folder beside it."""
    config, scene = folder / "config.json", folder / SCENE
    said = {"key": _read(config).get("key")} if config.exists() else {}
    return said | ({"scene": sha256(scene)} if scene.exists() else {})
