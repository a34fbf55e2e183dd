"""A radiance field: position -> density and colour, rendered from cameras.

Alphabet: x positions in the cube [-R, R]^3; e the hash grid's features of x; sigma = softplus(h(e) + b (1 - |x| / r))
the density, b and r the strength and the radius of the blob it starts from (DreamFusion, 2209.14988; Magic3D's
softplus, 2211.10440); colour = sigmoid(c(e)); n = -grad sigma / |grad sigma|.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from scene.background import GREY, LearnedBackground, coloured, grey_background, linear
from scene.base import Scene, SceneConfig
from scene.cameras import Cameras, Render, Samples, rays
from scene.hash_grid import HashGrid
from scene.kernels.mlp import mlp, mlp_with_slope
from scene.shading import SHADINGS, light_position, shade
from scene.volume import March, accumulate, joined, march, weights

CHUNK = 2**14  # rays marched along at a time; without gradients, also rendered
GRAPH = 2**18  # samples whose graph is kept; where there are more, it is built again when they are differentiated


@dataclass(frozen=True)
class NeRFConfig(SceneConfig):
    """Sizes of a radiance field. The defaults are the known world's; `paper()` is SDI's and SDS's (threestudio)."""

    kind: ClassVar[str] = "nerf"

    radius: float = 0.6  # R: half the edge of the cube, in scene units
    levels: int = 8  # of the hash grid
    features: int = 2  # of a level
    log2_table: int = 15  # rows of a level's table
    base: int = 8  # resolution of the coarsest level
    finest: int = 128  # and of the finest
    start_levels: int = 8  # levels at first
    grow_from: float = 0.0  # progress after which levels join
    grow_every: float = 0.05  # progress between two that join
    hidden: int = 32  # width of the MLPs
    blob_strength: float = 10.0  # b
    blob_radius: float = 0.5  # r, in scene units
    background: Literal["learned", "grey"] = "grey"
    coloured: float = 0.0  # odds that a training view lies on one random colour instead
    samples: int = 48  # steps along the cube's diagonal
    min_weight: float = 1e-3  # samples of less weight take no part
    occupancy: int = 32  # cells along an edge of the occupancy grid
    occupancy_every: int = 8  # updates between two refreshes
    occupancy_decay: float = 0.8  # of the densest point seen, at a refresh
    occupancy_threshold: float = 0.01  # of sigma * step, below which a cell is empty
    mlp_lr: float = 1.0  # learning rates, as multiples of the hash grid's
    background_lr: float = 0.1

    def build(self, rng: torch.Generator) -> NeRF:
        return NeRF(self, rng)

    @classmethod
    def paper(cls) -> NeRFConfig:
        return cls(
            radius=2.0, levels=16, log2_table=19, base=16, finest=4096, start_levels=8, grow_from=0.2,
            hidden=64, background="learned", samples=512, occupancy_every=16, occupancy_decay=0.95, min_weight=1e-4,
        )  # fmt: skip


class NeRF(Scene):
    """A radiance field with its occupancy grid. Starts from rng; state is parameters and buffers alone."""

    density_ema: Tensor
    updates: Tensor

    def __init__(self, config: NeRFConfig, rng: torch.Generator):
        super().__init__()
        c = self.config = config
        self.grid = HashGrid(c.levels, c.features, c.log2_table, c.base, c.finest, rng)
        width = c.levels * c.features
        self.density_mlp = nn.ParameterList([linear(width, c.hidden, rng), linear(c.hidden, 1, rng)])
        self.colour_mlp = nn.ParameterList([linear(width, c.hidden, rng), linear(c.hidden, 3, rng)])
        self.background = LearnedBackground(rng) if c.background == "learned" else None
        self.step = 2 * 3**0.5 * c.radius / c.samples
        self.register_buffer("density_ema", torch.zeros(c.occupancy**3, device=rng.device))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64, device=rng.device))

    def parameter_groups(self, lr: float) -> list[dict]:
        """Groups for Adam: hash grid, MLPs, and a learned background."""
        c = self.config
        mlps = [*self.density_mlp, *self.colour_mlp]
        groups = [{"params": list(self.grid.parameters()), "lr": lr}, {"params": mlps, "lr": lr * c.mlp_lr}]
        if self.background is not None:
            groups.append({"params": list(self.background.parameters()), "lr": lr * c.background_lr})
        return groups

    def encode(
        self, x: Float[Tensor, "N 3"], progress: float = 1.0, known: Float[Tensor, "N E"] | None = None
    ) -> Float[Tensor, "N E"]:
        """e(x): the levels that have joined by now; where it is known, with the gradients that it lacks."""
        return self.grid(x / (2 * self.config.radius) + 0.5, self._active(progress), known)

    def density(self, x: Float[Tensor, "N 3"], e: Float[Tensor, "N E"]) -> Float[Tensor, " N"]:
        """sigma(x), per scene unit."""
        return F.softplus(mlp(e, *self.density_mlp).squeeze(-1) + self._blob(x))

    def density_and_normal(
        self, x: Float[Tensor, "N 3"], progress: float = 1.0
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, "N E"], Float[Tensor, "N 3"]]:
        """sigma, e and the outward unit normal n, all differentiable in the parameters.

        By the chain rule: grad sigma = sigmoid(h + blob) [J_e^T W_1 (relu' * w_2) - b x / (r |x|)]."""
        c = self.config
        e, slope = self.grid.with_slope(x / (2 * c.radius) + 0.5, self._active(progress))
        out, by_e = mlp_with_slope(e, *self.density_mlp)
        outward = x / (x.square().sum(-1, keepdim=True) + 1e-12).sqrt()
        uphill = torch.einsum("kne,ne->nk", slope, by_e) / (2 * c.radius) - c.blob_strength / c.blob_radius * outward
        normal = -uphill / (uphill.square().sum(-1, keepdim=True) + 1e-12).sqrt()
        return F.softplus(out.squeeze(-1) + self._blob(x)), e, normal

    def _active(self, progress: float) -> int:
        c = self.config
        joined = 0 if progress <= c.grow_from else int((progress - c.grow_from) / c.grow_every + 1e-6)
        return c.start_levels + joined

    def _blob(self, x: Float[Tensor, "N 3"]) -> Float[Tensor, " N"]:
        return self.config.blob_strength * (1 - x.norm(dim=-1) / self.config.blob_radius)

    def colour(self, e: Float[Tensor, "N E"]) -> Float[Tensor, "N 3"]:
        """Colour in [0, 1], the same in every direction."""
        return torch.sigmoid(mlp(e, *self.colour_mlp))

    def occupied(self) -> Bool[Tensor, "G G G"]:
        """The cells where samples are taken: those denser than the threshold, and their neighbours.

        Of an empty scene, those no thinner than the mean: a scene can always grow again. All, before an update."""
        alpha = self.density_ema * self.step
        grid = (alpha >= alpha.mean().clamp(max=self.config.occupancy_threshold)).reshape([self.config.occupancy] * 3)
        for axis in range(3):
            below, above = grid.narrow(axis, 0, len(grid) - 1), grid.narrow(axis, 1, len(grid) - 1)
            grid = grid.clone()
            grid.narrow(axis, 1, len(grid) - 1).logical_or_(below)
            grid.narrow(axis, 0, len(grid) - 1).logical_or_(above)
        return grid

    @torch.no_grad()
    def update(self, progress: float, rng: torch.Generator) -> None:
        """To be called once a step, before rendering: every few calls, refreshes the occupancy grid at a random point
        of each cell (Instant-NGP, 2201.05989, appendix C)."""
        c = self.config
        if self.updates % c.occupancy_every == 0:
            axis = torch.arange(c.occupancy, device=self.density_ema.device)
            cells = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
            jitter = torch.rand(cells.shape, generator=rng, device=rng.device).to(cells.device)
            x = ((cells + jitter) / c.occupancy * 2 - 1) * c.radius
            sigma = torch.cat([self.density(p, self.encode(p, progress)) for p in x.split(CHUNK)])
            torch.maximum(self.density_ema * c.occupancy_decay, sigma, out=self.density_ema)
        self.updates += 1

    def render(
        self,
        cameras: Cameras,
        resolution: int,
        progress: float = 1.0,
        rng: torch.Generator | None = None,
        shading: str = "albedo",
        normals: bool = False,
    ) -> Render:
        """Pictures of `resolution` squared. With rng, as in training: stratified samples, random backgrounds and
        lights; without, as in evaluation: nothing is random. Rays, and samples with gradients, are taken in chunks, so
        that memory grows with what can be seen, some 100 bytes a sample; the gradient is that of the whole.

        Raises ValueError for a shading that is not one of SHADINGS."""
        if shading not in SHADINGS:
            raise ValueError(f"shading must be one of {', '.join(SHADINGS)}, not {shading!r}")
        origin, direction = (v.reshape(-1, 3) for v in rays(cameras, resolution, resolution))
        offset = torch.full_like(origin[:, 0], 0.5)
        if rng is not None:
            offset = torch.rand(len(origin), generator=rng, device=rng.device).to(origin)
        light = light_position(cameras, rng) if shading != "albedo" else cameras.c2w[:, :3, 3]
        light = light.repeat_interleave(resolution**2, 0)
        chunk = len(origin) if torch.is_grad_enabled() else CHUNK
        occupied = self.occupied()
        pieces = [
            self._trace(o, d, u, at, occupied, progress, shading, normals)
            for o, d, u, at in zip(*(v.split(chunk) for v in (origin, direction, offset, light)), strict=True)
        ]
        flat = torch.cat([pixels for pixels, _ in pieces])
        image = flat.reshape(len(cameras), resolution, resolution, -1).permute(0, 3, 1, 2)
        rgb, opacity, depth = image[:, :3], image[:, 3:4], image[:, 4:5]
        rgb = rgb + (1 - opacity) * self._behind(direction, len(cameras), resolution, rng)
        normal = torch.einsum("bji,bjhw->bihw", cameras.c2w[:, :3, :3], image[:, 5:8]) if normals else None
        return Render(rgb, opacity, depth, normal, pieces[0][1] if torch.is_grad_enabled() else None)

    def _trace(
        self,
        origin: Float[Tensor, "R 3"],
        direction: Float[Tensor, "R 3"],
        offset: Float[Tensor, " R"],
        light: Float[Tensor, "R 3"],
        occupied: Bool[Tensor, "G G G"],
        progress: float,
        shading: str,
        normals: bool,
    ) -> tuple[Float[Tensor, "R C"], Samples]:
        """Colour without background, opacity, depth, and where asked for the world-space normal, of rays."""
        with torch.no_grad():
            s, known = self._visible(origin, direction, offset, occupied, progress)
        lit = normals or shading != "albedo"
        if len(s.ray) <= GRAPH or not torch.is_grad_enabled():
            sigma, colour, normal = self._field(s.position, progress, lit, known)
        else:
            parts = [
                checkpoint(self._field, x, progress, lit, use_reentrant=False, preserve_rng_state=False)
                for x in s.position.split(GRAPH)
            ]
            sigmas, colours, lit_normals = zip(*parts, strict=True)
            sigma, colour = torch.cat(sigmas), torch.cat(colours)
            normal = torch.cat(lit_normals) if lit else None
        weight = weights(sigma * self.step, s)
        if normal is not None and shading != "albedo":
            colour = shade(shading, colour, normal, s.position, light[s.ray])
        value = [colour, torch.ones_like(weight[:, None]), s.distance[:, None]]
        if normal is not None:
            value.append(normal)
        samples = Samples(s.ray, weight, s.distance, direction.index_select(0, s.ray), normal)
        return accumulate(weight, torch.cat(value, -1), s), samples

    def _field(
        self, x: Float[Tensor, "N 3"], progress: float, lit: bool, known: Float[Tensor, "N E"] | None = None
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, "N 3"], Float[Tensor, "N 3"] | None]:
        """Density, colour, and where asked for the normal, of points."""
        if lit:
            sigma, e, normal = self.density_and_normal(x, progress)
            return sigma, self.colour(e), normal
        e = self.encode(x, progress, known)
        return self.density(x, e), self.colour(e), None

    def _visible(
        self,
        origin: Float[Tensor, "R 3"],
        direction: Float[Tensor, "R 3"],
        offset: Float[Tensor, " R"],
        occupied: Bool[Tensor, "G G G"],
        progress: float,
    ) -> tuple[March, Float[Tensor, "M E"] | None]:
        """The samples that matter: those of weight over `min_weight`, or all where there are none, so that a scene that
        has faded keeps its gradients. Also their features, unless there were too many to keep."""
        c, gpu = self.config, origin.is_cuda  # which wants few launches; a CPU wants what its cache holds
        chunks = list(zip(*(v.split(4 * CHUNK if gpu else CHUNK) for v in (origin, direction, offset)), strict=True))
        marches, features, found = [], [], 0
        for o, d, u in chunks:
            s = march(o, d, occupied, c.radius, self.step, u)
            found += len(s.ray)
            sigma, known = [], []
            for x in s.position.split(GRAPH if gpu else CHUNK):
                e = self.encode(x, progress)
                sigma.append(self.density(x, e))
                known += [e] if found <= GRAPH else []
            matters = weights(torch.cat(sigma) * self.step, s) > c.min_weight
            marches.append(s.keep(matters))
            if found <= GRAPH:
                features.append(_taken(known, matters.nonzero().squeeze(-1)))
        kept = joined(marches)
        if len(kept.ray) == 0:
            return joined([march(o, d, occupied, c.radius, self.step, u) for o, d, u in chunks]), None
        return kept, _taken(features) if found <= GRAPH else None

    def _behind(
        self, direction: Float[Tensor, "R 3"], n: int, resolution: int, rng: torch.Generator | None
    ) -> Float[Tensor, "B 3 H W"] | float:
        """What the volume is laid over."""
        if self.background is not None:
            behind = self.background(direction).reshape(n, resolution, resolution, 3).permute(0, 3, 1, 2)
        elif rng is None:
            return GREY
        else:
            behind = grey_background(n, resolution, resolution, rng).to(direction)
        return coloured(behind, self.config.coloured, rng) if rng is not None and self.config.coloured else behind


def _taken(parts: list[Float[Tensor, "_ E"]], at: Int[Tensor, " M"] | None = None) -> Float[Tensor, "_ E"]:
    """Features of several calls together, or those of some points, in the order in which the kernels laid them."""
    if parts[0].T.is_contiguous():
        whole = torch.cat([e.T for e in parts], 1)
        return whole.T if at is None else whole.index_select(1, at).T
    whole = torch.cat(parts)
    return whole if at is None else whole.index_select(0, at)
