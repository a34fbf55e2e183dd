"""A 2D image, or a latent, as a scene: a rule without the third dimension (SDI, 2405.15891, figs. 1 and 8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from scene.base import Scene, SceneConfig
from scene.cameras import Cameras, Render


@dataclass(frozen=True)
class CanvasConfig(SceneConfig):
    """Channels and pixels along an edge. Three channels are an image, kept in [0, 1]; others are a latent, whose first
    values have the deviation `start`."""

    kind: ClassVar[str] = "canvas"

    channels: int = 3
    size: int = 64
    start: float = 1.0

    @property
    def latent(self) -> bool:
        return self.channels != 3

    @property
    def flat(self) -> bool:
        return True

    def build(self, rng: torch.Generator) -> Canvas:
        return Canvas(self, rng)


class Canvas(Scene):
    """One picture, the same from every camera; starts from mid-grey, or from N(0, start^2) for a latent."""

    def __init__(self, config: CanvasConfig, rng: torch.Generator):
        super().__init__()
        self.config = config
        shape = (1, config.channels, config.size, config.size)
        start = torch.randn(shape, generator=rng, device=rng.device)
        self.pixels = nn.Parameter((0.01 if config.channels == 3 else config.start) * start)

    def parameter_groups(self, lr: float) -> list[dict]:
        """The one group for Adam."""
        return [{"params": [self.pixels], "lr": lr}]

    def render(
        self,
        cameras: Cameras,
        resolution: int,
        progress: float = 1.0,
        rng: torch.Generator | None = None,
        shading: str = "albedo",
        normals: bool = False,
    ) -> Render:
        """The picture, resampled to `resolution` squared, once for each camera, fully opaque and without normals."""
        picture = torch.sigmoid(self.pixels) if self.config.channels == 3 else self.pixels
        if resolution != self.config.size:
            picture = F.interpolate(picture, (resolution, resolution), mode="bilinear", antialias=True)
        rgb = picture.expand(len(cameras), -1, -1, -1)
        return Render(rgb, torch.ones_like(rgb[:, :1]), torch.zeros_like(rgb[:, :1]))
