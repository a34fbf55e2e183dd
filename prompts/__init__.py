"""The 43 prompts of Score Distillation via Reparametrized DDIM (arXiv 2405.15891): those of both suites.

paper43.txt holds one a line, the paper's typos included; the line's number is the prompt's. A prompt's id is `NN-slug`,
as in `07-a-ripe-strawberry`: it names job folders, and is the same in every suite.

held_out.txt names four of them on which settings are tuned (`run_benchmark.py sweep`): they are in no table that has a
row of tuned settings, so that no rule is judged on what it was tuned to. A prior knows all 43, they are apart for the
settings alone.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from errors import UserError
from files import read_text

HERE = Path(__file__).parent
SLUG = 40  # characters of a slug, at most


@dataclass(frozen=True)
class Prompt:
    """A text and the id `NN-slug` under which its jobs are stored."""

    id: str
    text: str


def slug(text: str) -> str:
    """Lower-case ascii words joined by '-', whole words only, at most 40 characters."""
    words = re.findall(r"[a-z0-9]+", text.lower())
    out = words[0][:SLUG]
    for word in words[1:]:
        if len(out) + 1 + len(word) > SLUG:
            break
        out += "-" + word
    return out


@cache
def paper43() -> tuple[Prompt, ...]:
    """The paper's prompts, in its order."""
    return numbered(read_text(HERE / "paper43.txt").splitlines())


def held_out() -> tuple[Prompt, ...]:
    """Those of them that settings are tuned on."""
    texts = read_text(HERE / "held_out.txt").splitlines()
    return tuple(prompt for prompt in paper43() if prompt.text in texts)


def numbered(texts: Iterable[str]) -> tuple[Prompt, ...]:
    """Prompts of texts, in order, from 01."""
    return tuple(Prompt(f"{n:02d}-{slug(text)}", text) for n, text in enumerate(texts, 1))


def find(prompts: tuple[Prompt, ...], requests: Iterable[str], where: str) -> tuple[Prompt, ...]:
    """The prompts that the requests name, in their order, each once.

    A request is `all`, a prompt's text, its id, its number, or a part of the text that no other prompt has; case does
    not matter. Raises UserError for one that names none or several, with the nearest; `where` says of what.
    """
    chosen: dict[Prompt, None] = {}
    for request in requests:
        found = prompts if request.lower() == "all" else (_one(where, prompts, request),)
        chosen.update(dict.fromkeys(found))
    return tuple(chosen)


def _one(where: str, prompts: tuple[Prompt, ...], request: str) -> Prompt:
    wanted = request.strip().lower()
    for prompt in prompts:
        if wanted in (prompt.text.lower(), prompt.id, prompt.id[:2], prompt.id[:2].lstrip("0")):
            return prompt
    parts = [p for p in prompts if wanted and (wanted in p.text.lower() or wanted in p.id)]
    if len(parts) == 1:
        return parts[0]
    if parts:
        raise UserError(f"{request!r} names {len(parts)} prompts of {where}: {_quoted(parts[:5])}; say more.")
    raise UserError(f"There is no prompt {request!r} in {where}: {_hint(prompts, wanted)}")


def _hint(prompts: tuple[Prompt, ...], wanted: str) -> str:
    by_text = {p.text.lower(): p for p in prompts}
    near = [by_text[text] for text in difflib.get_close_matches(wanted, by_text, n=3, cutoff=0.5)]
    by_word = {word: p for p in prompts for word in p.id.split("-")[1:] if len(word) > 3}
    words = [w for part in wanted.split() for w in difflib.get_close_matches(part, by_word, n=2, cutoff=0.75)]
    near = list(dict.fromkeys(near + [by_word[word] for word in words]))[:3]
    if near:
        return f"did you mean {_quoted(near)}?"
    return f"`all`, or a part of one of its {len(prompts)} texts, such as {prompts[0].text!r}."


def _quoted(prompts: Iterable[Prompt]) -> str:
    return ", ".join(repr(p.text) for p in prompts)
