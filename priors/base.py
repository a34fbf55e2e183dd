"""What a method may ask about images: a diffusion prior over latents, and the texts that condition it.

Alphabet: x0 clean latents (B,C,h,w), already VAE-scaled; x_t noised latents; t (B,) integer timesteps in [0, T);
eps predicted noise; text (B,L,D) embeddings. Images are (B,3,H,W) in [0, 1].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from priors.schedule import Schedule


@dataclass(frozen=True)
class Text:
    """The conditions of one prompt, embedded once: L tokens of D channels. `uncond` is what guidance leads away from:
    a negative prompt, or the empty one; it has one row, or one a camera.

    `front`, `side`, `back`, `overhead` are the coarse view prompts (priors/text.py). `sectors`, where the prior's text
    adapter knows finer view words, holds S of them at azimuths 360 k / S, counter-clockwise from the front. `null` is
    the empty prompt where `uncond` is another. `sides` are how far from the front, and from the back, in degrees, a
    camera still gets that word.
    """

    uncond: Float[Tensor, "U L D"]
    plain: Float[Tensor, "1 L D"]
    front: Float[Tensor, "1 L D"]
    side: Float[Tensor, "1 L D"]
    back: Float[Tensor, "1 L D"]
    overhead: Float[Tensor, "1 L D"]
    sectors: Float[Tensor, "S L D"] | None = None
    null: Float[Tensor, "1 L D"] | None = None
    sides: tuple[float, float] = (45.0, 45.0)

    @property
    def empty(self) -> Float[Tensor, "U L D"]:
        """The empty prompt."""
        return self.uncond if self.null is None else self.null


class Prior(ABC):
    """A text-conditioned diffusion model. v-prediction is converted inside: no method sees the parameterisation.

    A network that was told the whole truth of every picture says more of a text than one trained on captions of the
    web, and `text_share` is the part of it that the prior says (priors/guidance.py).

    `nfe` counts calls of the network, a guided call (its branches in one batch) being one; `rows` counts the images
    in those calls.
    """

    schedule: Schedule
    latent_shape: tuple[int, int, int]
    image_size: int
    view_words: str = "coarse"  # or "sectors", where the text adapter was trained with eight of them
    text_share: float = 1.0  # in (0, 1]
    nfe: int = 0
    rows: int = 0

    @abstractmethod
    def encode(self, image: Float[Tensor, "B 3 H W"], rng: torch.Generator) -> Float[Tensor, "B C h w"]:
        """A sample of the encoder's posterior, VAE-scaled; differentiable in `image`, resized where sizes differ."""

    @abstractmethod
    def decode(self, latent: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 3 H W"]:
        """Images in [0, 1], clamped."""

    @abstractmethod
    def embed(self, prompts: list[str]) -> Float[Tensor, "B L D"]:
        """One embedding a prompt; the empty string is the unconditional one."""

    def untraced(self) -> AbstractContextManager[None]:
        """The network called as it is, where it is usually called in a faster way, to compare the two."""
        return nullcontext()

    @abstractmethod
    def network(
        self, x_t: Float[Tensor, "B C h w"], t: Int[Tensor, " B"], text: Float[Tensor, "B L D"]
    ) -> Float[Tensor, "B C h w"]:
        """The noise predicted by the network, as eps whatever it was trained to predict."""

    def eps(
        self, x_t: Float[Tensor, "B C h w"], t: Int[Tensor, " B"], text: Float[Tensor, "B L D"]
    ) -> Float[Tensor, "B C h w"]:
        """`network`, counted."""
        self.nfe += 1
        self.rows += len(x_t)
        return self.network(x_t, t, text)
