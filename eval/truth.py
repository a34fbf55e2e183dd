"""Measures against a known object: silhouettes, pixels, size, blur, colour, fog, each a number a view.

Alphabet: V views of a job at azimuths 360 v / V, and as many true ones of each of K variants of the object, at the
same elevation and distance; a, b silhouettes, opacity > .5. All images lie on one background. Of several variants, the
one that most views are nearest to is the truth.

What a prompt leaves open is undone, and nothing else. It does not say where the front stands: so the object may be
turned about the vertical. One shift s of the orbit, found once, takes each view v to its mate, view v + s of the truth,
with which it is compared by all measures, and is reported as a yaw in steps of 360 / V degrees. Nobody orders a
mirrored object, nor a larger one, one that leans or stands aside: these are not undone, and cost IoU, PSNR and the like
(`eval.sides` says whether it is mirrored).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from errors import UserError
from eval.metric import Metric, Seen
from scene.background import GREY
from scene.cameras import Cameras

SOLID = 0.5  # opacity of a silhouette
NEUTRAL = 3.0  # mean CIELAB chroma below which an object has no colour to compare
FLAT = 1e-4  # mean Laplacian below which a picture has no detail to compare
ALIKE = 0.01  # of mean IoU: yaws whose silhouettes fit so nearly as well as the best ones are told apart by colours
WINDOW, SIGMA = 11, 1.5  # of SSIM's Gaussian, in pixels
C1, C2 = 0.01**2, 0.03**2  # SSIM's constants, of images in [0, 1]


class Shape(NamedTuple):
    """A known object in space, seen by V cameras: the `depths` of K variants. `distance` takes points (N,3) and a
    variant to their signed distance from its surface, in scene units, negative inside."""

    cameras: Cameras
    depth: Float[Tensor, "K V 1 H W"]
    distance: Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class Truth:
    """The objects of a suite that are known. `views` takes a prompt's text to the true views of its variants at the
    azimuths of a run's jobs: rgb (K,V,3,H,W), premultiplied, on black, and opacity (K,V,1,H,W). `fingerprint` takes it
    to a text that changes when the views do, or the rest, without making them. `shape`, where it is known, takes it to
    the object in space."""

    views: Callable[[str], tuple[Tensor, Tensor]]
    fingerprint: Callable[[str], str]
    variants: int = 1
    shape: Callable[[str], Shape] | None = None

    def __call__(self, text: str) -> tuple[Tensor, Tensor]:
        return self.views(text)


class Alignment(NamedTuple):
    """How a job's views and true ones belong together: the variant of the truth; `mate`, the number of the true view
    that belongs to each view; `nearest`, the variant that each view is nearest to; PSNR to all true views of all
    variants, and IoU of silhouettes to those of the variant."""

    variant: int
    mate: Int[Tensor, " V"]
    nearest: Int[Tensor, " V"]
    psnr: Float[Tensor, "V KV"]
    overlap: Float[Tensor, "V V"]

    @property
    def yaw(self) -> float:
        """By how many degrees, in [-180, 180), the object stands turned from the truth, counter-clockwise seen from
        above: turned so, it shows at v what the truth shows at v - yaw."""
        return (180 - 360.0 * int(self.mate[0]) / len(self.mate)) % 360 - 180

    @property
    def paired(self) -> Float[Tensor, " V"]:
        """PSNR of each view to its mate."""
        n = len(self.mate)
        return self.psnr[torch.arange(n), self.variant * n + self.mate]


def align(
    rgb: Float[Tensor, "V 3 H W"],
    opacity: Float[Tensor, "V 1 H W"],
    true_rgb: Float[Tensor, "K V 3 H W"],
    true_opacity: Float[Tensor, "K V 1 H W"],
) -> Alignment:
    """The variant and the yaw that fit best."""
    n = len(rgb)
    psnr = psnr_matrix(rgb, true_rgb.flatten(0, 1))
    nearest = psnr.argmax(1) // n
    variant = int(nearest.mode().values)
    overlap = iou_matrix(opacity > SOLID, true_opacity[variant] > SOLID)
    shift = best_shift(overlap, psnr[:, variant * n : (variant + 1) * n])
    return Alignment(variant, (torch.arange(n) + shift) % n, nearest, psnr, overlap)


def measure(
    rgb: Float[Tensor, "V 3 H W"],
    opacity: Float[Tensor, "V 1 H W"],
    true_rgb: Float[Tensor, "K V 3 H W"],
    true_opacity: Float[Tensor, "K V 1 H W"],
    known: Alignment | None = None,
) -> dict[str, Float[Tensor, " V"]]:
    """All measures of a job; NaN where a ratio has no meaning. `known`: how the views belong together, if it is.

    yaw          degrees, in [-180, 180): see Alignment
    iou          |a and b| / |a or b| of the silhouettes of a view and its mate, in [0, 1]
    psnr         dB, at most 100, -10 lg mean (x - y)^2 to the nearest of all true views: a front everywhere is perfect
    psnr_paired  the same to a view's mate
    ssim         structural similarity of a view and its mate, in [-1, 1] (`ssim`)
    scale        sqrt(sum a / sum b), over all pixels of all views: how much larger the object is than the truth, >= 0;
                 0 of nothing. The same number for every view
    scale_error  100 |scale - 1|, in per cent of the true size
    sharpness    mean absolute Laplacian, a ratio to the mate's, >= 0; 1 is the truth's
    chroma       mean CIELAB chroma inside the silhouette, likewise
    clipped      per cent of the silhouette at an end of the range of colours
    fog          per cent of opacity where the air should be clear
    agreement    where K > 1: 100 where a view is nearest to the variant that most views are nearest to, 0 elsewhere
    """
    fit = known or align(rgb, opacity, true_rgb, true_opacity)
    several, mate, ones = len(true_rgb) > 1, fit.mate, torch.ones(len(rgb))
    true_rgb, true_opacity = true_rgb[fit.variant], true_opacity[fit.variant]
    a, b = opacity > SOLID, true_opacity > SOLID
    scale = float((a.sum() / b.sum()).sqrt()) if b.any() else float("nan")
    return {
        "yaw": fit.yaw * ones,
        "iou": fit.overlap[torch.arange(len(rgb)), mate],
        "psnr": fit.psnr.amax(1),
        "psnr_paired": fit.paired,
        "ssim": ssim(rgb, true_rgb[mate]),
        "scale": scale * ones,
        "scale_error": 100 * abs(scale - 1) * ones,
        "sharpness": detail(rgb) / _or_nan(detail(true_rgb), FLAT)[mate],
        "chroma": chroma(rgb, a) / _or_nan(chroma(true_rgb, b), NEUTRAL)[mate],
        "clipped": clipped(rgb, a),
        "fog": fog(opacity, a | b[mate]),
    } | ({"agreement": 100.0 * (fit.nearest == fit.variant)} if several else {})


def iou_matrix(a: Bool[Tensor, "V 1 H W"], b: Bool[Tensor, "U 1 H W"]) -> Float[Tensor, "V U"]:
    """|a and b| / |a or b| of every silhouette with every other; two empty ones have 0."""
    a, b = a.flatten(1).float(), b.flatten(1).float()
    both = a @ b.mT
    either = a.sum(1)[:, None] + b.sum(1) - both
    return both / either.clamp(min=1)


def best_shift(overlap: Float[Tensor, "V V"], psnr: Float[Tensor, "V V"]) -> int:
    """The s that maximises mean_v psnr[v, v + s] among those whose mean_v overlap[v, v + s] is within ALIKE of the
    largest: shape decides, and of a ball colours do. Of equal ones, as for a ball of one colour, the smallest."""
    shapes, colours = along(overlap), along(psnr)
    colours[shapes < shapes.max() - ALIKE] = -torch.inf
    return int((colours >= colours.max() - 1e-4).nonzero()[0])


def along(matrix: Float[Tensor, "V V"], turning: int = 1) -> Float[Tensor, " V"]:
    """For each shift s, mean_v matrix[v, turning v + s]."""
    n = len(matrix)
    v = torch.arange(n)
    return torch.stack([matrix[v, (turning * v + s) % n].mean() for s in range(n)])


def psnr_matrix(rgb: Float[Tensor, "V 3 H W"], true: Float[Tensor, "U 3 H W"]) -> Float[Tensor, "V U"]:
    """PSNR in dB of every view to every true one; at most 100."""
    return -10 * mse_matrix(rgb, true).clamp(min=1e-10).log10()


def mse_matrix(rgb: Float[Tensor, "V 3 H W"], true: Float[Tensor, "U 3 H W"]) -> Float[Tensor, "V U"]:
    """Mean squared error of every view to every true one, to 1e-12."""
    x, y = rgb.flatten(1).double(), true.flatten(1).double()
    squares = (x * x).sum(1)[:, None] + (y * y).sum(1) - 2 * x @ y.mT
    return (squares.clamp(min=0) / x.shape[1]).float()


def ssim(rgb: Float[Tensor, "V 3 H W"], true: Float[Tensor, "V 3 H W"]) -> Float[Tensor, " V"]:
    """Structural similarity (Wang et al. 2004) of each view and its mate: the mean over channels and windows of
    (2 mu_x mu_y + C1)(2 cov + C2) / ((mu_x^2 + mu_y^2 + C1)(var_x + var_y + C2)), in a Gaussian window of 11 pixels,
    sigma 1.5, that lies within the picture; a smaller one in smaller pictures. Background counts, and is alike."""
    width = min(WINDOW, *(side - 1 + side % 2 for side in rgb.shape[-2:]))
    bell = torch.exp(-((torch.arange(width) - width // 2) ** 2) / (2 * SIGMA**2)).to(rgb)
    window = torch.outer(bell, bell)[None, None] / bell.sum() ** 2

    def mean(values: Tensor) -> Tensor:
        return F.conv2d(values.flatten(0, 1)[:, None], window)

    mu_x, mu_y = mean(rgb), mean(true)
    var_x, var_y = mean(rgb * rgb) - mu_x**2, mean(true * true) - mu_y**2
    cov = mean(rgb * true) - mu_x * mu_y
    alike = (2 * mu_x * mu_y + C1) * (2 * cov + C2) / ((mu_x**2 + mu_y**2 + C1) * (var_x + var_y + C2))
    return alike.reshape(len(rgb), -1).mean(1)


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


def depths(depth: Float[Tensor, "*N 1 H W"], opacity: Float[Tensor, "*N 1 H W"]) -> Float[Tensor, "*N 1 H W"]:
    """How far along its ray what a pixel shows lies, in scene units, from a render's depth, which opacity weights;
    infinite where it is not solid."""
    return torch.where(opacity > SOLID, depth / opacity.clamp(min=SOLID), torch.inf)


def over(rgb: Float[Tensor, "V 3 H W"], opacity: Float[Tensor, "V 1 H W"], grey: float) -> Float[Tensor, "V 3 H W"]:
    """Pictures on black, premultiplied by their opacity, put on a grey background."""
    return rgb + (1 - opacity) * grey


def _mean_in(values: Float[Tensor, "V 1 H W"], inside: Bool[Tensor, "V 1 H W"]) -> Float[Tensor, " V"]:
    return (values * inside).sum((1, 2, 3)) / inside.sum((1, 2, 3))


def _or_nan(values: Tensor, least: float) -> Tensor:
    return torch.where(values < least, torch.nan, values)


def pictures(seen: Seen) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What `measure` compares: a job's rgb and opacity, and the true ones, on the background of evaluation."""
    rgb, opacity = (x.float().cpu() for x in seen.truth())
    if rgb.shape[1:] != seen.rgb.shape:
        true, own = tuple(rgb.shape[1:]), tuple(seen.rgb.shape)
        raise UserError(f"The true views of {seen.prompt!r} have shape {true}, the job's {own}.")
    assert seen.opacity is not None
    return seen.rgb, seen.opacity, over(rgb, opacity, GREY), opacity


def alignment(seen: Seen) -> Alignment:
    """The one yaw of a job: of all measures against the truth."""
    return align(*seen.once(pictures))


def _of(seen: Seen) -> dict[str, Float[Tensor, " V"]]:
    return measure(*seen.once(pictures), seen.once(alignment))


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
SSIM = Metric(
    "ssim", "SSIM", "", "up", 3, 0.05, KNOWN, lambda seen: seen.once(_of)["ssim"], bounds=(-1.0, 1.0),
    about="Structural likeness to the true view from the same side.",
)  # fmt: skip
SCALE_ERROR = Metric(
    "scale_error", "Scale error", "%", "down", 1, 5.0, KNOWN, lambda seen: seen.once(_of)["scale_error"],
    bounds=RATIO, about="By how much the object is larger or smaller than the true one.",
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
SCALE = Metric("scale", "Scale", "", None, 2, 0.0, KNOWN, lambda seen: seen.once(_of)["scale"], group="hidden",
               bounds=RATIO, about="Size of the object, as a multiple of the true one's.")  # fmt: skip
YAW = Metric(
    "yaw", "Yaw", "°", None, 0, 0.0, KNOWN, lambda seen: seen.once(_of)["yaw"], group="hidden", bounds=(-180.0, 180.0),
    about="By how much the object stands turned from the truth.",
)  # fmt: skip
