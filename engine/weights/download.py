"""One file over HTTP: resumed where it was cut, refused where it is not what it should be.

What has come lies in `<file>.<source>.part`, so that bytes of two sources never mix; the file gets its name when it is
whole and its checksum is right.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from pathlib import Path

import requests

from engine.weights.manifest import sha256
from errors import UserError

BLOCK = 1 << 16  # bytes; what is lost of a reply that is cut
TIMEOUT = (10, 60)  # seconds, to connect and between two blocks
TRIES = 4  # without one new byte


class Unavailable(Exception):
    """This source does not have the file, or not the right one; another may. Its text is the reason, in words."""


def download(
    url: str,
    file: Path,
    expected: str | None,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
    pause: float = 1.0,
) -> str:
    """Bring `file` from `url`, and return its SHA-256. `progress` hears bytes come so far, and all if it is known.
    `expected`: the SHA-256 it must have; else the one its server states, if it states one. `pause` is the first wait
    between tries, in seconds; each is twice the last.

    Raises Unavailable; UserError where it cannot be written."""
    part = part_of(file, url)
    part.parent.mkdir(parents=True, exist_ok=True)
    tries = 0
    while True:
        before = size(part)
        try:
            stated = _once(url, part, progress)
            break
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            tries = tries + 1 if size(part) <= before else 1
            if tries >= TRIES:
                raise Unavailable(f"no connection ({type(error).__name__})") from error
            time.sleep(pause * 2 ** (tries - 1))
        except requests.RequestException as error:
            raise Unavailable(f"not an address to fetch from ({type(error).__name__})") from error
        except OSError as error:
            raise UserError(f"{part} cannot be written ({error.strerror or error}); what has come is kept.") from error
    digest, wanted = sha256(part), expected or stated
    if wanted and digest != wanted:
        part.unlink()
        raise Unavailable(f"wrong checksum: {digest[:12]} where {wanted[:12]} is expected")
    part.replace(file)
    return digest


def part_of(file: Path, url: str) -> Path:
    return file.with_name(f"{file.name}.{hashlib.sha256(url.encode()).hexdigest()[:8]}.part")


def size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _once(url: str, part: Path, progress: Callable[[int, int | None], None]) -> str | None:
    """Go on with the part to its end. The checksum that the server states, or None."""
    start = size(part)
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as reply:
        if reply.status_code == 416:  # the part is whole already, or longer than the file
            if reply.headers.get("Content-Range") == f"bytes */{start}":
                return _stated(reply)
            part.unlink()
            raise requests.ConnectionError("the part is of another file")
        if reply.status_code >= 500 or reply.status_code == 429:
            raise requests.ConnectionError(f"status {reply.status_code}")
        if not reply.ok:
            raise Unavailable(f"status {reply.status_code}")
        if "text/html" in reply.headers.get("Content-Type", ""):
            raise Unavailable("a web page in place of the file")
        start = start if reply.status_code == 206 else 0
        length = reply.headers.get("Content-Length")
        total = start + int(length) if length else None
        with part.open("ab" if start else "wb") as stream:
            progress(start, total)
            for block in reply.iter_content(BLOCK):
                stream.write(block)
                progress(stream.tell(), total)
        if total is not None and size(part) != total:
            raise requests.ConnectionError("cut short")
        return _stated(reply)


def _stated(reply: requests.Response) -> str | None:
    """A hub names a large file's SHA-256 in a header of its own, of this reply or of the one that redirected to it."""
    tags = (r.headers.get("X-Linked-ETag", "").strip('"') for r in (*reply.history, reply))
    return next((tag for tag in tags if re.fullmatch("[0-9a-f]{64}", tag)), None)
