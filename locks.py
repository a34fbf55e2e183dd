"""Files and folders that several commands of a machine want at once: the system frees a lock with the process that
held it, however that ends."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # no such locks on Windows, where two commands on one run must not overlap
    fcntl = None  # type: ignore[assignment]


def taken(descriptor: int, wait: bool = False, shared: bool = False) -> bool | None:
    """Whether the lock of an open file or folder is ours now; None where its file system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno == errno.EINTR:
            raise
        return None
    return True


@contextlib.contextmanager
def held(folder: Path, wait: bool = True) -> Iterator[bool]:
    """A folder held against the other commands of this machine that hold it, too: gives whether it is ours, which it
    always is where there are no locks, and after a `wait`. Raises FileNotFoundError where it is not there."""
    if fcntl is None:
        yield folder.stat() is not None
        return
    while True:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            ours = taken(descriptor, wait) is not False
            if ours and not _same(folder, descriptor):
                continue  # another has put a new folder in its place meanwhile
            yield ours
            return
        finally:
            os.close(descriptor)


def _same(path: Path, descriptor: int) -> bool:
    there, here = path.stat(), os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
