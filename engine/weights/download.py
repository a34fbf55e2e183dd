"""One file over HTTP: resumed where it was cut, refused where it is not what it should be.

What has come lies in `<file>.<source>.part`, so that bytes of two sources never mix; the file gets its name when it is
whole and its checksum is right.

huggingface_hub gives the token, but does not download: it wants the headers of a hub, where some sources are none; it
does not wait where a server asks for it with status 503, and compares no checksum with a file that came by plain HTTP.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import requests
import requests.auth
from urllib3.exceptions import DecodeError, HTTPError

from engine.weights.manifest import sha256
from errors import UserError

BLOCK = 1 << 16  # bytes; what is lost of a reply that is cut
CONNECT, STALL = 10, 30.0  # seconds, to connect and between two blocks
TRIES = 4  # without one new byte
LONGEST = 3600.0  # seconds that a server may ask to wait
DRIP, SLOWEST = 60.0, 1024.0  # after so many seconds, bytes a second below which a source is given up
BUSY = (429, 503)
PAGE = (b"<!doctype html", b"<html")
KINDS = {".json": "JSON", ".safetensors": "safetensors file"}  # what can be told by reading it


class Busy(Exception):
    """The server asks to come again after `seconds`."""

    def __init__(self, status: int, seconds: float):
        super().__init__(f"status {status}")
        self.status, self.seconds = status, seconds


class Faulty(requests.ConnectionError):
    """The server answers, but with an error or not with what was asked for; its text says which."""


class Refused(Exception):
    """The server wants another token, or one at all."""


class Unavailable(Exception):
    """This source does not have the file, or not the right one; another may. Its text is the reason, in words."""


def download(
    url: str,
    file: Path,
    expected: str | None,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
    pause: float = 1.0,
    token: str | None = None,
    told: Callable[[str], None] = lambda line: None,
    most: int | None = None,
) -> str:
    """Bring `file` from `url`, and return its SHA-256. `progress` hears bytes come so far, and all if it is known.
    `expected`: the SHA-256 it must have; else the one its server states, if it states one. `pause` is the first wait
    between tries, in seconds; each is twice the last. `token` is sent to this host and to none that it redirects to,
    and left out where it is refused. `told` hears how long a server asks to wait. A body of more than `most` bytes
    is not the file, whatever its server says.

    Raises Unavailable; UserError where it cannot be written."""
    part = part_of(file, url)
    part.parent.mkdir(parents=True, exist_ok=True)
    tries = waits = 0
    while True:
        before = size(part)
        try:
            stated = _once(url, part, progress, token, most)
            break
        except Refused as error:
            if token is None:
                raise Unavailable(str(error)) from error
            told(f"{url}: the token is refused; without it")
            token = None
        except Busy as error:
            waits = waits + 1 if size(part) <= before else 1
            if waits >= TRIES or error.seconds > LONGEST:
                raise Unavailable(f"{error}: it asks to wait {error.seconds:.0f} s, try again then") from error
            told(f"{url}: status {error.status}, waiting {error.seconds:.0f} s as it asks")
            time.sleep(error.seconds)
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            tries = tries + 1 if size(part) <= before else 1
            if tries >= TRIES:
                said = (
                    f"{error}, {TRIES} times"
                    if isinstance(error, Faulty)
                    else f"no connection ({type(error).__name__})"
                )
                raise Unavailable(said) from error
            time.sleep(pause * 2 ** (tries - 1))
        except (requests.RequestException, ValueError) as error:  # of urllib, where a server sends to no address
            raise Unavailable(f"not an address to fetch from ({type(error).__name__})") from error
        except OSError as error:
            raise UserError(f"{part} cannot be written ({error.strerror or error}); what has come is kept.") from error
    digest, wanted = sha256(part), expected or stated
    if wanted and digest != wanted:
        part.unlink()
        raise Unavailable(f"wrong checksum: {digest[:12]} where {wanted[:12]} is expected")
    if not wanted and (wrong := fault(part, file.suffix)):
        part.unlink()
        raise Unavailable(f"{wrong} in place of the file")
    part.replace(file)
    return digest


def part_of(file: Path, url: str) -> Path:
    return file.with_name(f"{file.name}.{hashlib.sha256(url.encode()).hexdigest()[:8]}.part")


def size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def fault(file: Path, suffix: str) -> str:
    """What is wrong with a file that no checksum is known of; "" where nothing is."""
    from safetensors import SafetensorError, safe_open  # not where help is asked for

    with file.open("rb") as stream:
        start = stream.read(512).removeprefix(codecs.BOM_UTF8).lstrip().lower()
    if not start or start.startswith(PAGE):
        return "a web page" if start else "nothing"
    try:
        if suffix == ".json":
            json.loads(file.read_text("utf-8-sig"))
        if suffix == ".safetensors":
            safe_open(file, "numpy")
    except (ValueError, SafetensorError):
        return f"something that is no {KINDS[suffix]}"
    return ""


def _once(
    url: str, part: Path, progress: Callable[[int, int | None], None], token: str | None, most: int | None
) -> str | None:
    """Go on with the part to its end. The checksum that the server states, or None."""
    start = size(part)
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
    stall = float(os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT") or STALL)
    with requests.get(url, headers=headers, stream=True, timeout=(CONNECT, stall), auth=_Bearer(token)) as reply:
        _refuse(reply, token)
        if reply.status_code == 416:  # the part is whole already, or longer than the file
            if start and reply.headers.get("Content-Range") == f"bytes */{start}":
                return _stated(reply)
            part.unlink(missing_ok=True)
            raise Faulty("status 416")
        if not reply.ok:
            raise Unavailable(f"status {reply.status_code}")
        if "text/html" in reply.headers.get("Content-Type", "").lower():
            raise Unavailable("a web page in place of the file")
        begins = reply.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if reply.status_code == 206 and not begins:
            part.unlink(missing_ok=True)
            raise Faulty("another part than was asked for")
        start = start if reply.status_code == 206 else 0
        length = None if "Content-Encoding" in reply.headers else reply.headers.get("Content-Length")
        total = start + int(length) if length and length.isdecimal() else None
        with part.open("ab" if start else "wb") as stream:
            progress(start, total)
            for block in _blocks(reply):
                stream.write(block)
                progress(stream.tell(), total)
                if most is not None and stream.tell() > most:
                    stream.truncate(0)
                    raise Unavailable(f"something longer than {most} bytes in place of the file")
        if total is not None and size(part) != total:
            raise Faulty("cut short")
        return _stated(reply)


def _blocks(reply: requests.Response) -> Iterator[bytes]:
    """What comes, as it comes: a block that is waited for until it is full would hide that bytes drip. Raises
    Unavailable where they do."""
    began, come = time.monotonic(), 0
    try:
        while block := reply.raw.read1(BLOCK, decode_content=True):
            yield block
            come, seconds = come + len(block), time.monotonic() - began
            if seconds > DRIP and come < SLOWEST * seconds:
                raise Unavailable(f"too slow: {come / seconds:.0f} bytes a second")
    except DecodeError as error:
        raise Unavailable("it says that it is compressed, and is not") from error
    except HTTPError as error:
        raise requests.ConnectionError(type(error).__name__) from error


def _refuse(reply: requests.Response, token: str | None) -> None:
    """Raise what a status means that says nothing of the file."""
    status = reply.status_code
    if status in BUSY and (seconds := _asked_to_wait(reply)) is not None:
        raise Busy(status, seconds)
    if status in (401, 403):
        cause = "its token is refused" if token else "it wants a token: set HF_TOKEN, or hf auth login"
        raise Refused(f"status {status}, {cause}")
    if status >= 500 or status == 429:
        raise Faulty(f"status {status}")


def _asked_to_wait(reply: requests.Response) -> float | None:
    """Seconds, from Retry-After (seconds or a date) or the hub's own `RateLimit: "...";r=0;t=SECONDS`."""
    said = reply.headers.get("Retry-After", "").strip()
    if said.isascii() and said.isdecimal():
        return float(said)
    try:
        return max(parsedate_to_datetime(said).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError):
        limit = re.search(r";\s*t=(\d+)", reply.headers.get("RateLimit", ""))
        return float(limit[1]) if limit else None


class _Bearer(requests.auth.AuthBase):
    """A token, or none: without an auth of its own requests would send what ~/.netrc says."""

    def __init__(self, token: str | None):
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.token:
            request.headers["Authorization"] = f"Bearer {self.token}"
        return request


def _stated(reply: requests.Response) -> str | None:
    """A hub names a large file's SHA-256 in a header of its own, of this reply or of the one that redirected to it."""
    tags = (r.headers.get("X-Linked-ETag", "").strip('"') for r in (*reply.history, reply))
    return next((tag for tag in tags if re.fullmatch("[0-9a-f]{64}", tag)), None)
