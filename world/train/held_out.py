"""Six distortions, by strength as in `distort`, that no judge was trained on: the judges are measured by them.

They are what score distillation is known to do: blur, noise, fog, over-saturation, missing parts, two faces.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from world.dataset import Pictures
from world.train.distort import Beside, Distortion, bounded, recoloured, smooth_noise, uniform


def blurred(x: Tensor, _: Beside, s: Tensor, rng: torch.Generator) -> Tensor:
    """Gaussian blur of up to 3.5 pixels."""
    k = torch.arange(-10, 11, dtype=x.dtype)
    kernel = torch.exp(-0.5 * (k / (3.5 * s).clamp(min=1e-2)) ** 2)  # B 1 1 21
    kernel = (kernel / kernel.sum(-1, keepdim=True)).expand(-1, x.shape[1], -1, -1).reshape(-1, 1, 1, 21)
    flat = x.reshape(1, -1, *x.shape[-2:])
    flat = F.conv2d(F.pad(flat, (10, 10, 0, 0)), kernel, groups=len(kernel))
    return F.conv2d(F.pad(flat, (0, 0, 10, 10)), kernel.transpose(2, 3), groups=len(kernel)).view_as(x)


def noised(x: Tensor, _: Beside, s: Tensor, rng: torch.Generator) -> Tensor:
    """Coarse colour noise on the object, of a deviation of up to .35 where two pixels share a draw."""
    coarse = F.interpolate(torch.randn(len(x), 3, 32, 32, generator=rng), x.shape[-2:], mode="bilinear")
    return bounded(x[:, :3] + 0.35 * s * coarse * x[:, 3:], x[:, 3:])


def foggy(x: Tensor, _: Beside, s: Tensor, rng: torch.Generator) -> Tensor:
    """A thin object, of as little as a quarter of its opacity, in a grey mist of up to .8."""
    mist = F.interpolate(torch.rand(len(x), 1, 5, 5, generator=rng), x.shape[-2:], mode="bicubic").clamp(0, 1)
    mist, tint = 0.8 * s * mist, uniform(x, 0.3, 0.8, rng)
    x = x * (1 - 0.75 * s)
    return torch.cat([x[:, :3] * (1 - mist) + tint * mist, x[:, 3:] * (1 - mist) + mist], 1)


def over_saturated(x: Tensor, _: Beside, s: Tensor, rng: torch.Generator) -> Tensor:
    """Colours pushed up to 5 times as far from their grey, contrast up to doubled, until they clip."""

    def change(rgb: Tensor) -> Tensor:
        grey = rgb.mean(1, keepdim=True)
        return 0.5 + (grey + (rgb - grey) * (1 + 4 * s) - 0.5) * (1 + s)

    return recoloured(x, change)


def parts_missing(x: Tensor, _: Beside, s: Tensor, rng: torch.Generator) -> Tensor:
    """Smooth holes, in up to half of the picture."""
    field = smooth_noise(x, 1, 6, rng)
    return x * (1 - torch.sigmoid(8 * (field - 1.5 + 1.5 * s)) * (8 * s).clamp(max=1))


def two_faced(x: Tensor, other: Beside, s: Tensor, rng: torch.Generator) -> Tensor:
    """The toy's front, `other.view`, on whatever side is seen: in a disc of up to 16 pixels about its middle."""
    height, width = x.shape[-2:]
    y, across = torch.arange(height).view(-1, 1) + 0.5, torch.arange(width) + 0.5
    weight = x[:, 3:] / x[:, 3:].sum((2, 3), keepdim=True).clamp(min=1e-6)
    cy, cx = ((weight * at).sum((2, 3), keepdim=True) for at in (y, across))
    far = ((y - cy) ** 2 + (across - cx) ** 2).sqrt()
    return torch.lerp(x, other.view, (16 * s - far).clamp(0, 1))


HELD_OUT: tuple[Distortion, ...] = (blurred, noised, foggy, over_saturated, parts_missing, two_faced)

TURNED = 60.0  # degrees from the front: from where another front is a second face


def turned(data: Pictures) -> Tensor:
    """Which pictures show a toy from its sides or its back."""
    return ((data.azimuth + 180) % 360 - 180).abs() >= TURNED


def fronts(data: Pictures, label: Tensor) -> Beside:
    """The companions of pictures with these labels of which `two_faced` takes the face: the frontmost of each toy."""
    away = ((data.azimuth + 180) % 360 - 180).abs()
    front = torch.stack([away.where(data.label == k, torch.inf).argmin() for k in range(int(data.label.max()) + 1)])
    view = data.rgba[front[label]].float() / 255
    return Beside(view, view)


def subjects(data: Pictures, distort: Distortion) -> Pictures:
    """The pictures that a distortion can be tried on."""
    return Pictures(*(x[turned(data)] for x in data)) if distort is two_faced else data
