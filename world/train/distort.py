"""Ways a picture can be worse than the truth, for the training of the encoders that judge it.

None of them is made with a method under test. Each takes premultiplied pictures with opacity (B,4,H,W) in [0, 1] and
a random stream, and returns the same.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Distortion = Callable[[Tensor, torch.Generator], Tensor]


def _uniform(n: int, low: float, high: float, rng: torch.Generator) -> Tensor:
    return (torch.rand(n, generator=rng) * (high - low) + low).view(-1, 1, 1, 1)


def blurred(x: Tensor, rng: torch.Generator) -> Tensor:
    """Gaussian blur of 1.2 to 3.5 pixels."""
    sigma = _uniform(1, 1.2, 3.5, rng).item()
    k = torch.arange(-8, 9, dtype=x.dtype)
    kernel = torch.exp(-0.5 * (k / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, 1, -1)
    x = F.conv2d(F.pad(x, (8, 8, 0, 0), mode="replicate"), kernel, groups=x.shape[1])
    return F.conv2d(F.pad(x, (0, 0, 8, 8), mode="replicate"), kernel.transpose(2, 3), groups=x.shape[1])


def noised(x: Tensor, rng: torch.Generator) -> Tensor:
    """Coarse colour noise on the object."""
    coarse = F.interpolate(torch.randn(len(x), 3, 32, 32, generator=rng), x.shape[-2:], mode="bilinear")
    rgb = (x[:, :3] + coarse * _uniform(len(x), 0.12, 0.35, rng) * x[:, 3:]).clamp(min=0)
    return torch.cat([torch.minimum(rgb, x[:, 3:]), x[:, 3:]], 1)


def partly_formed(x: Tensor, rng: torch.Generator) -> Tensor:
    """Holes where smooth noise is low: missing parts."""
    field = F.interpolate(torch.randn(len(x), 1, 6, 6, generator=rng), x.shape[-2:], mode="bicubic")
    return x * torch.sigmoid(8 * (field + _uniform(len(x), -0.2, 0.5, rng)))


def over_saturated(x: Tensor, rng: torch.Generator) -> Tensor:
    """Colours pushed away from their grey, and contrast stretched, until they clip."""
    opacity = x[:, 3:]
    rgb = x[:, :3] / opacity.clamp(min=1e-3)
    grey = rgb.mean(1, keepdim=True)
    rgb = grey + (rgb - grey) * _uniform(len(x), 2.0, 5.0, rng)
    rgb = 0.5 + (rgb - 0.5) * _uniform(len(x), 1.2, 2.0, rng)
    return torch.cat([rgb.clamp(0, 1) * opacity, opacity], 1)


def foggy(x: Tensor, rng: torch.Generator) -> Tensor:
    """A thin object in a grey mist."""
    mist = F.interpolate(torch.rand(len(x), 1, 5, 5, generator=rng), x.shape[-2:], mode="bicubic").clamp(0, 1)
    mist = mist * _uniform(len(x), 0.3, 0.8, rng)
    x = x * _uniform(len(x), 0.25, 0.7, rng)
    tint = _uniform(len(x), 0.3, 0.8, rng)
    return torch.cat([x[:, :3] * (1 - mist) + tint * mist, x[:, 3:] * (1 - mist) + mist], 1)


DISTORTIONS: tuple[Distortion, ...] = (blurred, noised, partly_formed, over_saturated, foggy)


def grey_scale(image: Tensor) -> Tensor:
    """The luminance of images (B,3,H,W), on all channels."""
    return (image * image.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True).expand_as(image)
