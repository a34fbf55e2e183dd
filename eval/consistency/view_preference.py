"""View preference: does a back view look like one? A share of Janus problems, where no truth is known.

Alphabet: image (V,D), front, back (D,), unit features of views and of the prompt with the words of its front and back.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from eval.metric import Metric, Seen
from priors.text import COARSE, view_index
from scene.cameras import orbit

DIRECTIONS = [*COARSE]
WORDS = (COARSE["front"], COARSE["back"])


def view_preference(
    image: Float[Tensor, "V D"], front: Float[Tensor, " D"], back: Float[Tensor, " D"]
) -> Float[Tensor, " V"]:
    """Of an orbit's views, 100 for a back view that is nearer to the front's words than to the back's, 0 for one that
    is not, NaN for all others. Back views are those whose prompt says so (`priors.text`): azimuth 135 to 225 degrees,
    exclusive. A tie is no preference for the front."""
    preferred = 100.0 * (image @ front > image @ back).float()
    behind = view_index(orbit(len(image))) == DIRECTIONS.index("back")
    return torch.where(behind, preferred, torch.nan)


def _of(seen: Seen) -> Float[Tensor, " V"]:
    front, back = seen.texts(tuple(seen.prompt + word for word in WORDS), "clip")
    return view_preference(seen.image("clip"), front, back)


VIEW_PREFERENCE = Metric(
    "view_preference", "View preference", "%", "down", 1, 10.0, needs=("clip", "directions"), function=_of,
    about="Back views that are nearer to the words of the front than to those of the back: a share of Janus problems.",
)  # fmt: skip
