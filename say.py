"""The one way to the terminal: text as it is, whatever brackets a path has, on whatever the terminal can print."""

from __future__ import annotations

import codecs
import os
import sys
import threading
import unicodedata

from rich.console import Console as Console
from rich.text import Text

PLAIN = {
    "↑": "^",
    "↓": "v",
    "→": "->",
    "κ": "kappa",
    "σ": "sigma",
    "±": "+-",
    "†": "*",
    "×": "x",
    "·": "-",
    "°": " deg",
    "…": "...",
}


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """What an encoding lacks, in letters that every one has."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(PLAIN.get(c) or _bare(c) for c in error.object[error.start : error.end]), error.end


def _bare(character: str) -> str:
    """A letter without its accents; ? for what is no letter of ours."""
    return unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode() or "?"


codecs.register_error("plainly", _plainly)


def prepare() -> None:
    """Before anything is printed: a character that the terminal's encoding lacks must not end the program."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="plainly")


def one_line(text: object) -> str:
    """A text without line ends and what else a terminal would obey: what others named may hold anything."""
    return "".join(c if c.isprintable() else " " for c in str(text))


def _obeyed(text: object) -> str:
    """The same, but for line ends and tabs."""
    return "".join(c if c.isprintable() or c in "\n\t" else " " for c in str(text))


def say(console: Console, text: object, style: str | None = None, wrap: bool = False) -> None:
    """A text, never read as markup. A line is not broken, so that a path can be copied whole, unless it may `wrap`."""
    console.print(_obeyed(text), style=style, highlight=False, markup=False, soft_wrap=not wrap)


def shortened(names: list[str], most: int = 6) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def plain(text: object) -> Text:
    """A text for a table, a bar or a status, which would read a string as markup."""
    return Text(_obeyed(text))


def leave(code: int) -> None:
    """End the program where a rule from a file left threads running: Python would wait for them."""
    main = threading.main_thread()
    if threading.current_thread() is main and any(t is not main and not t.daemon for t in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)
