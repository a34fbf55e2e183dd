"""What a training picture is called: its prompt, and from where it is seen, in coarse and in fine words.

A caption is a mixture of two texts, `first` and `second`, by a `share` in [0, 1] of the second: neighbouring sectors
are mixed by azimuth, in training as in distillation (`priors.text.condition`), so that the condition is nearly
continuous. Parts are dropped: 10 % of the captions are empty, as classifier-free guidance needs (2207.12598).
"""

from __future__ import annotations

import torch

from priors.text import COARSE, SECTORS

EMPTY, PLAIN, COARSE_SHARE = 0.10, 0.08, 0.22  # shares of the captions; the rest name a sector


def every_caption(prompts: list[str]) -> list[str]:
    """All texts that a caption may use: the vocabulary that the tokenizer is trained on."""
    words = ["", *COARSE.values(), *SECTORS]
    return ["", *(prompt + word for prompt in prompts for word in words)]


def caption(prompt: str, azimuth: float, view: int, rng: torch.Generator) -> tuple[str, str, float]:
    """(first, second, share) of one training picture, from its azimuth in degrees and its `priors.text.view_index`."""
    u = torch.rand((), generator=rng).item()
    if u < EMPTY:
        return "", "", 0.0
    if u < EMPTY + PLAIN:
        return prompt, prompt, 0.0
    if u < EMPTY + PLAIN + COARSE_SHARE:
        text = prompt + list(COARSE.values())[view]
        return text, text, 0.0
    place = azimuth % 360 / 360 * len(SECTORS)
    k = int(place)
    return prompt + SECTORS[k], prompt + SECTORS[(k + 1) % len(SECTORS)], place - k
