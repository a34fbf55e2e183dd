"""Contact sheet of the toys: front, three-quarter, side and back of each, or of some of their variants.

python -m world.sheet [--only PROMPT ...] [--variants N] [--out FILE]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from rich.progress import track

from prompts import paper43
from scene.cameras import look_at
from world.objects import OBJECTS, Toy
from world.trace import trace

AZIMUTHS = (0, 45, 90, 180)


def strip(toy: Toy, variant: int = 0, resolution: int = 128, elevation: float = 15.0) -> np.ndarray:
    """One row of pictures over grey, (resolution, resolution * n, 3) in [0, 255]."""
    cameras = look_at(elevation, torch.tensor(AZIMUTHS, dtype=torch.float32), 2.0, 40.0)
    view = trace(toy.parts(variant), cameras, resolution, supersample=3)
    image = view.rgb + (1 - view.opacity) * 0.62
    return (image.permute(2, 0, 3, 1).reshape(resolution, -1, 3).clamp(0, 1).numpy() * 255).round().astype(np.uint8)


def sheet(toys: list[Toy], variants: int = 1, columns: int = 3) -> Image.Image:
    """All strips with their prompts, `columns` side by side."""
    rows = [(toy, k) for toy in toys for k in range(variants)]
    strips = [strip(toy, k) for toy, k in track(rows, description="Tracing the toys")]
    height, width = strips[0].shape[:2]
    font = ImageFont.load_default(15)
    page = Image.new("RGB", (columns * (width + 8), -(-len(rows) // columns) * (height + 26)), "white")
    draw = ImageDraw.Draw(page)
    for i, ((toy, k), row) in enumerate(zip(rows, strips, strict=True)):
        x, y = (i % columns) * (width + 8), (i // columns) * (height + 26)
        draw.text((x + 4, y + 3), toy.prompt + (f" / {k}" if k else ""), fill="black", font=font)
        page.paste(Image.fromarray(row), (x, y + 22))
    return page


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m world.sheet", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[p.text for p in paper43()], metavar="PROMPT")
    parser.add_argument("--variants", type=int, default=1, metavar="N", help="rows a toy (default 1: as it is drawn)")
    parser.add_argument("--out", type=Path, default=Path("docs/world.png"))
    args = parser.parse_args()
    missing = [prompt for prompt in args.only if prompt not in OBJECTS]
    if missing:
        print(f"The known world has no toy for {missing[0]!r}; it has: {'; '.join(OBJECTS)}.", file=sys.stderr)
        sys.exit(2)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    sheet([OBJECTS[prompt] for prompt in args.only], args.variants).save(args.out)
    print(args.out)


if __name__ == "__main__":
    main()
