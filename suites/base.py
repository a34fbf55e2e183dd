"""What a suite is: which objects are asked for, of which prior, and who judges what comes.

Nothing here imports torch: the command line knows the suites before it does anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from errors import UserError
from names import TUNED
from prompts import Prompt, find

if TYPE_CHECKING:
    from torch import Tensor

    from scene.cameras import Cameras, Render

Source = Path | str  # a folder that is shipped, or the name of a weight that `fetch` brings


class Truth(Protocol):
    """Objects whose shape and colours are known."""

    def views(self, text: str, cameras: Cameras, resolution: int, variant: int = 0) -> Render:
        """True pictures (B,3,resolution,resolution) of a variant of the prompt's object on black, premultiplied by
        opacity. Raises UserError where there is no such object."""

    def distance(self, text: str, points: Tensor, variant: int = 0) -> Tensor:
        """Signed distance of points (N,3) from the object's surface, in scene units, negative inside: (N,)."""

    def has_front(self, text: str) -> bool | None:
        """Whether a person could tell the object's front, which is at +x, from its back; None where there is no such
        object."""

    def fingerprint(self, text: str, variant: int = 0) -> str:
        """Changes when the object's shape or colours do, or what makes pictures of it; "" where there is none."""


@dataclass(frozen=True)
class Judges:
    """The models that score a suite, as sources; None for what it has none of. Where `iqa` is `clip`, the one model
    judges both."""

    clip: Source
    iqa: Source | None = None
    reward: Source | None = None
    second: Source | None = None


@dataclass(frozen=True)
class Suite:
    """`about` is its line in `list`. `tracks` names for each track, the default one first, the family of recipes that
    its rules have there (engine/recipes/tables.py). `latents` is (C,h,w) of its prior. `phi`, where it is not the
    prior, is what the students of VSD and ESD start as. `tuned_on` are prompts kept for tuning: no table of tuned
    settings has them. `first_look` are the texts of a run that names none; all prompts where there are none.
    `rehearsed` is how many prompts a rehearsal has, `gpu` whether a job at full size needs one, `megabytes` what a
    finished job keeps on disk."""

    name: str
    about: str
    prompts: tuple[Prompt, ...]
    tracks: Mapping[str, str]
    prior: Source
    latents: tuple[int, int, int]
    judges: Judges
    phi: Source | None = None
    truth: Truth | None = None
    tuned_on: tuple[Prompt, ...] = ()
    first_look: tuple[str, ...] = ()
    rehearsed: int | None = None
    gpu: bool = False
    megabytes: float = 5.0

    @property
    def track(self) -> str:
        """The default one."""
        return next(iter(self.tracks))

    def family(self, track: str) -> str:
        """The family of recipes in a track; tuned settings are of the first's. Raises UserError where the suite lacks
        it."""
        track = self.track if track == TUNED else track
        if track not in self.tracks:
            raise UserError(
                f"The {self.name} suite has no {track} track: its gradients have not been measured; "
                f"use --track {self.track}."
            )
        return self.tracks[track]

    def select(self, requests: Iterable[str]) -> tuple[Prompt, ...]:
        """The prompts that the requests name: `all`, texts, ids, numbers, or parts of texts. Raises UserError for one
        that names none or several, with the nearest."""
        return find(self.prompts, requests, f"the {self.name} suite")
