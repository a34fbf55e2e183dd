"""Figures of a run: methods side by side, every view of a job, a job turning. Pixels are enlarged, never smoothed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image, ImageDraw, ImageFont

from errors import UserError
from eval import views
from files import replaced
from reports import Frames
from reports.tables import in_order

if TYPE_CHECKING:
    from torch import Tensor

    from eval.truth import Truth

PAPER_WHITE, INK, FAINT, MISSING = (255, 255, 255), (25, 25, 28), (110, 110, 118), (232, 232, 236)
AZIMUTHS = (0, 90, 180, 270)
SIDES = len(AZIMUTHS)  # views of the truth that are enough
LEAST, MOST = 128, 256  # pixels a view is shown with: small ones are repeated, large ones averaged
GAP, ROOM = 2, 18  # pixels between views, between methods
LABEL, TOP = 210, 66  # for a prompt, for the methods' names
TRUTH = "truth"


def comparison(
    run: str | Path, frames: Frames, order: Sequence[str] = (), truth: Truth | None = None, seed: str | None = None
) -> Path:
    """RUN/comparison.png: a row a prompt, a column group a method, each from the front, left, back and right; the
    truth last. One seed, the first unless given. A job that left no object has its status instead."""
    run, jobs = Path(run), frames.jobs
    seed = seed or min(jobs["seed"], key=lambda s: (len(s), s))
    methods = in_order(frames, order)
    prompts = dict(sorted(zip(jobs["prompt_id"], jobs["prompt"], strict=True)))
    status = jobs.set_index(["method", "prompt_id", "seed"])["status"].to_dict()
    rows = []
    for prompt_id, text in prompts.items():
        row: list[Image.Image | str] = []
        for method in methods:
            said = status.get((method, prompt_id, seed), "not run")
            row.append(_looked(run / method / prompt_id / seed) if said == "ok" else said)
        if truth:
            row.append(_true(truth, text))
        rows.append(row)
    titles = [*methods, *([TRUTH] if truth else [])]
    return _save(_page(titles, list(prompts.values()), rows), run / "comparison.png")


def contact_sheet(job: Path) -> Path:
    """JOB/contact.png: all views in reading order, with their azimuths, under the job's name."""
    rgb = views.read(job).rgb
    side = _shown(max(rgb.shape[-2:]))
    columns = min(10, len(rgb))
    rows = math.ceil(len(rgb) / columns)
    cell_w, cell_h, top = side + 6, side + 24, 44
    page = Image.new("RGB", (columns * cell_w + 6, rows * cell_h + top + 4), PAPER_WHITE)
    draw = ImageDraw.Draw(page)
    draw.text((8, 12), "  ·  ".join((*job.parts[-3:-1], f"seed {job.name}")), fill=INK, font=_font(19))
    for v, picture in enumerate(_bytes(rgb)):
        x, y = 6 + v % columns * cell_w, top + v // columns * cell_h
        page.paste(_sized(picture, side), (x, y))
        draw.text((x + side / 2, y + side + 2), f"{360 * v / len(rgb):.0f}°", fill=FAINT, font=_font(13), anchor="ma")
    return _save(page, job / "contact.png")


def turntable(job: Path, seconds: float = 4.0) -> Path:
    """JOB/turntable.gif: the views as one turn of `seconds`, endlessly. One palette for all frames: no flicker."""
    rgb = views.read(job).rgb
    frames = [_sized(picture, _shown(max(rgb.shape[-2:]), least=192)) for picture in _bytes(rgb)]
    sample = Image.fromarray(np.concatenate([np.asarray(f) for f in frames[:: max(len(frames) // 8, 1)]]))
    palette = sample.quantize(255, method=Image.Quantize.MEDIANCUT)
    indexed = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    duration = max(round(100 * seconds / len(frames)), 2) * 10  # GIF counts in hundredths of a second
    return replaced(
        job / "turntable.gif",
        lambda aside: indexed[0].save(
            aside, "GIF", save_all=True, append_images=indexed[1:], duration=duration, loop=0, disposal=1
        ),
    )


def _page(titles: list[str], prompts: list[str], rows: list[list[Image.Image | str]]) -> Image.Image:
    strips = [cell for row in rows for cell in row if isinstance(cell, Image.Image)]
    width = max((s.width for s in strips), default=4 * LEAST + 3 * GAP)
    height = max((s.height for s in strips), default=LEAST)
    page = Image.new(
        "RGB", (LABEL + len(titles) * (width + ROOM), TOP + len(rows) * (height + ROOM // 2) + ROOM // 2), PAPER_WHITE
    )
    draw = ImageDraw.Draw(page)
    for k, title in enumerate(titles):
        x = LABEL + k * (width + ROOM)
        draw.text((x + width / 2, 8), title, fill=INK, font=_font(28), anchor="ma")
        for a, azimuth in enumerate(AZIMUTHS):
            draw.text((x + (a + 0.5) * width / 4, 42), f"{azimuth}°", fill=FAINT, font=_font(16), anchor="ma")
    for r, (text, row) in enumerate(zip(prompts, rows, strict=True)):
        y = TOP + r * (height + ROOM // 2)
        _wrapped(draw, text, (12, y, LABEL - 24, height))
        for k, cell in enumerate(row):
            x = LABEL + k * (width + ROOM)
            if isinstance(cell, Image.Image):
                page.paste(cell, (x, y))
            else:
                draw.rectangle((x, y, x + width - 1, y + height - 1), fill=MISSING)
                draw.text((x + width / 2, y + height / 2), cell, fill=FAINT, font=_font(20), anchor="mm")
    return page


def _looked(job: Path) -> Image.Image | str:
    """Of a job's pictures those alone that are shown: of a large run all would take minutes."""
    files = views.numbered(job, "rgb")
    try:
        return _strip([_picture(files[v]) for v in _nearest(len(files))])
    except (IndexError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return "not readable"  # said where the job was scored: one damaged picture must not lose the figure


def _picture(file: Path) -> UInt8[ndarray, "H W 3"]:
    with Image.open(file) as image:
        return np.array(image.convert("RGB"))


def _true(truth: Truth, text: str) -> Image.Image | str:
    from eval.truth import over  # which imports torch: most tables need no figure
    from scene.background import GREY

    try:
        rgb, opacity = truth(text)
    except UserError:  # a prompt of one's own
        return "not known"
    pictures = _bytes(over(rgb[0], opacity[0], GREY))
    return _strip([pictures[v] for v in _nearest(len(pictures))])


def _nearest(views: int) -> list[int]:
    """The numbers of the views that are nearest to AZIMUTHS. Raises IndexError where there is none."""
    if not views:
        raise IndexError("no views")
    return [round(azimuth / 360 * views) % views for azimuth in AZIMUTHS]


def _strip(pictures: list[UInt8[ndarray, "H W 3"]]) -> Image.Image:
    """The views from AZIMUTHS, side by side."""
    side = _shown(max(pictures[0].shape[:2]))
    strip = Image.new("RGB", (len(AZIMUTHS) * (side + GAP) - GAP, side), PAPER_WHITE)
    for k, picture in enumerate(pictures):
        strip.paste(_sized(picture, side), (k * (side + GAP), 0))
    return strip


def _shown(side: int, least: int = LEAST) -> int:
    """The size at which a view is shown: a whole multiple for small ones."""
    return min(side * math.ceil(least / side), MOST) if side < MOST else MOST


def _sized(picture: UInt8[ndarray, "H W 3"], side: int) -> Image.Image:
    """With `side` pixels along the longer edge."""
    image = Image.fromarray(picture)
    longer = max(image.size)
    how = Image.Resampling.NEAREST if side % longer == 0 else Image.Resampling.BOX
    width, height = (max(round(side * edge / longer), 1) for edge in image.size)
    return image.resize((width, height), how)


def _bytes(rgb: Float[Tensor, "V 3 H W"]) -> UInt8[ndarray, "V H W 3"]:
    rows = ((view.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy() for view in rgb)
    return np.stack([np.ascontiguousarray(view) for view in rows])


def _wrapped(draw: ImageDraw.ImageDraw, text: str, frame: tuple[int, int, int, int]) -> None:
    """Text in lines that fit the frame (x, y, width, height), centred in its height; smaller where it is long."""
    x, y, width, height = frame
    for size in (20, 18, 16, 14, 12, 10):
        font, lines = _font(size), [""]
        for word in text.split():
            longer = f"{lines[-1]} {word}".strip()
            lines = [*lines[:-1], longer] if draw.textlength(longer, font) <= width else [*lines, word]
        tall = len(lines) * (size + 5)
        if tall <= height and max(draw.textlength(line, font) for line in lines) <= width:
            break
    draw.multiline_text((x, y + (height - tall) / 2), "\n".join(line for line in lines if line), fill=INK, font=font)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _save(image: Image.Image, path: Path) -> Path:
    return replaced(path, lambda aside: image.save(aside, "PNG"))
