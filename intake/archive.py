"""Archives (zip, tar, tar.gz) are unpacked into a folder of their own, member by member, each within bounds.

A member that would leave the folder, that is no file, that is damaged, or that grows beyond reason is left out and
named; so is what comes after the bound on the whole.
"""

from __future__ import annotations

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from errors import UserError, first_line
from intake.base import MOST_FILES, Refused, reason

KINDS = (".zip", ".tar", ".tgz", ".tar.gz")
MOST = 50 << 30  # bytes of all that is in an archive
RATIO, SMALL = 200, 10 << 20  # by how much a member, and the whole, may grow beyond SMALL bytes: pictures hardly do
BLOCK = 1 << 20
LONGEST = 1 << 20  # bytes of a tar's head
HEADS = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
)  # fmt: skip
PADDING = 64 << 20  # bytes behind the last member that are read
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
RESERVE = 1 << 30  # bytes of the disk that stay free


class Member(NamedTuple):
    """`size` is what the archive says; `packed` 0 where it does not say; `hindrance` why it cannot be unpacked."""

    name: str
    size: int
    packed: int
    is_file: bool
    is_folder: bool
    open: object  # () -> IO[bytes]
    hindrance: str = ""


def is_archive(path: Path) -> bool:
    return path.is_file() and path.name.lower().endswith(KINDS)


def unpacked(path: Path, into: Path) -> list[Refused]:
    """Unpack, and say what was left out. Raises UserError where the archive itself cannot be read."""
    refused: list[Refused] = []
    try:
        most = max(SMALL, RATIO * path.stat().st_size)
        left = min(MOST, most, shutil.disk_usage(into).free - RESERVE)
        for k, member in enumerate(_members(path)):
            where = f"{path.name}: {member.name}"
            if k >= MOST_FILES:
                raise UserError(f"The archive {path} has more than {MOST_FILES} members: name a part of it.")
            if member.is_folder:
                continue
            if not member.packed and member.size > left:  # a tar is read to its end to pass over a member
                refused.append(Refused(where, f"{_too_large(member)}, nor is what comes after it"))
                break
            try:
                left -= _extracted(member, into, left)
            except UserError as error:
                refused.append(Refused(where, str(error)))
            except (
                OSError,
                EOFError,
                ValueError,
                RuntimeError,
                zlib.error,
                zipfile.BadZipFile,
                tarfile.TarError,
            ) as error:
                refused.append(Refused(where, _damaged(error)))
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError) as error:
        raise UserError(f"The archive {path} cannot be read ({first_line(error)}): make it again.") from error
    return refused


def _damaged(error: BaseException) -> str:
    """What is wrong with a member, without the path that it would have had."""
    if isinstance(error, FileExistsError):
        return "its name is there twice: the first is taken"
    return f"it is damaged ({reason(error)})"


def _members(path: Path) -> Iterator[Member]:
    if path.name.lower().endswith(".zip"):
        with zipfile.ZipFile(path) as packed:
            for info in packed.infolist():
                kind = info.external_attr >> 28  # of a Unix file's mode: 10 for a link
                plain = kind in (0, 8) and not info.is_dir()
                yield Member(info.filename, info.file_size, info.compress_size, plain, info.is_dir(),
                             lambda info=info: packed.open(info), _hindrance(info))  # fmt: skip
        return
    with tarfile.open(path, "r:*", tarinfo=Head) as held:
        for item in held:
            yield Member(item.name, item.size, 0, item.isreg(), item.isdir(), lambda item=item: held.extractfile(item))
        for _ in range(PADDING // BLOCK):  # behind the last member a compressed file has its checksum
            if not held.fileobj.read(BLOCK):  # type: ignore[union-attr]
                break


class Head(tarfile.TarInfo):
    """Of a member. What belongs to heads (names, comments) is read into memory as long as it says that it is."""

    @classmethod
    def frombuf(cls, *words: Any) -> Head:
        head = super().frombuf(*words)
        if head.type in HEADS and head.size > LONGEST:
            raise UserError(f"The archive has a head of {head.size >> 20} MB: it is no result.")
        return head


def _hindrance(info: zipfile.ZipInfo) -> str:
    if info.flag_bits & 1:
        return "it is encrypted: unpack it, and hand in the folder"
    if info.compress_type not in METHODS:
        return f"it is packed by method {info.compress_type}, which is not read here: pack it by deflate"
    return ""


def _extracted(member: Member, into: Path, left: int) -> int:
    """Bytes written. Raises UserError for a member that may not be."""
    if member.hindrance:
        raise UserError(member.hindrance)
    parts = PurePosixPath(member.name.replace("\\", "/")).parts
    if not parts or ".." in parts or parts[0].startswith("/") or ":" in parts[0]:
        raise UserError("its name leads out of the archive: it is not unpacked")
    if not member.is_file:
        raise UserError("it is a link or no file: it is not unpacked")
    if member.packed and member.size > max(SMALL, RATIO * member.packed):
        raise UserError(f"it would grow {member.size // member.packed} times to {member.size >> 20} MB: not unpacked")
    if member.size > left:
        raise UserError(_too_large(member))
    target = into.joinpath(*parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    with member.open() as source, target.open("xb") as stream:  # type: ignore[operator]
        try:
            return _copied(source, stream, member.size)
        except BaseException:
            target.unlink()  # the new file, never one that was there
            raise


def _too_large(member: Member) -> str:
    return f"it would take {member.size >> 20} MB, more than is left for the archive: not unpacked"


def _copied(source: IO[bytes], stream: IO[bytes], size: int) -> int:
    """Bytes copied: not more than were announced."""
    done = 0
    while block := source.read(BLOCK):
        done += len(block)
        if done > size:
            raise UserError("it holds more than the archive says: it is not unpacked")
        stream.write(block)
    return done
