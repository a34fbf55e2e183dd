"""Contact sheet of the toys: front, three-quarter, side, three-quarter back and back of each.

python -m world.sheet [--only PROMPT ...] [--out FILE]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from scene.cameras import look_at
from world.objects import OBJECTS, Toy
from world.trace import trace

AZIMUTHS = (0, 45, 90, 135, 180, 270)


def strip(toy: Toy, resolution: int = 128, elevation: float = 15.0) -> np.ndarray:
    """One row of pictures over grey, (resolution, resolution * n, 3) in [0, 255]."""
    cameras = look_at(elevation, torch.tensor(AZIMUTHS, dtype=torch.float32), 2.0, 40.0)
    view = trace(toy.parts, cameras, resolution, supersample=3)
    image = view.rgb + (1 - view.opacity) * 0.62
    return (image.permute(2, 0, 3, 1).reshape(resolution, -1, 3).clamp(0, 1).numpy() * 255).round().astype(np.uint8)


def sheet(toys: list[Toy], columns: int = 2) -> Image.Image:
    """All strips with their prompts, `columns` toys side by side."""
    strips = [strip(toy) for toy in toys]
    height, width = strips[0].shape[:2]
    font = ImageFont.load_default(15)
    page = Image.new("RGB", (columns * (width + 8), -(-len(toys) // columns) * (height + 26)), "white")
    draw = ImageDraw.Draw(page)
    for i, (toy, row) in enumerate(zip(toys, strips, strict=True)):
        x, y = (i % columns) * (width + 8), (i // columns) * (height + 26)
        draw.text((x + 4, y + 3), toy.prompt, fill="black", font=font)
        page.paste(Image.fromarray(row), (x, y + 22))
    return page


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m world.sheet", description=__doc__)
    parser.add_argument("--only", nargs="+", default=list(OBJECTS), metavar="PROMPT")
    parser.add_argument("--out", type=Path, default=Path("docs/world.png"))
    args = parser.parse_args()
    missing = [prompt for prompt in args.only if prompt not in OBJECTS]
    if missing:
        print(f"The known world has no toy for {missing[0]!r}; it has: {'; '.join(OBJECTS)}.", file=sys.stderr)
        sys.exit(2)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    sheet([OBJECTS[prompt] for prompt in args.only]).save(args.out)
    print(args.out)


if __name__ == "__main__":
    main()
