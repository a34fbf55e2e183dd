"""A job's record.json, how it ended: its version, and what a reader may rely on.

    1   what was written before records said their version
    2   `key`, the job's; `scene`, the SHA-256 of scene.safetensors; `tries`, how often it was begun; `failures`, why
        the tries before the last came to no end; `opacity`, the mean over the views

A record of before is read as one of now. One of a later version is refused: nobody here knows what it means.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from errors import UserError
from files import read_json

VERSION = 2
RECORD = "record.json"
NUMBERS = ("step", "steps", "nfe", "network_rows", "seconds", "peak_bytes", "together", "tries", "opacity")
EMPTY = 0.01  # mean opacity over the views, below which nothing is on them
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    1: lambda record: record | {"version": 2, "tries": 1, "failures": []},
}


class NewerError(UserError):
    """What a later version of this program wrote."""


def read_record(path: Path, mend: str) -> dict[str, Any]:
    """The record, as of this version. Raises NewerError, and UserError, which says how to `mend` it, where it is
    damaged."""
    record = read_json(path, mend)
    version = record.get("version", 1)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise _damaged(path, "version", version, "a whole number above 0", mend)
    if version > VERSION:
        raise NewerError(
            f"The record {path} is of version {version}, and this program knows {VERSION}: "
            "update the program, or give another --out; it was left as it is."
        )
    for name in NUMBERS:
        value = record.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _damaged(path, name, value, "a number", mend)
    if not isinstance(record.get("status", ""), str):
        raise _damaged(path, "status", record["status"], "a word", mend)
    while version < VERSION:
        record, version = MIGRATIONS[version](record), version + 1
    return record


def outcome(record: dict[str, Any]) -> tuple[str, str]:
    """How a job ended, as ok, diverged or failed, and more exactly. Only what its rule did counts as diverged."""
    status = record.get("status", "finished")
    if status in ("non-finite", "out-of-memory"):
        return "diverged", status
    if status != "finished":
        return "failed", status
    return ("diverged", "empty") if record.get("opacity", 1.0) < EMPTY else ("ok", "ok")


def _damaged(path: Path, name: str, value: Any, wanted: str, mend: str) -> UserError:
    return UserError(f"The record {path} is damaged, its {name} is {value!r:.40} and not {wanted}: {mend}.")
