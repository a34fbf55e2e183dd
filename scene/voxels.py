"""A voxel grid of latents: position -> density and latent, rendered from cameras without an autoencoder (SJC,
2212.00774, section 5).

Alphabet: x positions in the cube [-R, R]^3; sigma = softplus(e^c d(x) + b) the density, d a grid of values between
which it interpolates, c a learned scale, b the bias; the latent is interpolated from a second grid, unbounded. What
lies behind is a small picture over the angles (polar, azimuth) of the ray. All as threestudio has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from scene.base import Scene, SceneConfig
from scene.cameras import Cameras, Render, Samples, rays
from scene.volume import March, accumulate, march, weights

CHUNK = 2**14  # rays rendered at a time without gradients


@dataclass(frozen=True)
class VoxelConfig(SceneConfig):
    """Sizes of a voxel grid. The defaults are SJC's, for Stable Diffusion's latents."""

    kind: ClassVar[str] = "voxels"

    channels: int = 4
    size: int = 100  # cells along an edge
    radius: float = 1.0  # R: half the edge of the cube, in scene units
    density_bias: float = -1.0  # b
    background: int = 4  # pixels along an edge of the picture behind
    step: float = 3**0.5 * 100 / 512  # between samples along a ray, in cells: 512 samples along the diagonal
    min_weight: float = 0.0  # the latents of samples of no more weight are not looked up
    background_lr: float = 2e-3  # as a multiple of the grids' learning rate

    @property
    def latent(self) -> bool:
        return True

    def build(self, rng: torch.Generator) -> Voxels:
        return Voxels(self, rng)


class Voxels(Scene):
    """Latents in space. Starts empty, with no density but the bias; what lies behind from N(0, 1). SJC renders views
    twice as large as it shows them."""

    finer: ClassVar[int] = 2

    def __init__(self, config: VoxelConfig, rng: torch.Generator):
        super().__init__()
        c = self.config = config
        self.density_grid = nn.Parameter(torch.zeros(1, 1, c.size, c.size, c.size, device=rng.device))
        self.density_scale = nn.Parameter(torch.zeros((), device=rng.device))  # c
        self.latent_grid = nn.Parameter(torch.zeros(1, c.channels, c.size, c.size, c.size, device=rng.device))
        behind = torch.randn(1, c.channels, c.background, c.background, generator=rng, device=rng.device)
        self.background = nn.Parameter(behind)
        self.step = c.step * 2 * c.radius / c.size

    def parameter_groups(self, lr: float) -> list[dict]:
        """Groups for Adamax: the grids, and what lies behind."""
        grids = [self.density_grid, self.density_scale, self.latent_grid]
        return [{"params": grids, "lr": lr}, {"params": [self.background], "lr": lr * self.config.background_lr}]

    def density(self, x: Float[Tensor, "N 3"]) -> Float[Tensor, " N"]:
        """sigma(x), per scene unit."""
        raw = self._between(self.density_grid, x).squeeze(-1)
        return F.softplus(self.density_scale.exp() * raw + self.config.density_bias)

    def latent(self, x: Float[Tensor, "N 3"]) -> Float[Tensor, "N C"]:
        """The latent at x, the same in every direction."""
        return self._between(self.latent_grid, x)

    def behind(self, direction: Float[Tensor, "R 3"]) -> Float[Tensor, "R C"]:
        """The latent of a ray that meets nothing."""
        x, y, z = direction.unbind(-1)
        polar = torch.atan2((x * x + y * y).sqrt(), z) / torch.pi  # 0 above, 1 below
        around = torch.atan2(y, x) / (2 * torch.pi) + 0.5  # with a seam at the back
        at = (torch.stack([polar, around], -1) * 2 - 1).view(1, 1, -1, 2)
        return F.grid_sample(self.background, at, padding_mode="reflection", align_corners=False)[0, :, 0].T

    def _between(self, grid: Float[Tensor, "1 C G G G"], x: Float[Tensor, "N 3"]) -> Float[Tensor, "N C"]:
        """Trilinear interpolation between cells' centres; nothing beyond the cube. The grid's last axis is x."""
        at = (x / self.config.radius).view(1, 1, 1, -1, 3)
        return F.grid_sample(grid, at, align_corners=False)[0, :, 0, 0].T

    def render(
        self,
        cameras: Cameras,
        resolution: int,
        progress: float = 1.0,
        rng: torch.Generator | None = None,
        shading: str = "albedo",
        normals: bool = False,
    ) -> Render:
        """Latents of `resolution` squared, in `rgb`; with rng, as in training, from stratified samples. A latent cannot
        be lit, and normals are None."""
        origin, direction = (v.reshape(-1, 3) for v in rays(cameras, resolution, resolution))
        offset = torch.full_like(origin[:, 0], 0.5)
        if rng is not None:
            offset = torch.rand(len(origin), generator=rng, device=rng.device).to(origin)
        chunk = len(origin) if torch.is_grad_enabled() else CHUNK
        split = (v.split(chunk) for v in (origin, direction, offset))
        pieces = [self._trace(o, d, u) for o, d, u in zip(*split, strict=True)]
        flat = torch.cat([pixels for pixels, _ in pieces])
        image = flat.reshape(len(cameras), resolution, resolution, -1).permute(0, 3, 1, 2)
        latents, opacity, depth = image.split([self.config.channels, 1, 1], 1)
        return Render(latents, opacity, depth, None, pieces[0][1] if torch.is_grad_enabled() else None)

    def _trace(
        self, origin: Float[Tensor, "R 3"], direction: Float[Tensor, "R 3"], offset: Float[Tensor, " R"]
    ) -> tuple[Float[Tensor, "R D"], Samples]:
        """Latent over its background, opacity and depth, of rays."""
        everywhere = torch.ones(1, 1, 1, dtype=torch.bool, device=origin.device)
        s = march(origin, direction, everywhere, self.config.radius, self.step, offset)
        weight = weights(self.density(s.position) * self.step, s)
        latent = self._latents_that_matter(s, weight.detach())
        ones = torch.ones_like(weight[:, None])
        flat = accumulate(weight, torch.cat([latent, ones, s.distance[:, None]], -1), s)
        latents, opacity, depth = flat.split([self.config.channels, 1, 1], -1)
        latents = latents + (1 - opacity) * self.behind(direction)
        samples = Samples(s.ray, weight, s.distance, direction[s.ray], every=True)
        return torch.cat([latents, opacity, depth], -1), samples

    def _latents_that_matter(self, s: March, weight: Float[Tensor, " N"]) -> Float[Tensor, "N C"]:
        """Latents of the samples of some weight, 0 of the others."""
        matters = (weight > self.config.min_weight).nonzero().squeeze(-1)
        latent = self.latent(s.position[matters])
        return latent.new_zeros(len(weight), self.config.channels).index_copy(0, matters, latent)
