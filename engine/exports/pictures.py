"""A scene turning, as a video, and pictures of its normals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from engine.recipes.base import Orbit
from engine.views import CHUNK, eight_bits, render
from files import replaced
from priors.base import Prior
from scene.base import Scene

SECONDS = 5  # of a turn
QUALITY = "18"  # H.264's CRF: no difference that is seen


def turntable(scene: Scene, orbit: Orbit, prior: Prior | None, size: int, file: Path) -> None:
    """The orbit's views in turn as MP4 (H.264, which every browser plays), `size` pixels along an edge, even."""
    views = render(scene, replace(orbit, resolution=size), prior).rgb
    odd = size % 2
    frames = eight_bits(F.pad(views, (0, odd, 0, odd), mode="replicate"))  # colour has half the pixels
    replaced(file, lambda aside: encode(frames, aside))


def encode(frames: UInt8[Tensor, "V H W 3"], file: Path) -> None:
    """V frames as MP4, whose index comes first, so that it plays while it loads."""
    import av

    with av.open(str(file), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=max(round(len(frames) / SECONDS), 1))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.options = "yuv420p", {"crf": QUALITY}
        for frame in frames.numpy():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


@torch.no_grad()
def normals(scene: Scene, orbit: Orbit) -> UInt8[Tensor, "V H W 3"] | None:
    """The normals of the orbit's views as colours, 128 + 127 n: red to the right, green up, blue towards the camera,
    grey where nothing is. None of a scene that has none."""
    cameras, found = orbit.cameras().to(next(scene.parameters()).device), []
    for k in range(0, len(cameras), CHUNK):
        normal: Float[Tensor, "B 3 H W"] | None
        if (normal := scene.render(cameras[k : k + CHUNK], orbit.resolution, normals=True).normal) is None:
            return None
        found.append(eight_bits((128 + 127 * normal) / 255))
    return torch.cat(found)
