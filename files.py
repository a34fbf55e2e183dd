"""Files: read JSON that people wrote, write so that a kill leaves the old content or the new, tell contents apart, and
whether they are whole."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from errors import UserError

ROOT = Path(__file__).parent  # of the checkout
BLOCK = 1 << 20  # bytes read at a time
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a PNG's kinds of colour
ADAM7 = (  # where the pixels of a pass begin and how far they lie apart, along x and y
    (0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2),
)  # fmt: skip


def read_text(path: Path) -> str:
    """A text in UTF-8, with or without the mark of byte order that some editors put in front."""
    text = path.read_bytes().decode("utf-8-sig")  # quicker than a stream: a run has thousands of files
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: Path, mend: str = "restore it, or name another") -> dict[str, Any]:
    """A JSON object. Raises UserError, which names the file and says how to `mend` it, where it is none."""
    try:
        content = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"The file {path} cannot be read: {mend}.") from error
    if not isinstance(content, dict):
        raise UserError(f"The file {path} is no JSON object: {mend}.")
    return content


def write_text(path: Path, text: str) -> Path:
    """Lines end as they do on Linux, everywhere; what is no letter, as in a folder's name of other bytes, is told by
    its number."""
    return replaced(path, lambda aside: aside.write_bytes(text.encode("utf-8", "backslashreplace")))


def write_json(path: Path, content: dict[str, Any]) -> Path:
    return write_text(path, json.dumps(content, indent=1) + "\n")


def replaced(path: Path, write: Callable[[Path], Any]) -> Path:
    """Write aside, flush to disk, rename: the path holds the old content or the new, never a part. Others may read the
    file, as of any that a program writes. Returns the path."""
    aside = path.with_name(path.name + ".aside")
    try:
        write(aside)
        aside.chmod(0o666 & ~_umask())  # safetensors writes for its owner alone
        with aside.open("rb+") as stream:
            os.fsync(stream.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    return path


def is_older(made: Path, of: Path) -> bool:
    """Whether a file is not there, or was written before what it is made of: a kill came between the two."""
    try:
        return made.stat().st_mtime_ns < of.stat().st_mtime_ns
    except FileNotFoundError:
        return not made.exists()


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, as hex."""
    return _hashed([path], b"", lambda file: b"")


def digest(files: Iterable[Path], within: Path | None = None, name: str = "") -> str:
    """SHA-256, as hex, over a name, and the names (relative to `within`, where it is given) and contents of files in
    their order."""

    def named(file: Path) -> bytes:
        return (file.relative_to(within).as_posix() if within else file.name).encode()

    return _hashed(sorted(files), name.encode(), named)


def digest_of(contents: Mapping[str, bytes]) -> str:
    """`digest` of files that were read: their contents by their names."""
    sha = hashlib.sha256()
    for name, content in sorted(contents.items()):
        sha.update(name.encode())
        sha.update(content)
    return sha.hexdigest()


def digest_once(files: Iterable[Path], within: Path | None = None, name: str = "") -> str:
    """`digest`, remembered while no file changes: in size, in time, or by another in its place."""
    kept = tuple(sorted(files))
    stamps = tuple((s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in map(os.stat, kept))
    return _remembered(kept, stamps, within, name)


@lru_cache(maxsize=32)
def _remembered(files: tuple[Path, ...], stamps: tuple[tuple[int, ...], ...], within: Path | None, name: str) -> str:
    return digest(files, within, name)


def _hashed(files: Iterable[Path], start: bytes, named: Callable[[Path], bytes]) -> str:
    sha = hashlib.sha256(start)
    for file in files:
        sha.update(named(file))
        with file.open("rb") as stream:
            while block := stream.read(BLOCK):
                sha.update(block)
    return sha.hexdigest()


def is_short(png: Path | IO[bytes]) -> bool:
    """Whether a PNG that could be decoded holds less than all its rows: of what it lacks, libraries make black."""
    if isinstance(png, Path):
        with png.open("rb") as stream:
            return is_short(stream)
    png.seek(8)
    left, inflate = 0, zlib.decompressobj()
    while len(head := png.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        packed = png.read(length + 4)[:length]
        if kind == b"IHDR":
            left = _unpacked(*struct.unpack(">IIBBxxB", packed))
        while kind == b"IDAT" and left > 0 and not inflate.eof:
            rows = inflate.decompress(packed, BLOCK)
            left, packed = left - len(rows), inflate.unconsumed_tail
            if len(rows) < BLOCK:  # all of this chunk
                break
    return left > 0


def _unpacked(width: int, height: int, depth: int, colour: int, interlaced: int) -> int:
    """Bytes of a PNG's rows (ISO 15948): each has one more, for its filter; those of Adam7 stand in seven passes."""
    passes = ADAM7 if interlaced else ((0, 1, 0, 1),)
    sizes = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, dx, y, dy in passes]
    return sum(h * (1 + -(-w * depth * CHANNELS[colour] // 8)) for w, h in sizes if w > 0 and h > 0)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
