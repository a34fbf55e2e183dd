"""The one way to the terminal: text as it is, whatever brackets a path has, on whatever the terminal can print."""

from __future__ import annotations

import codecs
import sys

from rich.console import Console as Console

PLAIN = {
    "↑": "^",
    "↓": "v",
    "→": "->",
    "κ": "kappa",
    "σ": "sigma",
    "±": "+-",
    "×": "x",
    "·": "-",
    "°": " deg",
    "…": "...",
}


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """What an encoding lacks, in letters that every one has."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(PLAIN.get(c, "?") for c in error.object[error.start : error.end]), error.end


codecs.register_error("plainly", _plainly)


def prepare() -> None:
    """Before anything is printed: a character that the terminal's encoding lacks must not end the program."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="plainly")


def say(console: Console, text: object, style: str | None = None) -> None:
    """A line of text, never read as markup, never broken (a path must be copied whole)."""
    console.print(str(text), style=style, highlight=False, markup=False, soft_wrap=True)
