"""The published weights of the paper's suite in small: the same files, names, types and settings, at small widths and
with random numbers, so that every command on published weights can be tried on a CPU in minutes.

    python -m tests.published DIR
    export SCORE_DISTILLATION_WEIGHTS=DIR
"""

from __future__ import annotations

from pathlib import Path


def write(place: Path) -> Path:
    """The five folders of engine/weights.json, as they are after `fetch`; about 9 MB, in seconds. Equal each time."""
    from tests.published import clip, reward, stable_diffusion

    for name in ("sd21-base", "sd21"):
        stable_diffusion.write(place / name, name)
    clip.write_vit(place / "clip-vit-b32")
    clip.write_rn50(place / "clip-iqa-rn50")
    reward.write(place / "image-reward")
    return place
