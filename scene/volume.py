"""Volume rendering: where rays are sampled, and how samples become pixels (NeRF, 2003.08934, eq. 3).

Alphabet: R rays, N samples, packed: `ray` and `slot` say which ray a sample belongs to and which step along it it is;
`distance` along the ray; tau = sigma * step the optical thickness of a sample; T_i = exp(-sum_{j<i} tau_j) the light
that reaches it; weight w_i = T_i (1 - exp(-tau_i)), so that opacity = sum_i w_i = 1 - exp(-sum_i tau_i).

In float32, on a CPU or a GPU, compiled kernels do what goes along rays (`scene.kernels.rays`); their plain twins are
here.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from scene.kernels import rays as compiled_rays
from scene.kernels.compiled import serves


@dataclass(frozen=True)
class March:
    """N samples along R rays, sorted by ray, then from near to far; at most `slots` a ray."""

    ray: Int[Tensor, " N"]
    slot: Int[Tensor, " N"]
    distance: Float[Tensor, " N"]
    position: Float[Tensor, "N 3"]
    rays: int
    slots: int

    def keep(self, mask: Bool[Tensor, " N"]) -> March:
        """The samples of a mask."""
        i = mask.nonzero().squeeze(-1)
        ray, slot, distance, position = (
            v.index_select(0, i) for v in (self.ray, self.slot, self.distance, self.position)
        )
        return March(ray, slot, distance, position, self.rays, self.slots)


def joined(marches: list[March]) -> March:
    """One march along the rays of several, in their order."""
    if len(marches) == 1:
        return marches[0]
    first = list(itertools.accumulate((m.rays for m in marches), initial=0))
    ray = torch.cat([m.ray + n for m, n in zip(marches, first[:-1], strict=True)])
    slot, distance, position = (
        torch.cat([getattr(m, name) for m in marches]) for name in ("slot", "distance", "position")
    )
    return March(ray, slot, distance, position, first[-1], max(m.slots for m in marches))


def intersect_box(
    origin: Float[Tensor, "R 3"],
    direction: Float[Tensor, "R 3"],
    low: Float[Tensor, " 3"],
    high: Float[Tensor, " 3"],
) -> tuple[Float[Tensor, " R"], Float[Tensor, " R"]]:
    """Distances at which rays enter and leave a box, the first at least 0; a miss leaves before it enters."""
    direction = torch.where(direction.abs() < 1e-9, 1e-9, direction)
    a, b = (low - origin) / direction, (high - origin) / direction
    return torch.minimum(a, b).amax(-1).clamp(min=0), torch.maximum(a, b).amin(-1)


def occupied_box(occupied: Bool[Tensor, "G G G"], radius: float) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
    """The smallest box about the occupied cells of the cube [-radius, radius]^3; of no size where there are none."""
    size, corners = len(occupied), []
    for axis in range(3):
        filled = occupied.movedim(axis, 0).flatten(1).any(-1).nonzero().squeeze(-1)
        corners.append((int(filled[0]), int(filled[-1]) + 1) if len(filled) else (0, 0))
    box = torch.tensor(corners, dtype=torch.get_default_dtype(), device=occupied.device) / size * 2 - 1
    return radius * box[:, 0], radius * box[:, 1]


def march(
    origin: Float[Tensor, "R 3"],
    direction: Float[Tensor, "R 3"],
    occupied: Bool[Tensor, "G G G"],
    radius: float,
    step: float,
    offset: Float[Tensor, " R"] | float = 0.5,
) -> March:
    """Samples every `step` along the rays, where the cells of the cube [-radius, radius]^3 are occupied.

    `offset` in [0, 1) places each ray's samples within their steps: random offsets are stratified sampling.
    """
    near, far = intersect_box(origin, direction, *(c.to(origin) for c in occupied_box(occupied, radius)))
    hit = (far > near).nonzero().squeeze(-1)
    slots = max(int(((far - near)[hit].amax() / step).ceil()), 1) if len(hit) else 1
    offset = torch.as_tensor(offset).to(origin).expand(len(origin))
    if serves("march", origin):
        samples = compiled_rays.march(origin, direction, near, far, offset, occupied, radius, step)
        return March(*samples, len(origin), slots)
    distance = near[hit, None] + (torch.arange(slots).to(origin) + offset[hit, None]) * step
    within = (distance < far[hit, None]).reshape(-1).nonzero().squeeze(-1)
    row = within // slots
    ray, slot, distance = hit[row], within % slots, distance.reshape(-1)[within]
    position = torch.addcmul(origin[ray], direction[ray], distance[:, None])
    found = March(ray, slot, distance, position, len(origin), slots)
    return found.keep(occupied.reshape(-1)[cell_of(position, len(occupied), radius)])


def cell_of(position: Float[Tensor, "N 3"], size: int, radius: float) -> Int[Tensor, " N"]:
    """The flat index, x slowest, of the cell of the cube [-radius, radius]^3 in which each position lies."""
    cell = ((position + radius) * (size / (2 * radius))).long().clamp(0, size - 1)
    return (cell[:, 0] * size + cell[:, 1]) * size + cell[:, 2]


def weights(tau: Float[Tensor, " N"], samples: March) -> Float[Tensor, " N"]:
    """w_i = T_i (1 - exp(-tau_i))."""
    if serves("weights", tau):
        return torch.exp(-compiled_rays.before(tau, samples.ray, samples.rays)) * -torch.expm1(-tau)
    table = tau.new_zeros(samples.rays, samples.slots).index_put((samples.ray, samples.slot), tau)
    before = (table.cumsum(-1) - table)[samples.ray, samples.slot]
    return torch.exp(-before) * -torch.expm1(-tau)


def accumulate(weight: Float[Tensor, " N"], value: Float[Tensor, "N C"], samples: March) -> Float[Tensor, "R C"]:
    """sum_i w_i value_i along each ray."""
    if serves("sums", value):
        return compiled_rays.total(weight[:, None] * value, samples.ray, samples.rays)
    return value.new_zeros(samples.rays, value.shape[1]).index_add(0, samples.ray, weight[:, None] * value)
