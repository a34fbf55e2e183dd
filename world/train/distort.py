"""Ways a picture can be worse than the truth, by a strength s from 0 (not at all) to 1: what the judges are trained on.

None is made with a method under test, and none is one of those that the judges are measured by (`held_out`).
Each takes premultiplied pictures with opacity x (B,4,H,W) in [0, 1], others to mix in, s (B,1,1,1) and a random
stream, and returns pictures like x. What it draws does not depend on s: the same stream gives the same pattern.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from world.dataset import Pictures


class Beside(NamedTuple):
    """Pictures to mix into others: of the same toy from elsewhere, and of another toy."""

    view: Float[Tensor, "B 4 H W"]
    toy: Float[Tensor, "B 4 H W"]

    def rows(self, rows: slice) -> Beside:
        return Beside(self.view[rows], self.toy[rows])


Distortion = Callable[[Tensor, Beside, Tensor, torch.Generator], Tensor]


def beside(data: Pictures, label: Tensor, rng: torch.Generator) -> Beside:
    """Random companions, in [0, 1], of pictures with these labels."""
    order, count = data.label.argsort(stable=True), data.label.bincount()
    start, toys = count.cumsum(0) - count, len(count)

    def one_of(k: Tensor) -> Tensor:
        inside = (torch.rand(len(k), generator=rng) * count[k]).long()
        return data.rgba[order[start[k] + inside]].float() / 255

    stranger = (label + 1 + torch.randint(max(toys - 1, 1), label.shape, generator=rng)) % toys
    return Beside(one_of(label), one_of(stranger))


def uniform(x: Tensor, low: float, high: float, rng: torch.Generator) -> Tensor:
    return (torch.rand(len(x), generator=rng) * (high - low) + low).view(-1, 1, 1, 1)


def smooth_noise(x: Tensor, channels: int, coarse: int, rng: torch.Generator) -> Float[Tensor, "B C H W"]:
    """Unit normal noise at a coarse resolution, made smooth at the pictures' own."""
    noise = torch.randn(len(x), channels, coarse, coarse, generator=rng)
    return F.interpolate(noise, x.shape[-2:], mode="bicubic")


def bounded(rgb: Tensor, opacity: Tensor) -> Float[Tensor, "B 4 H W"]:
    """Premultiplied colours are between 0 and their opacity."""
    opacity = opacity.clamp(0, 1)
    return torch.cat([torch.minimum(rgb.clamp(min=0), opacity), opacity], 1)


def recoloured(x: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """The pictures with their colours, freed of opacity, changed."""
    opacity = x[:, 3:]
    return torch.cat([change(x[:, :3] / opacity.clamp(min=1e-3)).clamp(0, 1) * opacity, opacity], 1)


def moved(x: Tensor, shift: Float[Tensor, "B 2 H W"]) -> Tensor:
    """Each pixel takes what lies `shift` (right, down) pixels away."""
    height, width = x.shape[-2:]
    y, across = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    at = torch.stack([(across + 0.5 + shift[:, 0]) * 2 / width - 1, (y + 0.5 + shift[:, 1]) * 2 / height - 1], -1)
    return F.grid_sample(x, at, align_corners=False)


def pixelated(x: Tensor, _: Beside, s: Tensor, rng: torch.Generator) -> Tensor:
    """Squares of 1 to 8 pixels."""
    size = x.shape[-2:]
    coarse = [int(n) for n in (size[0] / (1 + 7 * s)).flatten()]
    small = [F.interpolate(one[None], n, mode="area") for one, n in zip(x, coarse, strict=True)]
    return torch.cat([F.interpolate(one, size, mode="nearest") for one in small])


def shaken(x: Tensor, _: Beside, s: Tensor, rng: torch.Generator) -> Tensor:
    """A path of up to 14 pixels, in a random direction, during the exposure."""
    angle = uniform(x, 0, math.pi, rng)
    path = 14 * s * torch.cat([angle.cos(), angle.sin()], 1)
    taps = [moved(x, (path * at).expand(-1, -1, *x.shape[-2:])) for at in torch.linspace(-0.5, 0.5, 9).tolist()]
    return torch.stack(taps).mean(0)


def scattered(x: Tensor, _: Beside, s: Tensor, rng: torch.Generator) -> Tensor:
    """Frosted glass: pixels from up to a few pixels away."""
    return moved(x, 3 * s * torch.randn(len(x), 2, *x.shape[-2:], generator=rng))


def warped(x: Tensor, _: Beside, s: Tensor, rng: torch.Generator) -> Tensor:
    """Smooth displacements of up to some 8 pixels."""
    return moved(x, 6 * s * smooth_noise(x, 2, 6, rng))


def dropped(x: Tensor, _: Beside, s: Tensor, rng: torch.Generator) -> Tensor:
    """Four rectangles cut out, each of up to 24 pixels a side."""
    height, width = x.shape[-2:]
    y, across = torch.arange(height).view(1, 1, -1, 1), torch.arange(width).view(1, 1, 1, -1)
    kept = torch.ones_like(x[:, :1])
    for _hole in range(4):
        cy, cx, hy, hx = (uniform(x, *span, rng) for span in ((14, 50), (14, 50), (4, 12), (4, 12)))
        kept = kept * ~(((y + 0.5 - cy).abs() < hy * s) & ((across + 0.5 - cx).abs() < hx * s))
    return x * kept


def ghosted(x: Tensor, other: Beside, s: Tensor, rng: torch.Generator) -> Tensor:
    """The same toy from elsewhere shines through."""
    return torch.lerp(x, other.view, 0.5 * s)


def _patched(x: Tensor, instead: Tensor, cells: int, s: Tensor, rng: torch.Generator) -> Tensor:
    """Regions of another picture, more of them the stronger."""
    mask = torch.sigmoid(8 * (smooth_noise(x, 1, cells, rng) - 1.6 + 1.6 * s))
    return torch.lerp(x, instead, mask * (8 * s).clamp(max=1))


def grafted(x: Tensor, other: Beside, s: Tensor, rng: torch.Generator) -> Tensor:
    """Regions of another toy."""
    return _patched(x, other.toy, 5, s, rng)


def spliced(x: Tensor, other: Beside, s: Tensor, rng: torch.Generator) -> Tensor:
    """Regions of the same toy from elsewhere."""
    return _patched(x, other.view, 4, s, rng)


def posterised(x: Tensor, _: Beside, s: Tensor, rng: torch.Generator) -> Tensor:
    """64 to 2 steps a channel."""
    steps = 2 ** (6 - 5 * s)
    return recoloured(x, lambda rgb: torch.lerp(rgb, (rgb * steps).round() / steps, (8 * s).clamp(max=1)))


def hue_shifted(x: Tensor, _: Beside, s: Tensor, rng: torch.Generator) -> Tensor:
    """Colours turned by up to 180 degrees about the axis of greys."""
    turn = math.pi * s * uniform(x, -1, 1, rng).sign()

    def change(rgb: Tensor) -> Tensor:
        across = (rgb.roll(1, 1) - rgb.roll(-1, 1)) / 3**0.5
        return turn.cos() * rgb + (1 - turn.cos()) * rgb.mean(1, keepdim=True) + turn.sin() * across

    return recoloured(x, change)


def gamma_changed(x: Tensor, _: Beside, s: Tensor, rng: torch.Generator) -> Tensor:
    """Darker or lighter, by a power of up to 5 or 1/5."""
    power = 5 ** (s * uniform(x, -1, 1, rng).sign())
    return recoloured(x, lambda rgb: rgb.clamp(1e-4, 1) ** power)


def streaked(x: Tensor, _: Beside, s: Tensor, rng: torch.Generator) -> Tensor:
    """Coloured lines along rows or columns of the object."""
    lines = F.interpolate(torch.randn(len(x), 3, 32, 1, generator=rng), (x.shape[-2], 1), mode="bicubic")
    lines = lines.expand(-1, -1, -1, x.shape[-1])
    lines = torch.where(uniform(x, -1, 1, rng) > 0, lines, lines.transpose(2, 3))
    return bounded(x[:, :3] + 0.4 * s * lines * x[:, 3:], x[:, 3:])


def _cosines(n: int = 8) -> Float[Tensor, "n n"]:
    """The orthonormal discrete cosine transform of type II."""
    k, at = torch.arange(n)[:, None], torch.arange(n) + 0.5
    table = (2 / n) ** 0.5 * torch.cos(math.pi / n * k * at)
    table[0] /= 2**0.5
    return table


def blocky(x: Tensor, _: Beside, s: Tensor, rng: torch.Generator) -> Tensor:
    """JPEG's squares of 8x8 pixels, their cosines in steps of up to .8."""
    table, step = _cosines(), (0.8 * s).clamp(min=1e-3)[..., None, None]
    squares = x[:, :3].unflatten(2, (-1, 8)).unflatten(4, (-1, 8)).transpose(3, 4)  # B 3 rows columns 8 8
    coarse = ((table @ squares @ table.mT) / step).round() * step
    rgb = (table.mT @ coarse @ table).transpose(3, 4).flatten(4, 5).flatten(2, 3)
    return bounded(rgb, x[:, 3:])


def faded(x: Tensor, _: Beside, s: Tensor, rng: torch.Generator) -> Tensor:
    """Thin: the background shines through."""
    return x * (1 - 0.8 * s)


SOFTENING: tuple[Distortion, ...] = (pixelated, shaken)
BREAKING: tuple[Distortion, ...] = (
    scattered, warped, dropped, ghosted, grafted, spliced, posterised, hue_shifted, gamma_changed, streaked, blocky,
    faded,
)  # fmt: skip
DISTORTIONS = SOFTENING + BREAKING


def in_shares(n: int) -> Iterator[tuple[Distortion, slice]]:
    """Every distortion, with its share of n rows: equal ones, in order."""
    for distort, share in zip(DISTORTIONS, torch.arange(n).tensor_split(len(DISTORTIONS)), strict=True):
        yield distort, slice(int(share[0]), int(share[-1]) + 1)


def grey_scale(image: Tensor) -> Tensor:
    """The luminance of images (B,3,H,W), on all channels."""
    return (image * image.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True).expand_as(image)
