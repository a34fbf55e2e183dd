"""The pages of the guide, and the command lines that they print."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

from names import COMMANDS

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for place in ("*.md", "docs/**/*.md", "world/**/*.md", "tests/**/*.md")
    for page in ROOT.glob(place)
    if page.name != "CHANGELOG.md" and "cache" not in page.parts  # it tells of commands of before
)
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`")
FORMS = re.compile(r"\{([^{}\s]*,[^{}\s]*)\}")  # vae,unet: one of these
OTHERS = {"pip", "uv", "pytest", "ruff", "mypy", "git", "export", "tensorboard"}  # programs that are not ours
SHORT = "run"  # what docs/from-your-scripts.md calls the program


class Line(NamedTuple):
    """A command: its words, the program's name first. `whole`: a line to be typed, not one that prose mentions."""

    words: tuple[str, ...]
    whole: bool

    def __str__(self) -> str:
        return shlex.join(self.words)


class Block(NamedTuple):
    """A fenced block: what it is written in, "" where it does not say, and its text."""

    language: str
    text: str


@cache
def text_of(page: Path) -> str:
    return page.read_text("utf-8")


def blocks(page: Path) -> list[Block]:
    return [Block(*found) for found in FENCE.findall(text_of(page))]


def spans(page: Path) -> list[str]:
    """What prose and tables put between backticks, on one line."""
    return [" ".join(span.split()) for span in SPAN.findall(FENCE.sub("", text_of(page)))]


def lines(page: Path) -> list[Line]:
    """All commands of a page: those of its blocks, and those that stand in its sentences."""
    typed = [
        words
        for block in blocks(page)
        if block.language in ("", "sh", "bash", "yaml")
        for words in commands(block.text)
    ]
    said = [words for span in spans(page) for words in commands(span, loose=True)]
    return [Line(words, True) for words in typed] + [Line(words, False) for words in said]


def commands(text: str, loose: bool = False) -> Iterator[tuple[str, ...]]:
    """The commands in a text, without comments, settings of the environment, and what starts them. `loose`: those of
    this program may lack its name."""
    for line in text.replace("\\\n", " ").splitlines():
        line = re.sub(r"(^|\s)#.*", "", re.sub(r"^\s*(\$|-\s|run:|-\s*run:)\s*", "", line)).strip()
        for part in re.split(r"\s&&\s", line):
            for form in product(*(found.split(",") for found in FORMS.findall(part))):
                choices = iter(form)
                yield from _command(FORMS.sub(lambda _: next(choices), part), loose)  # noqa: B023


def _command(text: str, loose: bool) -> Iterator[tuple[str, ...]]:
    try:
        words = shlex.split(text)
    except ValueError:  # a quotation mark alone: no command
        return
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words = words[1:]
    if words[:2] == ["uv", "run"]:
        words = words[2:]
    if words[:2] == ["python", "run_benchmark.py"]:
        words = words[1:]
    if loose and words[:1] == [SHORT] and words[1:2] and words[1] in COMMANDS:
        words = words[1:]
    if words[:1] == ["run_benchmark.py"] or words[:2] == ["python", "-m"] or (words[:1] and words[0] in OTHERS):
        yield tuple(words)
    elif loose and len(words) > 1 and words[0] in COMMANDS:
        yield ("run_benchmark.py", *words)
