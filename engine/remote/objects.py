"""The objects below a URL, by any library that fsspec knows: s3://, gs://, az://, memory://, ...

Names are relative to the URL, with slashes. Whatever goes wrong is Unreachable, a sentence; but that an object is not
there, or is there already, is Python's own error.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from errors import UserError, first_line

EXTRAS = {"s3": "pip install s3fs, or uv sync --extra s3", "gs": "pip install gcsfs", "az": "pip install adlfs"}
STAMPS = ("ETag", "etag", "generation", "LastModified", "last_modified", "mtime", "updated", "created")
TIMES = {"connect_timeout": 5, "read_timeout": 30, "retries": {"max_attempts": 2}}  # of botocore, in seconds
OPTIONS: dict[str, dict[str, Any]] = {"s3": {"config_kwargs": TIMES}}
OURS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # of this machine's disk, not of the store
MANY = 500  # objects that are asked for at a time


class Unreachable(UserError):
    """The store does not answer, or not as it should."""


class Entry(NamedTuple):
    """Of an object: its bytes, and a text that changes when it does."""

    size: int
    stamp: str


class Objects:
    """Raises UserError where the URL is of no kind that is known, or its library is not installed."""

    def __init__(self, url: str):
        self.url = url
        self._files, self._root = _opened(url)

    def find(self, under: str) -> dict[str, Entry]:
        """All objects below a name, by name."""
        with self._asked(), contextlib.suppress(FileNotFoundError):
            self._files.invalidate_cache()
            found = self._files.find(self._path(under), detail=True)
            return {name[len(self._root) + 1 :]: _entry(info) for name, info in found.items()}
        return {}

    def read(self, names: Iterable[str]) -> dict[str, bytes]:
        """The contents of those that are there; small ones."""
        with self._asked():
            paths = {self._path(name): name for name in names}
            found = self._files.cat(list(paths), on_error="return") if paths else {}
            for content in found.values():
                if isinstance(content, Exception) and not isinstance(content, FileNotFoundError):
                    raise content
        return {paths[path]: content for path, content in found.items() if isinstance(content, bytes)}

    def write(self, name: str, content: bytes) -> None:
        with self._asked(must=True):
            self._files.pipe_file(self._path(name), content)

    def create(self, name: str, content: bytes) -> bool:
        """Whether it was not there, and is now: of several that ask at once, one is told so."""
        with self._asked(must=True), contextlib.suppress(FileExistsError):
            self._files.pipe_file(self._path(name), content, mode="create")
            return True
        return False

    def fetch(self, files: dict[str, Path]) -> None:
        """Objects as files of this machine; those that are not there are left out."""
        names = list(files)
        for k in range(0, len(names), MANY):
            some = names[k : k + MANY]
            try:
                with self._asked():
                    self._files.get([self._path(name) for name in some], [str(files[name]) for name in some])
            except FileNotFoundError:
                for name in some:
                    with self._asked(), contextlib.suppress(FileNotFoundError):
                        self._files.get_file(self._path(name), str(files[name]))

    def send(self, files: dict[str, Path]) -> None:
        """Files of this machine as objects."""
        names = list(files)
        for k in range(0, len(names), MANY):
            some = names[k : k + MANY]
            with self._asked(must=True):
                self._files.put([str(files[name]) for name in some], [self._path(name) for name in some])

    def remove(self, names: Iterable[str]) -> None:
        """Those that are there."""
        with self._asked():
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    self._files.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextlib.contextmanager
    def _asked(self, must: bool = False) -> Iterator[None]:
        """`must`: what is written to has to be there."""
        try:
            yield
        except (FileNotFoundError, FileExistsError) as error:
            if must and isinstance(error, FileNotFoundError):
                raise Unreachable(f"{self.url} is not there ({first_line(error)}): make the bucket first.") from error
            raise
        except Exception as error:  # of as many kinds as there are libraries
            if getattr(error, "errno", None) in OURS:
                raise
            if isinstance(error, PermissionError) or type(error).__name__ == "NoCredentialsError":
                raise Unreachable(f"{self.url} may not be read or written by you ({first_line(error)}).") from error
            raise Unreachable(f"{self.url} cannot be reached ({first_line(error)}).") from error


def _opened(url: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    kind = url.partition(":")[0]
    try:
        files, root = url_to_fs(url, use_listings_cache=False, skip_instance_cache=True, **OPTIONS.get(kind, {}))
    except ImportError as error:
        mend = EXTRAS.get(kind, first_line(error))
        raise UserError(f"{kind}:// needs a library that is not installed: {mend}.") from None
    except ValueError as error:
        raise UserError(f"{url} is no URL of a store ({first_line(error)}).") from error
    except Exception as error:
        raise Unreachable(f"{url} cannot be reached ({first_line(error)}).") from error
    return files, root.rstrip("/")


def _entry(info: dict[str, Any]) -> Entry:
    return Entry(int(info.get("size") or 0), " ".join(str(info[name]) for name in STAMPS if info.get(name) is not None))
