"""A run of any size, its scores drawn around the reference's, its pictures shared: what tables and pages cost.

python -m tests.reports.many DIR [--methods 12] [--prompts 43] [--seeds 5] [--views 50] [--size 64]
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from zlib import crc32

import numpy as np
import torch

from eval.score import Scores, write
from names import RECIPES
from prompts import Prompt, paper43
from reports.columns import column
from tests.reports.synthetic import JUDGED, ball, save

MEANS = {  # metric: (mean, spread between methods, between prompts, between views)
    "clip_score": (72.0, 6.0, 8.0, 2.0),
    "iqa_quality": (60.0, 8.0, 9.0, 5.0),
    "iqa_sharpness": (80.0, 4.0, 4.0, 3.0),
    "iqa_real": (68.0, 3.0, 5.0, 3.0),
    "image_reward": (0.3, 0.15, 0.4, 0.1),
    "r_precision": (95.0, 2.0, 4.0, 1.0),
    "iou": (0.76, 0.04, 0.06, 0.03),
    "psnr": (20.0, 1.0, 2.0, 0.5),
    "psnr_paired": (18.0, 1.0, 2.0, 0.5),
    "sharpness": (0.9, 0.2, 0.2, 0.05),
    "chroma": (1.3, 0.2, 0.2, 0.05),
    "clipped": (4.0, 2.0, 2.0, 1.0),
    "fog": (5.0, 2.0, 2.0, 1.0),
}
DIVERGE = 29  # of so many jobs one leaves nothing, and one is not a number


def synthesise(
    run: Path, methods: int = 12, prompts: int = 43, seeds: int = 5, views: int = 50, size: int = 64
) -> list[Prompt]:
    """Write the run; returns its prompts. Seeds of one prompt and method share their pictures' files."""
    rng, chosen = np.random.default_rng(0), paper43()[:prompts]
    level = {method: rng.normal(size=len(MEANS)) for method in list(RECIPES)[:methods]}
    hard = {prompt.id: rng.normal(size=len(MEANS)) for prompt in chosen}
    for p, prompt in enumerate(chosen):
        rgb, opacity = ball(views, size, turn=10.0 * p, hue=p % 3)
        for m, method in enumerate(level):
            pictures = _pictures(run / ".pool" / method / prompt.id, rgb * (1 - 0.03 * m), opacity, m)
            for seed in range(seeds):
                number = (p * methods + m) * seeds + seed
                folder = run / method / prompt.id / str(seed)
                folder.mkdir(parents=True)
                status = "non-finite" if number % DIVERGE == DIVERGE - 1 else "finished"
                _told(folder, method, m, prompt, seed, status, views, size)
                if status == "finished":
                    (folder / "views").mkdir()
                    for file in pictures:
                        os.link(file, folder / "views" / file.name)
                gone = status != "finished" or number % DIVERGE == 7
                scores = _scores(rng, level[method], hard[prompt.id], views, opacity=0.0 if gone else 0.3)
                write(folder, Scores(scores, {}, JUDGED))
    return list(chosen)


def _pictures(pool: Path, rgb: torch.Tensor, opacity: torch.Tensor, turned: int) -> list[Path]:
    pool.mkdir(parents=True)
    rgb, opacity = rgb.roll(turned, 0), opacity.roll(turned, 0)
    for v in range(len(rgb)):
        save(rgb[v], pool / f"rgb_{v:03d}.png")
        save(opacity[v], pool / f"opacity_{v:03d}.png")
    return sorted(pool.iterdir())


def _told(folder: Path, method: str, m: int, prompt: Prompt, seed: int, status: str, views: int, size: int) -> None:
    orbit = {"views": views, "elevation": 15.0, "distance": 2.0, "fov": 40.0, "resolution": size}
    recipe = {"name": method, "steps": 300, "resolution": size, "suite": "world", "track": "controlled", "orbit": orbit}
    prior = {"name": "world", "checksum": "4c" * 32}
    config = {"key": f"{crc32(f'{method} {prompt.id} {seed}'.encode()):012x}", "recipe": recipe, "prior": prior,
              "prompt": prompt.text, "seed": seed, "commit": "0123456789abcdef"}  # fmt: skip
    cause = None if status == "finished" else "a gradient is not finite in step 117"
    nfe = 300 * (1 + m % 7)
    record = {"status": status, "cause": cause, "step": 300, "steps": 300, "nfe": nfe, "network_rows": 2 * nfe,
              "seconds": 0.05 * nfe + 10 + m, "peak_bytes": 2_000_000_000 + m * 10**8, "memory": "CUDA peak",
              "device": "x86_64", "threads": 1, "together": 1}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    (folder / "record.json").write_text(json.dumps(record, indent=1))


def _scores(
    rng: np.random.Generator, level: np.ndarray, hard: np.ndarray, views: int, opacity: float
) -> dict[str, list[float]]:
    own = rng.normal(size=len(MEANS)) * 0.4
    scores = {
        key: (mean + by_method * level[k] + by_prompt * (hard[k] + own[k]) + by_view * rng.normal(size=views))
        .clip(*column(key).limits)
        .tolist()
        for k, (key, (mean, by_method, by_prompt, by_view)) in enumerate(MEANS.items())
    }
    return scores | {"opacity": [opacity] * views}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    for name, default in (("methods", 12), ("prompts", 43), ("seeds", 5), ("views", 50), ("size", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    synthesise(**vars(parser.parse_args()))
