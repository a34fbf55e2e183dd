"""Faults of the kinds that a change of the code may bring, each put in place of what is right, in this process. The
gate knows nothing of this list; `planted.py` tries them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch as put

import torch
import torch.nn.functional as F
from torch import Tensor

import engine.training
import engine.views
import eval.score
import methods.sdi
import methods.sds
import methods.target
import priors.guidance
from methods.timesteps import linear
from priors.guidance import guided_eps
from priors.schedule import Schedule
from priors.stable_diffusion import StableDiffusion
from scene.cameras import Render
from scene.nerf import NeRF

TRAINING, VIEWS, SCORING = "training", "views", "scoring"
ALL, SDI = ("sds", "sdi"), ("sdi",)
SCALE = 0.18215  # of Stable Diffusion's latents
LEAK = 0.2  # of the background that shows through what is solid
SWAPPED = "A ripe strawberry"


@dataclass(frozen=True)
class Defect:
    """`plant` puts the fault in place of what is right, in this process; what it touches is done again."""

    name: str
    where: str
    plant: Callable[[], None]
    methods: tuple[str, ...] = ALL
    prompts: int | None = None  # how many of the prompts it touches; None: all
    room: str = "methods"  # whose code it changes, so that its tests are tried first


def _stays(target: Any, name: str, made: Any) -> None:
    put.object(target, name, made).start()


def _guided(change: Callable[[float], float]) -> Callable[[], None]:
    """CFG of another scale, wherever a rule asks for it."""

    def changed(prior: Any, x_t: Tensor, t: Tensor, text: Any, cameras: Any, scale: float, perp_neg: bool = False):
        return guided_eps(prior, x_t, t, text, cameras, change(scale), perp_neg)

    def plant() -> None:
        for module in (methods.sds, methods.target):
            _stays(module, "guided_eps", changed)

    return plant


def _alpha_off() -> None:
    right = Schedule.at
    _stays(Schedule, "at", lambda self, t: right(self, (t + 100).clamp(max=len(self) - 1)))


def _not_inverted() -> None:
    from priors.schedule import randn_like

    _stays(methods.sdi, "inverted", lambda views, *rest, **more: randn_like(views.x0, views.rng))


def _no_eta() -> None:
    right = methods.sdi.randn_like
    _stays(methods.sdi, "randn_like", lambda x, rng: 0 * right(x, rng))


def _inverted_the_other_way() -> None:
    right = methods.sdi.inverted
    _stays(methods.sdi, "inverted", lambda views, prior, grid, scale, *rest: right(views, prior, grid, -scale, *rest))


def _time(change: Callable[[Any, float, float], float]) -> Callable[[], None]:
    """SDI's t by another schedule, of views, start and end."""

    def falling(views: Any, t_range: tuple[float, float]) -> Tensor:
        return torch.full((len(views.x0),), change(views, *t_range), dtype=torch.float64)

    return lambda: _stays(methods.sdi, "falling_time", falling)


def _any_time(views: Any, start: float, end: float) -> float:
    return end + (start - end) * float(torch.rand((), generator=views.rng))


def _rate(factor: float) -> Callable[[], None]:
    right = NeRF.parameter_groups
    return lambda: _stays(NeRF, "parameter_groups", lambda self, lr: right(self, factor * lr))


def _condition(made: Callable[[Any, Any], Tensor]) -> Callable[[], None]:
    return lambda: _stays(priors.guidance, "condition", made)


def _turned(text: Any, cameras: Any) -> Tensor:
    from priors.text import condition

    return condition(text, replace(cameras, azimuth=cameras.azimuth + 180))


def _unscaled() -> None:
    """The latents of Stable Diffusion are scaled by .18215, the shipped prior's by 1: without it they are 1 / .18215
    of what they should be."""
    right = StableDiffusion.encode
    _stays(StableDiffusion, "encode", lambda self, image, rng: right(self, image, rng) / SCALE)


def _leaking() -> None:
    behind, render, seen = NeRF._behind, NeRF.render, {}

    def kept(self: NeRF, *rest: Any) -> Any:
        seen["behind"] = behind(self, *rest)
        return seen["behind"]

    def leaking(self: NeRF, *rest: Any, **more: Any) -> Render:
        made = render(self, *rest, **more)
        rgb = made.rgb + LEAK * made.opacity * (seen["behind"] - made.rgb)
        return replace(made, rgb=rgb)

    _stays(NeRF, "_behind", kept)
    _stays(NeRF, "render", leaking)


def _unregularised() -> None:
    for name in ("sparsity", "opaque"):
        engine.training.REGULARIZERS[name] = lambda render, cameras: render.opacity.sum() * 0.0


def _stale_occupancy() -> None:
    right = NeRF.update
    _stays(NeRF, "update", lambda self, *rest: right(self, *rest) if int(self.updates) == 0 else self.updates.add_(1))


def _swapped() -> None:
    right = engine.training.make_text
    _stays(engine.training, "make_text", lambda prior, prompt, *rest: right(prior, SWAPPED, *rest))


def _pictures(change: Callable[[Tensor], Tensor], opacity: bool = False) -> Callable[[], None]:
    """The views that are scored, as if rendered otherwise."""

    def plant() -> None:
        right = engine.views.render

        def changed(*rest: Any, **more: Any) -> Render:
            made = right(*rest, **more)
            alpha = change(made.opacity) if opacity else made.opacity
            return Render(change(made.rgb), alpha, made.depth)

        _stays(engine.views, "render", changed)

    return plant


def _blurred(image: Tensor) -> Tensor:
    """A Gaussian of one pixel."""
    x = torch.arange(-3.0, 4.0)
    line = torch.exp(-(x**2) / 2)
    kernel = (line[:, None] * line) / line.sum() ** 2
    channels = image.shape[1]
    padded = F.pad(image, (3, 3, 3, 3), mode="replicate")
    return F.conv2d(padded, kernel.expand(channels, 1, 7, 7), groups=channels)


def _resized_twice(image: Tensor) -> Tensor:
    size = image.shape[-2:]
    half = F.interpolate(image, scale_factor=0.5, mode="bilinear", antialias=True)
    return F.interpolate(half, size, mode="bilinear")


def _another_prompt() -> None:
    right = eval.score.Scorer.number
    _stays(eval.score.Scorer, "number", lambda self, prompt_id: (right(self, prompt_id) + 1) % len(self.prompts))


DEFECTS = (
    Defect("CFG's sign flipped", TRAINING, _guided(lambda s: -s)),
    Defect("CFG off", TRAINING, _guided(lambda s: 1.0)),
    Defect("CFG halved", TRAINING, _guided(lambda s: s / 2)),
    Defect("alpha's index off by 100", TRAINING, _alpha_off, room="priors"),
    Defect("noise not inverted", TRAINING, _not_inverted, SDI),
    Defect("inversion's sign flipped", TRAINING, _inverted_the_other_way, SDI),
    Defect("eta 0", TRAINING, _no_eta, SDI),
    Defect("t not annealed", TRAINING, _time(_any_time), SDI),
    Defect("t upwards", TRAINING, _time(lambda views, start, end: linear(views.progress, end, start)), SDI),
    Defect("learning rate halved", TRAINING, _rate(0.5), room="scene"),
    Defect("learning rate tenfold", TRAINING, _rate(10.0), room="scene"),
    Defect(
        "view prompts off",
        TRAINING,
        _condition(lambda text, cameras: text.plain.expand(len(cameras), -1, -1)),
        room="priors",
    ),
    Defect("view prompts turned by 180", TRAINING, _condition(_turned), room="priors"),
    Defect("VAE's scale missing", TRAINING, _unscaled, room="priors"),
    Defect("background leaks into the object", TRAINING, _leaking, room="scene"),
    Defect("opacity's regularisers dropped", TRAINING, _unregularised, room="engine"),
    Defect("occupancy never refreshed", TRAINING, _stale_occupancy, room="scene"),
    Defect("views blurred by 1", VIEWS, _pictures(_blurred), room="engine"),
    Defect("views mirrored", VIEWS, _pictures(lambda x: x.flip(-1), opacity=True), room="engine"),
    Defect("images resized twice", VIEWS, _pictures(_resized_twice), room="engine"),
    Defect("wrong prompt scored", SCORING, _another_prompt, room="eval"),
    Defect("one prompt replaced", TRAINING, _swapped, ALL, 1, room="engine"),
    Defect("contrast .8", VIEWS, _pictures(lambda x: 0.5 + 0.8 * (x - 0.5)), room="engine"),
    Defect("shift by 2 pixels", VIEWS, _pictures(lambda x: x.roll(2, -1), opacity=True), room="engine"),
)
SLUG = {"".join(c if c.isalnum() else "-" for c in d.name).replace("--", "-").strip("-").lower(): d for d in DEFECTS}
