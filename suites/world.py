"""The known world: toys of known shape and colour, with small models of their own, all shipped. A CPU will do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from files import ROOT
from prompts import held_out, paper43
from sources import digest_of_module
from suites.base import Judges, Suite

if TYPE_CHECKING:
    from torch import Tensor

    from scene.cameras import Cameras, Render

MODELS = ROOT / "world" / "models"


class Toys:
    """The toys' truth, from the world's own renderer, which is imported where it is asked."""

    def views(self, text: str, cameras: Cameras, resolution: int, variant: int = 0) -> Render:
        import world

        return world.truth_views(text, cameras, resolution, variant)

    def distance(self, text: str, points: Tensor, variant: int = 0) -> Tensor:
        from world.objects import OBJECTS
        from world.sdf import distance

        return distance(OBJECTS[text].parts(variant), points)

    def has_front(self, text: str) -> bool | None:
        from world.objects import OBJECTS

        return OBJECTS[text].has_front if text in OBJECTS else None

    def fingerprint(self, text: str, variant: int = 0) -> str:
        from world.dataset import fingerprint
        from world.objects import OBJECTS

        drawn = digest_of_module("world.trace", ("world", "scene"))
        return f"{fingerprint(text, variant)} {drawn}" if text in OBJECTS else ""


WORLD = Suite(
    name="world",
    about="toys of known shape and their own small prior; a CPU will do",
    prompts=paper43(),
    tracks={"controlled": "controlled", "paper": "published-small"},
    prior=MODELS / "tiny-sd",
    latents=(8, 16, 16),
    judges=Judges(MODELS / "tiny-clip", MODELS / "tiny-clip", MODELS / "tiny-reward", MODELS / "tiny-clip-2"),
    truth=Toys(),
    tuned_on=held_out(),
    first_look=(  # each has a front and a back to show
        "A plush dragon toy",
        "A DSLR photo of a white fluffy cat",
        "An astronaut",
        "A viking panda with an axe",
    ),
)
