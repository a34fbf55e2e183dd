"""Which prompt the name of a folder or a file means, which method, and which seed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from errors import UserError
from prompts import Prompt, slug
from prompts.lists import normal

GENERIC = {
    "views", "view", "rgb", "color", "colour", "images", "image", "renders", "render", "renderings", "frames", "save",
    "model", "mesh", "object", "textured", "video", "turntable", "output", "export", "test",
}  # fmt: skip
SEED = re.compile(r"(?:seed|s)?[-_ =]?(\d{1,18})", re.IGNORECASE | re.ASCII)
STAMP = re.compile(r"@\d{8}-\d{6}$")  # that threestudio puts behind a run's name
LEAST = 12  # letters that a name must have to be the start of a prompt


class Place(NamedTuple):
    """Where an object stands in a run."""

    method: str
    prompt: Prompt
    seed: int

    @property
    def path(self) -> Path:
        return Path(self.method, self.prompt.id, str(self.seed))


@dataclass(frozen=True)
class Names:
    """Of `prompts`, in the order in which numbers count them; `given` says whether they are the user's own list."""

    prompts: tuple[Prompt, ...]
    given: bool = False
    _known: dict[str, Prompt] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for spelt in (lambda p: slug(p.text), lambda p: p.text, lambda p: p.id):  # the last is the surest
            means: dict[str, set[Prompt]] = {}
            for p in self.prompts:
                means.setdefault(_words(spelt(p)), set()).add(p)
            self._known.update({key: ps.pop() for key, ps in means.items() if key and len(ps) == 1})

    def of(self, name: str) -> Prompt | None:
        """The prompt that a name means: its text or id with whatever stands between the words, without its number or
        behind another, or, of a long text, its start; None where it means none, or several."""
        said = _words(STAMP.sub("", name))
        bare = re.sub(r"^\d+ (?=\D)", "", said)
        if found := self._known.get(said) or self._known.get(bare):
            return found
        begun = {p for key, p in self._known.items() if len(bare) >= LEAST and key.startswith(bare)}
        return begun.pop() if len(begun) == 1 else None

    def place(self, root: str, parts: Sequence[str], method: str | None) -> Place:
        """By the last part that names a prompt: what follows may be a seed, or a method; what is before is the method.
        Raises UserError where none does."""
        full = [root, *parts]
        for i in reversed(range(len(full))):
            if (prompt := self.of(full[i])) is not None:
                seeds = [m for part in full[i + 1 :] if (m := SEED.fullmatch(part))]
                named = [p for p in full[i + 1 :] if not SEED.fullmatch(p) and p.lower() not in GENERIC]
                before = [p for p in full[:i] if p.lower() not in GENERIC] or [root]
                return Place(method or (named or before[::-1])[0], prompt, int(seeds[0][1]) if seeds else 0)
        raise UserError(self.unknown(parts))

    def unknown(self, parts: Sequence[str]) -> str:
        """That no part of a path names a prompt, with the nearest."""
        if self.given:
            return f"no folder or file name in it is one of the {len(self.prompts)} prompts given"
        words = [_words(p) for p in parts if not SEED.fullmatch(p) and p.lower() not in GENERIC]
        near = [key for word in words for key in difflib.get_close_matches(word, self._known, 1)]
        hint = f"did you mean {self._known[near[-1]].text!r}? Else " if near else ""
        return f"no folder or file name in it is a prompt of the suite: {hint}give --prompts FILE with your own"


def _words(text: str) -> str:
    """Letters and digits alone, with single spaces: what is left of a text in a file's name."""
    return " ".join(re.findall(r"[^\W_]+", normal(text)))
