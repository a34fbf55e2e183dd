"""The 43 prompts of Score Distillation via Reparametrized DDIM (arXiv 2405.15891): those of both suites.

paper43.txt holds one a line, the paper's typos included; the line's number is the prompt's. A prompt's id is `NN-slug`,
as in `07-a-ripe-strawberry`: it names job folders, and is the same in every suite.

held_out.txt names four of them on which settings are tuned (`run_benchmark.py sweep`): they are in no table that has a
row of tuned settings, so that no rule is judged on what it was tuned to. A prior knows all 43, they are apart for the
settings alone.

Prompts of one's own have no number, and no truth in any suite.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from errors import UserError
from files import read_text
from prompts.lists import is_list, normal, texts_of
from prompts.named import texts_named

HERE = Path(__file__).parent
SLUG = 40  # characters of a slug, at most
OWN = "own"  # what the id of a prompt of one's own begins with
TYPO = 0.85  # likeness to a prompt from which on a text is a slip of it, and no prompt of one's own


@dataclass(frozen=True)
class Prompt:
    """A text and the id under which its jobs are stored: `NN-slug`, or `own-slug-checksum` of a prompt of one's own."""

    id: str
    text: str

    @property
    def number(self) -> str:
        """Two digits; of a prompt of one's own, which has none, a word."""
        return self.id.partition("-")[0]


def slug(text: str) -> str:
    """Lower-case ascii words joined by '-', whole words only, at most 40 characters."""
    words = re.findall(r"[a-z0-9]+", text.lower())
    out = "".join(words[:1])[:SLUG]  # nothing of a text in other letters
    for word in words[1:]:
        if len(out) + 1 + len(word) > SLUG:
            break
        out += "-" + word
    return out


def own(text: str) -> Prompt:
    """A prompt of one's own. Its id is of its text alone, the same in every run. Raises UserError for what is no
    text."""
    text = " ".join(text.split())
    try:
        checksum = hashlib.sha256(text.encode()).hexdigest()[:6]
    except UnicodeEncodeError:
        raise UserError(f"The prompt {text!r} is no text: give it in UTF-8.") from None
    parts = (OWN, slug(text), checksum)
    return Prompt("-".join(filter(None, parts)), text)


def is_own(prompt_id: str) -> bool:
    """Whether an id is that of a prompt of one's own, of which no suite knows the truth."""
    return prompt_id.startswith(f"{OWN}-")


def known_or_own(prompts: Iterable[Prompt], text: str) -> Prompt:
    """The prompt of that text, whatever its case and quotation marks; else one of one's own."""
    return {normal(p.text): p for p in prompts}.get(normal(text)) or own(text)


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
    not matter. It may also be a file of texts (`prompts.lists`), the name of a list (`prompts.named`), or a text of
    one's own: of several words, or in other letters than ours, and not so near to a prompt that it is a slip. Raises
    UserError for one that names none or several, with the nearest; `where` says of what.
    """
    return tuple(dict.fromkeys(listed(prompts, requests, where)))


def listed(prompts: tuple[Prompt, ...], requests: Iterable[str], where: str) -> tuple[Prompt, ...]:
    """The same, with those that a file has twice: where numbers count its lines, each is in its place."""
    return tuple(prompt for request in requests for prompt in _found(where, prompts, request))


def _found(where: str, prompts: tuple[Prompt, ...], request: str) -> Iterable[Prompt]:
    if request.lower() == "all":
        return prompts
    if is_list(request):
        return [known_or_own(prompts, text) for text in texts_of(Path(request))]
    if (texts := texts_named(request)) is not None:
        return [known_or_own(prompts, text) for text in texts]
    return [_one(where, prompts, request)]


def _one(where: str, prompts: tuple[Prompt, ...], request: str) -> Prompt:
    wanted = normal(request)
    for prompt in prompts:
        if wanted in (normal(prompt.text), prompt.id, prompt.number, prompt.number.lstrip("0")):
            return prompt
    parts = [p for p in prompts if wanted and (wanted in p.text.lower() or wanted in p.id)]
    if len(parts) == 1:
        return parts[0]
    if parts:
        raise UserError(f"{request!r} names {len(parts)} prompts of {where}: {_quoted(parts[:5])}; say more.")
    if _stands_alone(wanted, prompts):
        return own(request)
    raise UserError(f"There is no prompt {request!r} in {where}: {_hint(prompts, wanted)}")


def _stands_alone(wanted: str, prompts: Iterable[Prompt]) -> bool:
    """Whether a text can be nothing but a prompt of one's own: one word is a name that nobody has."""
    texts = [normal(p.text) for p in prompts]
    several = " " in wanted or (not wanted.isascii() and wanted != "")
    return several and not difflib.get_close_matches(wanted, texts, n=1, cutoff=TYPO)


def _hint(prompts: tuple[Prompt, ...], wanted: str) -> str:
    by_text = {p.text.lower(): p for p in prompts}
    near = [by_text[text] for text in difflib.get_close_matches(wanted, by_text, n=3, cutoff=0.5)]
    by_word = {word: p for p in prompts for word in p.id.split("-")[1:] if len(word) > 3}
    words = [w for part in wanted.split() for w in difflib.get_close_matches(part, by_word, n=2, cutoff=0.75)]
    near = list(dict.fromkeys(near + [by_word[word] for word in words]))[:3]
    if near:
        return f"did you mean {_quoted(near)}? A prompt of your own so near to one of these goes into a FILE.txt."
    return f"`all`, or a part of one of its {len(prompts)} texts, such as {prompts[0].text!r}."


def _quoted(prompts: Iterable[Prompt]) -> str:
    return ", ".join(repr(p.text) for p in prompts)
