"""The pictures of a job: those of this benchmark's folders, or of any method's.

<method>/<prompt-id>/<seed>/views/{rgb,opacity}_000.png ...    with config.json, record.json
<method>/<prompt-id>/<seed>/rgb_000.png ...                    made elsewhere: one turn, the first view at the front
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from errors import UserError
from files import read_json

ORBIT = "orbit.json"  # beside the views


@dataclass(frozen=True)
class Pictures:
    """V views at azimuths 360 v / V. `opacity` is None where it is not known."""

    rgb: Float[Tensor, "V 3 H W"]
    opacity: Float[Tensor, "V 1 H W"] | None


def jobs(run: Path) -> list[Path]:
    """The job folders of a run, sorted. Raises UserError where there are none."""
    if not run.is_dir():
        raise UserError(f"There is no run in {run}: the folder does not exist.")
    folders = [f for f in sorted(run.glob("[!.]*/[!.]*/[!.]*")) if f.is_dir()]
    found = [f for f in folders if (f / "record.json").exists() or has_pictures(f)]
    if not found:
        raise UserError(
            f"There are no jobs in {run}: expected <method>/<prompt-id>/<seed>/ with record.json or rgb_000.png."
        )
    return found


def orbit_of(job: Path) -> dict[str, Any]:
    """From where a job's views are seen, as engine.recipes.base.Orbit has it: as is said beside them, or, of jobs of
    before that was so, in their settings; {} for pictures made elsewhere, and where there are none."""
    if not has_pictures(job):
        return {}
    beside, settings = job / "views" / ORBIT, job / "config.json"
    if beside.exists():
        return read_json(beside)
    return read_json(settings).get("recipe", {}).get("orbit", {}) if settings.exists() else {}


def has_pictures(job: Path) -> bool:
    return (_folder(job) / "rgb_000.png").exists()


def read(job: Path) -> Pictures:
    """The views of a job, in order. Raises UserError for none, a gap, a damaged one, or sizes that differ."""
    folder = _folder(job)
    files = sorted(folder.glob("rgb_*.png"))
    if not files:
        raise UserError(f"There are no views in {folder}: expected rgb_000.png and so on.")
    for v, file in enumerate(files):
        if file.name != f"rgb_{v:03d}.png":
            raise UserError(
                f"The view rgb_{v:03d}.png is missing in {folder}: its views must be numbered without a gap."
            )
    opacities = [file.with_name(file.name.replace("rgb_", "opacity_")) for file in files]
    known = opacities[0].exists()
    return Pictures(_stack(files, "RGB"), _stack(opacities, "L") if known else None)


def _folder(job: Path) -> Path:
    return job / "views" if (job / "views").is_dir() else job


def _stack(files: list[Path], mode: str) -> Tensor:
    pictures = [_picture(file, mode) for file in files]
    for file, picture in zip(files, pictures, strict=True):
        if picture.shape != pictures[0].shape:
            size, first = (f"{p.shape[2]}x{p.shape[1]}" for p in (picture, pictures[0]))
            raise UserError(f"The view {file} is {size} where the first is {first}: all views of a job have one size.")
    return torch.stack(pictures)


def _picture(file: Path, mode: str) -> Tensor:
    """(C,H,W) in [0, 1]. A transparent picture has no background to score, and is refused."""
    try:
        with Image.open(file) as image:
            if image.mode not in ("RGB", "L"):
                raise UserError(f"The view {file} is of mode {image.mode}: save it as 8-bit RGB over its background.")
            pixels = np.array(image.convert(mode))
    except FileNotFoundError as error:
        raise UserError(f"The view {file} is missing: run the job again.") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(
            f"The view {file} is damaged: delete its job's folder and run the same command again."
        ) from error
    return torch.from_numpy(pixels).reshape(*pixels.shape[:2], -1).permute(2, 0, 1).float() / 255
