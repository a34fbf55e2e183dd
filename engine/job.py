"""A job: one recipe, one prompt, one seed. Its key says what it computes, its folder where the result lies. And what
all jobs of a run share.

Jobs of one seed and another prompt draw other numbers: were times and cameras the same, a seed would move all prompts
alike, and a table's intervals, which take prompts as independent, would hold of that one seed alone.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from engine.recipes.base import Recipe
from engine.recipes.outside import source_of
from prompts import Prompt


def stream_of(seed: int, prompt: str) -> int:
    """What random numbers start from, 32 bits, of a seed and a prompt's text: no two prompts of a seed share them."""
    return int.from_bytes(hashlib.sha256(f"{seed} {prompt}".encode()).digest()[:4], "big")


@dataclass(frozen=True)
class Job:
    recipe: Recipe
    prompt: Prompt
    seed: int

    @cached_property
    def path(self) -> Path:
        """`<recipe>/<NN-slug>/<seed>`, relative to the run."""
        return Path(self.recipe.name, self.prompt.id, str(self.seed))

    @cached_property
    def stream(self) -> int:
        """What its random numbers start from: the methods of a table share it."""
        return stream_of(self.seed, self.prompt.text)

    @property
    def settings(self) -> dict[str, Any]:
        """What the job is, but for the prior's weights, as JSON has it."""
        recipe, prompt = self.recipe.settings, self.prompt.text
        return {"recipe": recipe, "prompt": prompt, "seed": self.seed, "stream": self.stream}

    def key(self, prior: str) -> str:
        """Twelve hex digits of all that decides the scene: the settings, what the rule's code says, and `prior`, the
        checksum of the weights, with what else `engine.plan.decided` knows. Equal keys, equal scenes. From where they
        are seen, the orbit, is not in it."""
        prompt, rest = json.dumps(self.prompt.text), json.dumps([source_of(self.recipe.method), prior])
        job = f'{{"prompt": {prompt}, "recipe": {self.recipe.decides}, "stream": {self.stream}}}'
        text = f"[{job}, {rest[1:]}"
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Setup:
    """What all processes of a run share."""

    prior: str  # as engine.prior opens it
    device: str
    threads: int
    together: int = 1  # scenes that a process optimises side by side
    checkpoint_seconds: float = 20.0
