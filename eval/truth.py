"""Measures against a known object: shape, pixels, blur, colour, fog, each a number a view.

Alphabet: V views of a job at azimuths 360 v / V, and as many true ones of each of K variants of the object, at the
same elevation and distance; a, b silhouettes, opacity > .5. All images lie on one background. The object may stand
turned: the shift s of the orbit that fits best is searched, so that view v of the job is compared with its mate, view
v + s of the truth, and reported as a yaw. Of several variants, the one that most views are nearest to is the truth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from errors import UserError
from eval.metric import Metric, Seen
from scene.background import GREY

SOLID = 0.5  # opacity of a silhouette
NEUTRAL = 3.0  # mean CIELAB chroma below which an object has no colour to compare
FLAT = 1e-4  # mean Laplacian below which a picture has no detail to compare


@dataclass(frozen=True)
class Truth:
    """The objects of a suite that are known. `views` takes a prompt's text to the true views of its variants at the
    azimuths of a run's jobs: rgb (K,V,3,H,W), premultiplied, on black, and opacity (K,V,1,H,W). `fingerprint` takes it
    to a text that changes when the views do, without making them."""

    views: Callable[[str], tuple[Tensor, Tensor]]
    fingerprint: Callable[[str], str]
    variants: int = 1

    def __call__(self, text: str) -> tuple[Tensor, Tensor]:
        return self.views(text)


def measure(
    rgb: Float[Tensor, "V 3 H W"],
    opacity: Float[Tensor, "V 1 H W"],
    true_rgb: Float[Tensor, "K V 3 H W"],
    true_opacity: Float[Tensor, "K V 1 H W"],
) -> dict[str, Float[Tensor, " V"]]:
    """All measures of a job; NaN where a ratio has no meaning. `yaw`: by how many degrees, in [-180, 180), the object
    stands turned from the truth, counter-clockwise seen from above. `psnr` is that to the nearest of all true views, to
    which a front on all sides is perfect; `psnr_paired` that to a view's mate. `agreement`, where K > 1: 100 where a
    view is nearest to the variant that most views are nearest to, 0 elsewhere."""
    psnr = psnr_matrix(rgb, true_rgb.flatten(0, 1))
    variant = psnr.argmax(1) // len(rgb)
    several, main = len(true_rgb) > 1, int(variant.mode().values)
    true_rgb, true_opacity = true_rgb[main], true_opacity[main]
    a, b = opacity > SOLID, true_opacity > SOLID
    overlap = iou_matrix(a, b)
    shift = best_shift(overlap)
    mate = (torch.arange(len(rgb)) + shift) % len(rgb)  # the true view of each view
    yaw = (180 - 360.0 * shift / len(rgb)) % 360 - 180  # turned by yaw, it shows at v what the truth shows at v - yaw
    return {
        "yaw": torch.full((len(rgb),), yaw),
        "iou": overlap[torch.arange(len(rgb)), mate],
        "psnr": psnr.amax(1),
        "psnr_paired": psnr[torch.arange(len(rgb)), main * len(rgb) + mate],
        "sharpness": detail(rgb) / _or_nan(detail(true_rgb), FLAT)[mate],
        "chroma": chroma(rgb, a) / _or_nan(chroma(true_rgb, b), NEUTRAL)[mate],
        "clipped": clipped(rgb, a),
        "fog": fog(opacity, a | b[mate]),
    } | ({"agreement": 100.0 * (variant == main)} if several else {})


def iou_matrix(a: Bool[Tensor, "V 1 H W"], b: Bool[Tensor, "U 1 H W"]) -> Float[Tensor, "V U"]:
    """|a and b| / |a or b| of every silhouette with every other; two empty ones have 0."""
    a, b = a.flatten(1).float(), b.flatten(1).float()
    both = a @ b.mT
    either = a.sum(1)[:, None] + b.sum(1) - both
    return both / either.clamp(min=1)


def best_shift(overlap: Float[Tensor, "V V"]) -> int:
    """The s that maximises mean_v overlap[v, v + s]; of equal ones, as for a ball, the smallest."""
    n = len(overlap)
    v = torch.arange(n)
    means = torch.stack([overlap[v, (v + s) % n].mean() for s in range(n)])
    return int((means >= means.max() - 1e-6).nonzero()[0])


def psnr_matrix(rgb: Float[Tensor, "V 3 H W"], true: Float[Tensor, "U 3 H W"]) -> Float[Tensor, "V U"]:
    """PSNR in dB of every view to every true one; at most 100."""
    x, y = rgb.flatten(1).double(), true.flatten(1).double()
    mse = ((x * x).sum(1)[:, None] + (y * y).sum(1) - 2 * x @ y.mT) / x.shape[1]
    return (-10 * mse.clamp(min=1e-10).log10()).float()


def detail(rgb: Float[Tensor, "V 3 H W"]) -> Float[Tensor, " V"]:
    """Mean absolute Laplacian of the luma. Artefacts raise it too: read it beside PSNR."""
    luma = (rgb * rgb.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    kernel = rgb.new_tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])
    return F.conv2d(luma, kernel[None, None]).abs().mean((1, 2, 3))


def chroma(rgb: Float[Tensor, "V 3 H W"], inside: Bool[Tensor, "V 1 H W"]) -> Float[Tensor, " V"]:
    """Mean CIELAB chroma sqrt(a^2 + b^2) inside a silhouette; NaN where that is empty. sRGB, D65."""
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = rgb.new_tensor([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    to_xyz = to_xyz / to_xyz.sum(1, keepdim=True)  # relative to white
    x, y, z = torch.einsum("ij,vjhw->ivhw", to_xyz, linear)
    fx, fy, fz = (torch.where(u > 0.008856, u.clamp(min=1e-9) ** (1 / 3), 7.787 * u + 16 / 116) for u in (x, y, z))
    c = torch.stack([500 * (fx - fy), 200 * (fy - fz)]).norm(dim=0)[:, None]
    return _mean_in(c, inside)


def clipped(rgb: Float[Tensor, "V 3 H W"], inside: Bool[Tensor, "V 1 H W"]) -> Float[Tensor, " V"]:
    """Per cent of a silhouette's pixels with a channel at the end of its range, as 8 bits have it."""
    at_end = (rgb < 1 / 255) | (rgb > 254 / 255)
    return 100 * _mean_in(at_end.any(1, keepdim=True).to(rgb), inside)


def fog(opacity: Float[Tensor, "V 1 H W"], solid: Bool[Tensor, "V 1 H W"]) -> Float[Tensor, " V"]:
    """Mean opacity in per cent where neither the object nor the truth is solid: what should be clear air."""
    return 100 * _mean_in(opacity, ~solid)


def over(rgb: Float[Tensor, "V 3 H W"], opacity: Float[Tensor, "V 1 H W"], grey: float) -> Float[Tensor, "V 3 H W"]:
    """Pictures on black, premultiplied by their opacity, put on a grey background."""
    return rgb + (1 - opacity) * grey


def _mean_in(values: Float[Tensor, "V 1 H W"], inside: Bool[Tensor, "V 1 H W"]) -> Float[Tensor, " V"]:
    return (values * inside).sum((1, 2, 3)) / inside.sum((1, 2, 3))


def _or_nan(values: Tensor, least: float) -> Tensor:
    return torch.where(values < least, torch.nan, values)


def _of(seen: Seen) -> dict[str, Float[Tensor, " V"]]:
    rgb, opacity = (x.float().cpu() for x in seen.truth())
    if rgb.shape[1:] != seen.rgb.shape:
        true, own = tuple(rgb.shape[1:]), tuple(seen.rgb.shape)
        raise UserError(f"The true views of {seen.prompt!r} have shape {true}, the job's {own}.")
    assert seen.opacity is not None
    return measure(seen.rgb, seen.opacity, over(rgb, opacity, GREY), opacity)


KNOWN = ("opacity", "truth")
DB, RATIO = (0.0, 100.0), (0.0, math.inf)
IOU = Metric(
    "iou", "IoU", "", "up", 2, 0.05, KNOWN, lambda seen: seen.once(_of)["iou"], bounds=(0.0, 1.0),
    about="Overlap of a view's silhouette with the true one's, the object turned as it fits best.",
)  # fmt: skip
PSNR = Metric(
    "psnr_paired", "PSNR", "dB", "up", 1, 1.0, KNOWN, lambda seen: seen.once(_of)["psnr_paired"], bounds=DB,
    about="Likeness to the true view from the same side.",
)  # fmt: skip
PSNR_NEAREST = Metric(
    "psnr", "PSNR nearest", "dB", "up", 1, 1.0, KNOWN, lambda seen: seen.once(_of)["psnr"], bounds=DB,
    about="Likeness to the nearest of all true views: a front on all sides can be perfect.",
)  # fmt: skip
SHARPNESS = Metric(
    "sharpness", "Sharpness", "", "one", 2, 0.15, KNOWN, lambda seen: seen.once(_of)["sharpness"], bounds=RATIO,
    about="Fine detail, as a multiple of the truth's; artefacts raise it too: read it beside PSNR.",
)  # fmt: skip
CHROMA = Metric(
    "chroma", "Chroma", "", "one", 2, 0.15, KNOWN, lambda seen: seen.once(_of)["chroma"], bounds=RATIO,
    about="Strength of colours, as a multiple of the truth's.",
)  # fmt: skip
CLIPPED = Metric(
    "clipped", "Clipped", "%", "down", 1, 5.0, KNOWN, lambda seen: seen.once(_of)["clipped"],
    about="Pixels of the object with a channel at the end of its range.",
)  # fmt: skip
FOG = Metric(
    "fog", "Fog", "%", "down", 1, 2.0, KNOWN, lambda seen: seen.once(_of)["fog"],
    about="Opacity where neither the object nor the truth is solid: what should be clear air.",
)  # fmt: skip
AGREEMENT = Metric(
    "agreement", "Agreement", "%", "up", 1, 10.0, (*KNOWN, "variants"), lambda seen: seen.once(_of)["agreement"],
    about="Views that show the same variant of the object as most of its views.",
)  # fmt: skip
YAW = Metric(
    "yaw", "Yaw", "°", None, 0, 0.0, KNOWN, lambda seen: seen.once(_of)["yaw"], group="hidden", bounds=(-180.0, 180.0),
    about="By how much the object stands turned from the truth.",
)  # fmt: skip
