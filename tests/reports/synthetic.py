"""Synthetic runs: coloured balls on grey, in the folders that the engine leaves."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from PIL import Image

from eval.metrics import METRICS
from eval.score import Scores, write
from prompts import Prompt, paper43
from scene.background import GREY

WORLD = paper43()
JUDGED = {"encoder": "e" * 16, "candidates": "07 14"}


def ball(views: int = 8, size: int = 32, radius: float = 0.6, turn: float = 0.0, hue: int = 0) -> tuple:
    """rgb over grey and opacity: an ellipse, with a spot that goes round, and from the front a second one."""
    y, x = torch.meshgrid(torch.linspace(1, -1, size), torch.linspace(-1, 1, size), indexing="ij")
    rgb, opacity = torch.full((views, 3, size, size), GREY), torch.zeros(views, 1, size, size)
    for v in range(views):
        angle = torch.deg2rad(torch.tensor(360.0 * v / views - turn))
        wide = radius * (0.7 + 0.3 * angle.cos().abs())
        inside = (x / wide) ** 2 + (y / radius) ** 2 < 1
        beak = (x - radius * angle.sin()) ** 2 + y**2 < 0.03
        opacity[v, 0] = (inside | beak).float()
        colour = torch.tensor([0.8, 0.15, 0.2]).roll(hue)[:, None, None].expand(3, size, size)
        shaded = colour * (0.75 + 0.25 * y)
        shaded = torch.where(beak, torch.tensor([0.9, 0.75, 0.1])[:, None, None], shaded)
        rgb[v] = torch.where(opacity[v] > 0.5, shaded, rgb[v])
    return rgb, opacity


def write_job(
    run: Path,
    method: str,
    prompt: Prompt,
    seed: int = 0,
    pictures: tuple | None = None,
    status: str = "finished",
    scores: dict | None = None,
    steps: int = 300,
    prior: str = "p" * 64,
    memory: str = "CUDA peak",
    commit: str | None = None,
) -> Path:
    folder = run / method / prompt.id / str(seed)
    (folder / "views").mkdir(parents=True)
    orbit = {"views": 8, "resolution": 32}
    recipe = {"name": method, "steps": steps, "resolution": 32, "track": "controlled", "orbit": orbit}
    config = {"recipe": recipe, "prompt": prompt.text, "seed": seed, "prior": {"name": "tiny", "checksum": prior}}
    config |= {"commit": commit} if commit else {}
    cause = None if status == "finished" else "the rule's gradient is not finite"
    record = {"status": status, "cause": cause, "step": steps, "nfe": 3 * steps, "network_rows": 6 * steps}
    record |= {
        "seconds": 120.0,
        "peak_bytes": 2_000_000_000,
        "memory": memory,
        "device": "x86_64",
        "threads": 1,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "record.json").write_text(json.dumps(record))
    if pictures is None:
        (folder / "views").rmdir()
    else:
        for v, (rgb, opacity) in enumerate(zip(*pictures, strict=True)):
            save(rgb, folder / "views" / f"rgb_{v:03d}.png")
            save(opacity, folder / "views" / f"opacity_{v:03d}.png")
    if scores is not None:
        write(folder, Scores({name: values.tolist() for name, values in scores.items()}, {}, JUDGED))
    return folder


def save(image: torch.Tensor, path: Path) -> None:
    pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(path)


def random_scores(rng: torch.Generator, level: float = 0.0, views: int = 8, opacity: float = 0.3) -> dict:
    """Scores of the usual sizes; `level` raises them all."""
    means = {"clip_score": 30.0, "iqa_quality": 80.0, "iqa_sharpness": 90.0, "iqa_real": 95.0, "r_precision": 60.0}
    means |= {"yaw": 0.0, "iou": 0.6, "psnr": 20.0, "sharpness": 0.7, "chroma": 1.2, "clipped": 3.0, "fog": 4.0}
    spread = {"iou": 0.05, "sharpness": 0.1, "chroma": 0.1, "yaw": 0.0}
    job = torch.randn((), generator=rng)
    scores = {
        name: mean + spread.get(name, 1.0) * (level + job + torch.randn(views, generator=rng))
        for name, mean in means.items()
    }
    limits = {m.key: m.limits for m in METRICS}
    scores = {name: values.clamp(*limits[name]) for name, values in scores.items()}
    return scores | {"opacity": torch.full((views,), opacity)}
