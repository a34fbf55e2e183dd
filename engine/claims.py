"""Who has a job: one process of one command, until it ends, however that is.

    lock         locked by the process that has the job, so that the system frees it with the process; other machines
                 may not see that
    claim.json   host, machine, pid, token, step: written anew every BEAT seconds

A claim is over when its owner is gone: on this machine, when its lock is free, or, where the file system has no locks,
when there is no such process; from another machine, when claim.json has not changed for SILENT seconds of watching it,
for which no clock need be right. An owner that was only slow finds the token of another, and stops.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from files import write_json
from locks import held, taken

BEAT = 5.0  # seconds between two signs of life
SILENT = 60.0  # seconds without one, after which an owner on another machine is taken for dead
LOCK, CLAIM, ROSTER = "lock", "claim.json", "commands"
TRIES = 10  # to open a folder that another removes at the same time
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_watched: dict[Path, tuple[Any, float]] = {}  # what a claim said, and since when


class Held(Exception):
    """Another process has the job. It says who."""


class Gone(Exception):
    """The job's folder was removed while it was worked on."""


def machine() -> str:
    """What tells machines apart, also where their names are equal."""
    return _BOOT.read_text().strip() if _BOOT.exists() else f"{uuid.getnode():x}"


def owner(work: Path) -> dict[str, Any] | None:
    """What a claim says of its owner; None where there is none, {} where it does not say."""
    try:
        said = json.loads((work / CLAIM).read_text("utf-8"))
        return said if isinstance(said, dict) and isinstance(said.get("pid"), int) else {}
    except FileNotFoundError:
        return None
    except (OSError, ValueError):  # it is being written
        return {}


def who(work: Path) -> str:
    said = owner(work) or {}
    return f"process {said.get('pid', '?')} on {said.get('host', 'another machine')}"


def is_held(work: Path) -> bool:
    """Whether somebody has the job now, without taking it."""
    try:
        descriptor = os.open(work / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        ours = taken(descriptor, shared=True)
        return ours is False or _lives(work, blind=ours is None)
    finally:
        os.close(descriptor)


def _lives(work: Path, blind: bool) -> bool:
    """Whether the owner that a claim names lives. No process of this machine has the lock, but where the file system
    has none: there we are `blind`."""
    said = owner(work)
    if said is None or (not said and not blind):
        return False
    if said.get("machine") == machine() and not (blind and psutil.pid_exists(said.get("pid", -1))):
        return False
    before, since = _watched.get(work, (None, 0.0))
    if before != said:
        since = time.monotonic()
        _watched[work] = said, since
    return time.monotonic() - since < SILENT


def forsake(work: Path, process: dict[str, Any]) -> None:
    """Remove the claim of a process that is known to be gone, which `me` named: others need not watch it for long."""
    said = owner(work)
    if said and all(said.get(name) == process[name] for name in ("machine", "pid")):
        (work / CLAIM).unlink(missing_ok=True)


@contextlib.contextmanager
def roster(run: Path, steps: dict[str, int]) -> Iterator[None]:
    """RUN/.unfinished/commands/<token>.json, while a command does jobs: who it is, and each job's `steps` by its path.
    What a command leaves that was killed, the next one removes. A run that this began, and in which nothing was left,
    is removed."""
    levels = 2 if run.exists() else 3
    path, descriptor = _entered(run, steps)
    try:
        yield
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)
        remove_empty(path.parent, levels)


def _entered(run: Path, steps: dict[str, int]) -> tuple[Path, int]:
    """A new entry of the roster, locked. The folder is held meanwhile, so that nobody takes an entry that is not locked
    yet for one that is over; a command that ends may still remove the folder, and then it is made again."""
    folder, name = run / ".unfinished" / ROSTER, f"{uuid.uuid4().hex}.json"
    for left in reversed(range(TRIES)):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with held(folder):
                _forget(folder)
                path = write_json(folder / name, me() | {"at": time.time(), "steps": steps})
                descriptor = os.open(path, os.O_RDONLY)
                taken(descriptor, wait=True)  # somebody may be looking at it
                return path, descriptor
        except FileNotFoundError:
            if not left:
                raise
    raise AssertionError


def forget_commands(run: Path) -> None:
    """Remove from the roster what commands left that were killed."""
    folder = run / ".unfinished" / ROSTER
    with contextlib.suppress(OSError), held(folder):
        _forget(folder)
    remove_empty(folder, 2)


def _forget(folder: Path) -> None:
    for path in folder.iterdir():
        if not (path.suffix == ".json" and is_written(path)):
            path.unlink(missing_ok=True)


def remove_empty(folder: Path, levels: int) -> None:
    """A folder and so many levels above it, as far as nothing is in them."""
    for place in (folder, *list(folder.parents)[: levels - 1]):
        with contextlib.suppress(OSError):  # others are there
            place.rmdir()


def is_written(path: Path) -> bool:
    """Whether the command of a roster may live: on another machine, nobody knows."""
    try:
        said, descriptor = json.loads(path.read_text("utf-8")), os.open(path, os.O_RDONLY)
    except (OSError, ValueError):
        return False
    try:
        return said.get("machine") != machine() or taken(descriptor, shared=True) is not True
    finally:
        os.close(descriptor)


def me() -> dict[str, Any]:
    """This process."""
    return {"host": socket.gethostname(), "machine": machine(), "pid": os.getpid()}


class Claim:
    """A folder's, held from its making until `release`. Raises Held where another has it."""

    def __init__(self, work: Path):
        self.work, self.token, self.step = work, uuid.uuid4().hex, 0
        self._end, self._writing = threading.Event(), threading.Lock()
        self._lock = self._locked()
        try:
            self._put()
            threading.Thread(target=self._live, name=f"claim {work.name}", daemon=True).start()
        except BaseException:
            self.release()
            raise

    def check(self) -> None:
        """Raises Held where another has taken the job for abandoned, Gone where its folder was removed."""
        said = owner(self.work)
        if said is None:
            raise Gone(f"its folder {self.work} was removed while it ran")
        if said.get("token", self.token) != self.token:
            raise Held(who(self.work))

    def rest(self) -> None:
        """Write no more signs of life: the folder is about to be removed."""
        self._end.set()
        with self._writing:
            pass

    def release(self) -> None:
        self._end.set()
        with self._writing:
            if (owner(self.work) or {}).get("token") == self.token:
                (self.work / CLAIM).unlink(missing_ok=True)
        os.close(self._lock)

    def _locked(self) -> int:
        for _ in range(TRIES):
            with contextlib.suppress(FileNotFoundError):  # another finished, and removed the folder
                self.work.mkdir(parents=True, exist_ok=True)
                descriptor = os.open(self.work / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
                ours = taken(descriptor)
                try:
                    if ours is False or _lives(self.work, blind=ours is None):
                        raise Held(who(self.work))
                    if (self.work / LOCK).stat().st_ino == os.fstat(descriptor).st_ino:
                        return descriptor
                except BaseException:
                    os.close(descriptor)
                    raise
                os.close(descriptor)
        raise Held("others that come and go")

    def _put(self) -> None:
        """The claim, in place of one that is over. Of several machines, one comes first."""
        path = self.work / CLAIM
        path.unlink(missing_ok=True)
        aside = write_json(self.work / f"{CLAIM}.{self.token}", self._said())
        try:
            os.link(aside, path)
        except FileExistsError:
            raise Held(who(self.work)) from None
        except OSError:  # a file system without links
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)

    def _said(self) -> dict[str, Any]:
        return me() | {"token": self.token, "step": self.step, "at": time.time()}

    def _live(self) -> None:
        while not self._end.wait(BEAT):
            with self._writing, contextlib.suppress(OSError):
                if self._end.is_set() or (owner(self.work) or {}).get("token") != self.token:
                    return
                write_json(self.work / CLAIM, self._said())
