"""What is optimised: a scene, and the sizes that it is built from. A new kind is one file and one line of
`scene.scenes`.

A step of the loop asks a scene, in this order: `update`, `render`, and, after the optimiser's step, `after_step`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from scene.cameras import Cameras, Render


class Scene(nn.Module, ABC):
    """Parameters that can be seen from cameras. All that changes from step to step is in its `state_dict`.

    `finer` is by how much views of a latent scene are rendered larger than they are shown, and averaged down."""

    finer: ClassVar[int] = 1

    @abstractmethod
    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """Groups for the optimiser, at a learning rate that each may scale."""

    def update(self, progress: float, rng: torch.Generator) -> None:
        """Before a step: what a scene refreshes of itself, as an occupancy grid."""

    @abstractmethod
    def render(
        self,
        cameras: Cameras,
        resolution: int,
        progress: float = 1.0,
        rng: torch.Generator | None = None,
        shading: str = "albedo",
        normals: bool = False,
    ) -> Render:
        """Pictures (B,3,resolution,resolution) in [0, 1], or latents (B,C,resolution,resolution). With rng, as in
        training; without, as in evaluation: nothing is random."""

    def after_step(
        self, render: Render, optimizer: torch.optim.Optimizer, progress: float, rng: torch.Generator
    ) -> None:
        """After a step, gradients still there: where a scene changes its shape (Gaussians that split and go), it puts
        other parameters in place of its own, in the optimiser's groups and state too."""

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take a checkpoint's state; a scene whose shape changes takes its shape first."""
        self.load_state_dict(state)


class SceneConfig(ABC):
    """The sizes of a scene, a frozen dataclass of numbers and strings. `kind` is its name in `scene.scenes.SCENES`."""

    kind: ClassVar[str]

    @property
    def latent(self) -> bool:
        """Whether it is made of latents, so that it needs no encoder."""
        return False

    @property
    def flat(self) -> bool:
        """Whether it is a picture, without depth."""
        return False

    @abstractmethod
    def build(self, rng: torch.Generator) -> Scene:
        """A scene as it stands before the first step."""
