"""Each compiled kernel beside its twin in plain torch, forward and backward: on a GPU none serves before it was found
to give the same numbers there (`scene.kernels.compiled`). Errors are shares of the twin's largest number.

A problem has n points (or rays, or samples), any n, and is drawn from rng: the same on every device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from scene import volume
from scene.hash_grid import HashGrid
from scene.kernels.compiled import forced
from scene.kernels.mlp import mlp, mlp_with_slope
from scene.volume import March

Task = Callable[[], list[Tensor]]
Probe = Callable[[torch.device, int, torch.Generator], tuple[list[str], Task]]
UNSURE = 2  # samples that rounding may take to either side of a cell's border


def errors(kernel: str, device: torch.device | str, n: int, seed: int = 0) -> Iterator[tuple[str, float]]:
    """What of a kernel was compared, and how far it is from its twin's: not a number where either has one."""
    with torch.enable_grad():
        names, task = PROBES[kernel](torch.device(device), n, torch.Generator().manual_seed(seed))
        with forced(True):
            fast = task()
        with forced(False):
            slow = task()
    if kernel == "march":
        yield from _of_samples(names, fast, slow)
        return
    for name, a, b in zip(names, fast, slow, strict=True):
        yield name, apart(a, b)


def apart(a: Tensor, b: Tensor) -> float:
    """The largest difference, as a share of b's peak; 0 of nothing, infinite where shapes differ."""
    if a.shape != b.shape:
        return float("inf")
    if not b.numel():
        return 0.0
    return ((a - b).abs().max() / b.abs().max().clamp(min=1e-30)).item()


def _marched(device: torch.device, n: int, rng: torch.Generator) -> tuple[list[str], Task]:
    """Rays at a cube of which a third is occupied."""
    origin = F.normalize(torch.randn(n, 3, generator=rng), dim=-1) * 2
    direction = F.normalize(torch.rand(n, 3, generator=rng) - 0.5 - origin, dim=-1)
    offset, occupied = torch.rand(n, generator=rng), torch.rand(16, 16, 16, generator=rng) < 0.3
    origin, direction, occupied, offset = (v.to(device) for v in (origin, direction, occupied, offset))

    def task() -> list[Tensor]:
        found = volume.march(origin, direction, occupied, 0.6, 0.04, offset)
        return [found.ray * 10_000 + found.slot, found.distance, found.position]

    return ["samples", "distance", "position"], task


def _of_samples(names: list[str], fast: list[Tensor], slow: list[Tensor]) -> Iterator[tuple[str, float]]:
    """Of two lists of samples, sorted by their first rows: how many only one has, and the others' differences."""
    both = [torch.isin(fast[0], slow[0]), torch.isin(slow[0], fast[0])]
    alone = sum(int((~found).sum()) for found in both)
    sorted_ = bool((fast[0].diff() > 0).all())
    yield names[0], 0.0 if sorted_ and alone <= UNSURE else max(alone, 1) / max(len(slow[0]), 1)
    for name, a, b in zip(names[1:], fast[1:], slow[1:], strict=True):
        yield name, apart(a[both[0]], b[both[1]])


def _samples(device: torch.device, n: int, rng: torch.Generator) -> March:
    """n samples on rays of any number of them, none included; the first ray has a hundred more."""
    rays = max(n // 7, 1)
    ray = torch.randint(rays, (n,), generator=rng)
    ray[:100] = 0
    ray = ray.sort()[0]
    first = torch.searchsorted(ray, torch.arange(rays))
    slot = torch.arange(n) - first[ray]
    slots = int(slot.max()) + 1 if n else 1
    ray, slot = ray.to(device), slot.to(device)
    return March(ray, slot, slot.float(), torch.zeros(n, 3, device=device), rays, slots)


def _leaf(device: torch.device, rng: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=rng).to(device).requires_grad_()


def _weighed(device: torch.device, n: int, rng: torch.Generator) -> tuple[list[str], Task]:
    s, tau = _samples(device, n, rng), (torch.rand(n, generator=rng) / 2).to(device).requires_grad_()
    g = torch.randn(n, generator=rng).to(device)

    def task() -> list[Tensor]:
        w = volume.weights(tau, s)
        return [w.detach(), *torch.autograd.grad(w, [tau], g)]

    return ["weights", "to tau"], task


def _added(device: torch.device, n: int, rng: torch.Generator) -> tuple[list[str], Task]:
    s, value, weight = _samples(device, n, rng), _leaf(device, rng, n, 5), _leaf(device, rng, n)
    g = torch.randn(s.rays, 5, generator=rng).to(device)

    def task() -> list[Tensor]:
        out = volume.accumulate(weight, value, s)
        return [out.detach(), *torch.autograd.grad(out, [weight, value], g)]

    return ["sums", "to weights", "to values"], task


def _grid(device: torch.device, n: int, rng: torch.Generator) -> tuple[HashGrid, Tensor]:
    """Three dense levels and three hashed ones; some points lie on borders of cells, some outside of the cube."""
    grid, x = HashGrid(6, 2, 10, 3, 60, rng), torch.rand(n, 3, generator=rng)
    x[::7] = x[::7] * 1.5 - 0.25
    x[::5] = (x[::5] * 60).round() / 60
    with torch.no_grad():
        for table in grid.tables:
            table.mul_(1e4)
    return grid.to(device), x.to(device)


def _encoded(device: torch.device, n: int, rng: torch.Generator) -> tuple[list[str], Task]:
    grid, x = _grid(device, n, rng)
    g = torch.randn(n, 12, generator=rng).to(device)
    x.requires_grad_()

    def task() -> list[Tensor]:
        out = grid(x)
        return [out.detach(), *torch.autograd.grad(out, [x, *grid.tables], g)]

    return ["features", "to points", "to dense table", "to hashed table"], task


def _sloped(device: torch.device, n: int, rng: torch.Generator) -> tuple[list[str], Task]:
    """Second order: what a loss of the derivatives by x gives the tables."""
    grid, x = _grid(device, n, rng)
    g, h = torch.randn(n, 12, generator=rng).to(device), torch.randn(3, n, 12, generator=rng).to(device)

    def task() -> list[Tensor]:
        e, slope = grid.with_slope(x)
        return [e.detach(), slope.detach(), *torch.autograd.grad([e, slope], [*grid.tables], [g, h])]

    return ["features", "slopes", "slopes to dense table", "slopes to hashed table"], task


def _layers(device: torch.device, n: int, rng: torch.Generator, out: int) -> list[Tensor]:
    return [_leaf(device, rng, *shape) for shape in ((n, 32), (32, 64), (64, out))]


def _perceptron(device: torch.device, n: int, rng: torch.Generator) -> tuple[list[str], Task]:
    layers, g = _layers(device, n, rng, 3), torch.randn(n, 3, generator=rng).to(device)

    def task() -> list[Tensor]:
        out = mlp(*layers)
        return [out.detach(), *torch.autograd.grad(out, layers, g)]

    return ["outputs", "to inputs", "to first", "to second"], task


def _sloped_perceptron(device: torch.device, n: int, rng: torch.Generator) -> tuple[list[str], Task]:
    """Second order: what a loss of the derivative by the inputs gives the layers."""
    layers = _layers(device, n, rng, 1)
    g, h = torch.randn(n, 1, generator=rng).to(device), torch.randn(n, 32, generator=rng).to(device)

    def task() -> list[Tensor]:
        out, slope = mlp_with_slope(*layers)
        return [out.detach(), slope.detach(), *torch.autograd.grad([out, slope], layers[1:], [g, h])]

    return ["outputs", "slopes", "slopes to first", "slopes to second"], task


PROBES: dict[str, Probe] = {
    "march": _marched,
    "weights": _weighed,
    "sums": _added,
    "hash": _encoded,
    "hash slopes": _sloped,
    "perceptron": _perceptron,
    "perceptron slopes": _sloped_perceptron,
}
