"""Grids of small pictures with their prompts."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor


def grid(images: Tensor, labels: list[str], scale: int = 2, columns: int = 1) -> Image.Image:
    """Rows of pictures (R,N,3,H,W) in [0, 1], each row under its label, magnified by whole pixels; the rows fill
    `columns` from the top."""
    rows, n, _, height, width = images.shape
    wide, high = n * width * scale, height * scale + 20
    down = -(-rows // columns)
    page = Image.new("RGB", (columns * wide + (columns - 1) * 12, down * high), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for r in range(rows):
        row = images[r].permute(2, 0, 3, 1).reshape(height, n * width, 3)
        picture = Image.fromarray((row.clamp(0, 1).cpu().numpy() * 255).round().astype(np.uint8))
        x, y = r // down * (wide + 12), r % down * high
        draw.text((x + 4, y + 2), labels[r], fill="black", font=font)
        page.paste(picture.resize((wide, height * scale), Image.Resampling.NEAREST), (x, y + 19))
    return page
