"""View-dependent prompts: the words that say from where an object is seen, and which of them a camera gets.

Alphabet: text (B,L,D) embeddings; azimuth, elevation in degrees. Azimuth is 0 in front of the object and grows
counter-clockwise seen from above, so that +90 looks at its left side.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from priors.base import Prior, Text
from scene.cameras import Cameras

# DreamFusion (2209.14988, section 3.2) in threestudio's words and order
COARSE = {"side": ", side view", "front": ", front view", "back": ", back view", "overhead": ", overhead view"}

# SJC's (2212.00774), before the prompt, in threestudio's words and the same order
BEFORE = ("side view of ", "front view of ", "backside view of ", "overhead view of ")

# eight finer words, at azimuth 0, 45, ... 315
SECTORS = (
    ", seen from the front",
    ", seen from the front left",
    ", seen from the left",
    ", seen from the back left",
    ", seen from the back",
    ", seen from the back right",
    ", seen from the right",
    ", seen from the front right",
)


@dataclass(frozen=True)
class ViewWords:
    """How a prompt says from where its object is seen: by words before it (BEFORE) or behind it (COARSE), and how far
    from the front, and from the back, in degrees, a camera still gets these."""

    front: float = 45.0
    back: float = 45.0
    before: bool = False


DEFAULT = ViewWords()


def make_text(prior: Prior, prompt: str, negative: str = "", words: ViewWords = DEFAULT) -> Text:
    """Embed a prompt once, plain and with each view word the prior knows. `negative` is the unconditional text; where
    there is one, the empty prompt is embedded beside it."""
    coarse = [w + prompt for w in BEFORE] if words.before else [prompt + w for w in COARSE.values()]
    fine = [prompt + w for w in SECTORS] if prior.view_words == "sectors" else []
    uncond, plain, side, front, back, overhead, *sectors = prior.embed([negative, prompt, *coarse, *fine]).split(1)
    null = prior.embed([""]) if negative else None
    finer, sides = torch.cat(sectors) if sectors else None, (words.front, words.back)
    return Text(uncond, plain, front, side, back, overhead, finer, null, sides)


def wrapped(azimuth: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The same azimuth in [-180, 180)."""
    return (azimuth + 180) % 360 - 180


def view_index(cameras: Cameras, front: float = 45.0, back: float = 45.0, overhead: float = 60.0) -> Int[Tensor, " B"]:
    """Which of COARSE each camera sees. All tests are strict, and overhead wins:
    front |azimuth| < front, back |azimuth| > 180 - back, overhead elevation > overhead, side elsewhere."""
    azimuth = wrapped(cameras.azimuth).abs()
    index = torch.zeros_like(azimuth, dtype=torch.long)
    index[azimuth < front] = 1
    index[azimuth > 180 - back] = 2
    index[cameras.elevation > overhead] = 3
    return index


def condition(text: Text, cameras: Cameras) -> Float[Tensor, "B L D"]:
    """The embedding each camera gets: its coarse view word, or, where the text has sectors, the linear interpolation
    of the two neighbouring ones by azimuth (overhead stays a word of its own)."""
    index = view_index(cameras, *text.sides).to(text.plain.device)
    coarse = torch.cat([text.side, text.front, text.back, text.overhead])[index]
    if text.sectors is None:
        return coarse
    place = (cameras.azimuth.to(text.plain.device) % 360) * len(text.sectors) / 360
    left = place.floor()
    between = (place - left).to(text.sectors).view(-1, 1, 1)
    left = left.long() % len(text.sectors)
    fine = torch.lerp(text.sectors[left], text.sectors[(left + 1) % len(text.sectors)], between)
    return torch.where((index == 3).view(-1, 1, 1), coarse, fine)
