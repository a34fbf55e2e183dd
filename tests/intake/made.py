"""What people hand in, in small: threestudio's tree, GPTEval3D's, videos, meshes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml
from PIL import Image

SIDE = 16


def view(k: int, side: int = SIDE) -> np.ndarray:
    """A picture that is unlike its neighbours."""
    picture = np.full((side, side, 3), 153, np.uint8)
    picture[4:12, 2 + k % 8 : 8 + k % 8] = (40 * k % 256, 200, 30)
    return picture


def views(folder: Path, n: int = 4, name: str = "rgb_{:03d}.png", start: int = 0, **options) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(n):
        Image.fromarray(view(k, **options)).save(folder / name.format(k + start), quality=95)
    return folder


def row(k: int, panels: int = 3) -> Image.Image:
    """rgb | normal | opacity, as threestudio writes a test view."""
    rgb, normal = view(k), np.full((SIDE, SIDE, 3), (128, 128, 255), np.uint8)
    opacity = (255 * (rgb != 153).any(2)).astype(np.uint8)[..., None].repeat(3, 2)
    return Image.fromarray(np.concatenate([rgb, normal, opacity][-panels:] if panels == 3 else [rgb, opacity], 1))


def run(
    root: Path, method: str, prompt: str, seed: int = 0, n: int = 4, steps: int = 100, of: int = 100,
    time: str = "20240101-120000", again: bool = True, panels: int = 3,
) -> Path:  # fmt: skip
    """A threestudio run's folder; `again`: its test turn ends where it begins."""
    folder = root / method / f"{prompt.replace(' ', '_')}@{time}"
    (folder / "configs").mkdir(parents=True)
    settings = {"name": method, "seed": seed, "trainer": {"max_steps": of}}
    settings["system"] = {"prompt_processor": {"prompt": prompt}}
    (folder / "configs" / "parsed.yaml").write_text(yaml.safe_dump(settings))
    (folder / "ckpts").mkdir()
    if steps:
        test = folder / "save" / f"it{steps}-test"
        test.mkdir(parents=True)
        for k in range(n + again):
            row(k % n, panels).save(test / f"{k}.png")
        (folder / "save" / f"it{steps}-test.mp4").write_bytes(b"a video of the same")
    return folder


def video(file: Path, n: int = 6, **options: str) -> Path:
    import av

    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file), "w", options=options) as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for k in range(n):
            for packet in stream.encode(av.VideoFrame.from_ndarray(view(k, 32), format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return file


def gif(file: Path, n: int = 6) -> Path:
    first, *rest = (Image.fromarray(view(k)) for k in range(n))
    first.save(file, save_all=True, append_images=rest)
    return file


def box(file: Path, extents=(1.0, 0.6, 0.3)) -> Path:
    """A box whose colours are its places: x is red, y green, z blue."""
    import trimesh

    file.parent.mkdir(parents=True, exist_ok=True)
    made = trimesh.creation.box(extents)
    colours = (255 * (made.vertices > 0)).astype(np.uint8)
    made.visual = trimesh.visual.ColorVisuals(made, vertex_colors=np.c_[colours, np.full(len(colours), 255, np.uint8)])
    made.export(file)
    return file
