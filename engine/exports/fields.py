"""What a scene is in space: its density, per scene unit, at any point of a box. A picture has none."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from scene.base import Scene
from scene.gaussians import Gaussians
from scene.nerf import NeRF
from scene.splatting import rotations
from scene.volume import cell_of, occupied_box
from scene.voxels import Voxels

CHUNK = 2**16  # points asked for at a time
PAIRS = 2**22  # of a Gaussian and a point, looked at in one go
REACH = 3.0  # standard deviations, beyond which a Gaussian is nothing
EDGE = 1.0  # scene units from the origin, beyond which stray Gaussians are left out: half way to the cameras
MOST_OPAQUE = 0.999  # a Gaussian's opacity: at 1 its density is infinite


@dataclass(frozen=True)
class Field:
    """In the box from `low` to `high`, in scene units; nothing is outside of it. `density` takes points to numbers per
    scene unit, at least 0."""

    low: Float[Tensor, " 3"]
    high: Float[Tensor, " 3"]
    density: Callable[[Float[Tensor, "N 3"]], Float[Tensor, " N"]]

    @property
    def is_empty(self) -> bool:
        return not bool((self.high > self.low).all())


@torch.no_grad()
def field_of(scene: Scene, resolution: int) -> Field | None:
    """A scene's field; None of a kind that has none. `resolution` cells along the longest edge is what it will be asked
    at."""
    made = FIELDS.get(type(scene))
    return made(scene, resolution) if made else None


def of_nerf(scene: NeRF, resolution: int) -> Field:
    """Where no cell is occupied a render takes no sample, and there is nothing here, either."""
    occupied = scene.occupied()
    radius, cells = scene.config.radius, occupied.reshape(-1)

    def density(x: Float[Tensor, "N 3"]) -> Float[Tensor, " N"]:
        sigma = x.new_zeros(len(x))
        at = (cells[cell_of(x, len(occupied), radius)] & (x.abs() < radius).all(-1)).nonzero().squeeze(-1)
        for some in at.split(CHUNK):
            sigma[some] = scene.density(x[some], scene.encode(x[some]))
        return sigma

    return Field(*occupied_box(occupied, radius), density)


def of_voxels(scene: Voxels, resolution: int) -> Field:
    """The whole cube."""
    corner = scene.density_grid.new_full((3,), scene.config.radius)

    def density(x: Float[Tensor, "N 3"]) -> Float[Tensor, " N"]:
        return torch.where((x.abs() < corner).all(-1), scene.density(x), 0.0)

    return Field(-corner, corner, density)


def of_gaussians(scene: Gaussians, resolution: int) -> Field:
    """The sum of all Gaussians on a grid, between whose points it is interpolated. One of opacity o and standard
    deviation s along its thinnest axis has the density rho exp(-d^2 / 2), d in standard deviations, that lets 1 - o of
    a ray's light through along that axis: rho = -log(1 - o) / (s sqrt(2 pi)). What is thinner than half a cell is made
    as thick, with the same opacity, so that it is not lost between points."""
    s = scene.splats()
    reach = REACH * s.scale.amax(-1, keepdim=True)
    low, high = (s.mean - reach).amin(0).clamp(min=-EDGE), (s.mean + reach).amax(0).clamp(max=EDGE)
    cell = float((high - low).amax() / (resolution - 1))
    scale = s.scale.clamp(min=0.5 * cell)
    rho = -torch.log1p(-s.opacity.clamp(max=MOST_OPAQUE)) / (scale.amin(-1) * math.sqrt(2 * math.pi))
    shape = ((high - low) / cell).ceil().long() + 1
    reach = REACH * scale.amax(-1, keepdim=True)
    first = ((s.mean - reach - low) / cell).ceil().long().clamp(min=0)
    size = (torch.minimum(((s.mean + reach - low) / cell).floor().long(), shape - 1) - first + 1).clamp(min=0)
    to_local = rotations(s.rotation).mT / scale[:, :, None]
    grid = s.mean.new_zeros(int(shape.prod()))
    for some in _batches(size.prod(-1)):
        one, at = _pairs(size[some])
        one, at = one + some.start, at + first[some][one]
        d = torch.einsum("nij,nj->ni", to_local[one], low + at * cell - s.mean[one])
        value = rho[one] * torch.exp(-0.5 * d.square().sum(-1))
        grid.index_add_(0, (at[:, 0] * shape[1] + at[:, 1]) * shape[2] + at[:, 2], value)
    return _between(grid.reshape(shape.tolist()), low, cell)


def _batches(count: Int[Tensor, " M"]) -> Iterator[slice]:
    """Neighbours that have at most PAIRS together, or one that has more."""
    ends, begin = count.cumsum(0), 0
    while begin < len(ends):
        done = ends[begin - 1] if begin else ends.new_zeros(())
        end = max(int(torch.searchsorted(ends, done + PAIRS, right=True)), begin + 1)
        yield slice(begin, end)
        begin = end


def _pairs(size: Int[Tensor, "M 3"]) -> tuple[Int[Tensor, " P"], Int[Tensor, "P 3"]]:
    """All cells of M boxes: whose each is, and where in its box."""
    count = size.prod(-1)
    one = torch.arange(len(size), device=size.device).repeat_interleave(count)
    k = torch.arange(len(one), device=size.device) - (count.cumsum(0) - count)[one]
    ny, nz = size[one, 1], size[one, 2]
    return one, torch.stack([k // (ny * nz), k // nz % ny, k % nz], -1)


def _between(grid: Float[Tensor, "X Y Z"], low: Float[Tensor, " 3"], cell: float) -> Field:
    """The field of densities on a grid whose first point is `low`."""
    size = cell * (torch.tensor(grid.shape, device=grid.device) - 1)

    def density(x: Float[Tensor, "N 3"]) -> Float[Tensor, " N"]:
        at = ((x - low) / size * 2 - 1).flip(-1).view(1, 1, 1, -1, 3)  # grid_sample's first axis is the grid's last
        return F.grid_sample(grid[None, None], at, align_corners=True)[0, 0, 0, 0]

    return Field(low, low + size, density)


FIELDS: dict[type[Scene], Callable[..., Field]] = {NeRF: of_nerf, Gaussians: of_gaussians, Voxels: of_voxels}
