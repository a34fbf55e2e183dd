"""What a metric is: a function of a job's views that gives a number a view, and all that others must know of it.

A metric is declared in its own file beside its function, and listed in `eval.metrics`. Tables, scores.csv, stamps, the
gate and sweeps read it from there.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from jaxtyping import Float

from eval.views import Pictures
from files import read_text
from sources import digest_of_code, digest_of_module, file_of

if TYPE_CHECKING:
    from torch import Tensor  # tables are made without

ROOMS = ("eval", "priors", "scene")  # whose code a metric's numbers come from
Result = TypeVar("Result")


@dataclass(frozen=True)
class Column:
    """What a table shows. `better` is "up", "down" or "one" (nearest to 1), None where no direction is. `margin` is a
    change that nobody would overlook, in the column's unit: the gate looks at a quarter of it. `bounds` are those of a
    value; of what is in per cent, 0 and 100 unless said. `about` says to a reader what it is."""

    key: str
    title: str
    unit: str
    better: Literal["up", "down", "one"] | None
    decimals: int
    margin: float = 0.0
    bounds: tuple[float, float] | None = field(default=None, kw_only=True)
    about: str = field(default="", kw_only=True)

    @property
    def limits(self) -> tuple[float, float]:
        """Between what all values lie."""
        return self.bounds or ((0.0, 100.0) if self.unit == "%" else (-math.inf, math.inf))

    @property
    def arrow(self) -> str:
        return {"up": "↑", "down": "↓", "one": "→1", None: ""}[self.better]

    @property
    def heading(self) -> str:
        """Title, unit and arrow."""
        return " ".join(part for part in (self.title, f"({self.unit})" if self.unit else "", self.arrow) if part)


class Seen:
    """A job's views as metrics see them. What several metrics share is computed once.

    `number` is the prompt's among the suite's; `truth`, where it is known, an `eval.truth.Truth`; `has_front`, whether
    the object's front can be told from its back, None where nobody knows.
    """

    def __init__(
        self, pictures: Pictures, prompts: tuple[str, ...], number: int, judges: Mapping[str, Any], truth: Any = None,
        read: dict[Any, Tensor] | None = None, has_front: bool | None = None,
    ):  # fmt: skip
        self.rgb, self.opacity, self.depths = pictures
        self.prompts, self.prompt, self.number = prompts, prompts[number], number
        self.judges, self._truth, self.has_front = judges, truth, has_front
        self._read = {} if read is None else read  # features of texts, which jobs share
        self._done: dict[Any, Any] = {}

    def once(self, function: Callable[[Seen], Result]) -> Result:
        """What a function says of these views, computed at its first call."""
        if function not in self._done:
            self._done[function] = function(self)
        return self._done[function]

    def depth(self, side: int | None = None) -> Float[Tensor, "V 1 S S"]:
        """How far along its ray what a pixel shows lies, in scene units, infinite where it is not solid: at the size of
        the views, or of `side` pixels an edge."""
        assert self.depths is not None
        side = side or self.rgb.shape[-1]
        if ("depth", side) not in self._done:
            self._done["depth", side] = self.depths.at(side)
        return self._done["depth", side]

    def image(self, judge: str = "clip") -> Float[Tensor, "V D"]:
        """Unit features of the views."""
        encoder = self.judges[judge]
        if id(encoder) not in self._done:
            self._done[id(encoder)] = encoder.images(self.rgb)
        return self._done[id(encoder)]

    def texts(self, texts: tuple[str, ...], judge: str = "clip") -> Float[Tensor, "N D"]:
        """Unit features of texts."""
        encoder = self.judges[judge]
        if (id(encoder), texts) not in self._read:
            self._read[id(encoder), texts] = encoder.texts(list(texts))
        return self._read[id(encoder), texts]

    def candidates(self, judge: str = "clip") -> Float[Tensor, "N D"]:
        """Unit features of the suite's N prompts."""
        return self.texts(self.prompts, judge)

    def text(self, judge: str = "clip") -> Float[Tensor, " D"]:
        """Unit features of the job's own prompt."""
        return self.candidates(judge)[self.number]

    def truth(self) -> tuple[Float[Tensor, "K V 3 H W"], Float[Tensor, "K V 1 H W"]]:
        """The true views of K variants: rgb, premultiplied, on black, and opacity."""
        return self._truth(self.prompt)

    def shape(self) -> Any:
        """The true object in space, an `eval.truth.Shape`."""
        return self._truth.shape(self.prompt)


@dataclass(frozen=True)
class Metric(Column):
    """`function` gives a number a view, NaN where it has no meaning. A metric whose `needs` are not there is left out:

    clip, iqa, clip2, reward   a judge: CLIP, that of CLIP-IQA, a second CLIP, ImageReward
    asked                      the second CLIP was asked for by name
    candidates                 the suite's prompts, where it ranks them
    directions                 objects whose fronts and backs are words alone: none is known
    opacity                    of the views
    pyiqa:musiq, ...           a judge in an environment of its own (eval.outside), asked for by name
    truth, variants            true views; those of several variants
    depth                      of the views
    shape                      the true object in space

    What it `regards` is not needed, and changes its numbers where it is known:

    front                      whether the object has a front

    Raise `version` where numbers change for a reason that code and judges do not show. `group`: a column of the paper's
    Table 1, one that it lacks ("more"), or one for scores.csv alone ("hidden").
    """

    needs: tuple[str, ...] = ()
    regards: tuple[str, ...] = field(default=(), kw_only=True)
    function: Callable[[Seen], Float[Tensor, " V"]] = lambda seen: seen.rgb.mean((1, 2, 3))
    version: int = 1
    group: Literal["paper", "more", "hidden"] = "more"

    @property
    def code(self) -> str:
        """The checksum of what the function's file says, and of what that uses."""
        return code_of(self.function)


def code_of(function: Callable[..., Any] | type) -> str:
    """16 hex digits of the code of a function's or class's file: in the house with all it uses of ROOMS."""
    module = function.__module__
    if Path(inspect.getsourcefile(sys.modules[module]) or "") == file_of(module):
        return digest_of_module(module, ROOMS)[:16]
    return digest_of_code([read_text(Path(inspect.getsourcefile(function) or ""))])[:16]
