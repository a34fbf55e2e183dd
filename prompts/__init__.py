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

SUITES = ("paper", "world")
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
def load(suite: str) -> tuple[Prompt, ...]:
    """The prompts of a suite, in the paper's order. Raises UserError for another suite."""
    if suite not in SUITES:
        raise UserError(f"There is no suite {suite!r}: use {' or '.join(SUITES)}.")
    lines = Path(__file__).with_name("paper43.txt").read_text("utf-8").splitlines()
    return tuple(Prompt(f"{n:02d}-{slug(text)}", text) for n, text in enumerate(lines, 1))


def held_out(suite: str) -> tuple[Prompt, ...]:
    """The prompts of a suite that settings are tuned on, and that tables of tuned settings leave out."""
    texts = Path(__file__).with_name("held_out.txt").read_text("utf-8").splitlines()
    return tuple(prompt for prompt in load(suite) if prompt.text in texts)


def select(suite: str, requests: Iterable[str]) -> tuple[Prompt, ...]:
    """The prompts that the requests name, in their order, each once.

    A request is `all`, a prompt's text, its id, its number, or a part of the text that no other prompt has; case does
    not matter. Raises UserError for one that names none or several, with the nearest.
    """
    prompts = load(suite)
    chosen: dict[Prompt, None] = {}
    for request in requests:
        found = prompts if request.lower() == "all" else (_one(suite, prompts, request),)
        chosen.update(dict.fromkeys(found))
    return tuple(chosen)


def _one(suite: str, prompts: tuple[Prompt, ...], request: str) -> Prompt:
    wanted = request.strip().lower()
    for prompt in prompts:
        if wanted in (prompt.text.lower(), prompt.id, prompt.id[:2], prompt.id[:2].lstrip("0")):
            return prompt
    parts = [p for p in prompts if wanted and (wanted in p.text.lower() or wanted in p.id)]
    if len(parts) == 1:
        return parts[0]
    if parts:
        raise UserError(f"{request!r} names {len(parts)} prompts of the {suite} suite: {_quoted(parts[:5])}; say more.")
    raise UserError(f"There is no prompt {request!r} in the {suite} suite: {_hint(prompts, wanted)}")


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
