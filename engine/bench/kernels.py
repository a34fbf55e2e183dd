"""What each kernel is worth: it and its twin in plain torch, in turns, on the same numbers, and how near they are.

The hash encoding's twin is written the usual way: a table a level, eight gathers from each, autograd. The others' are
the renderer's own (`scene.kernels.compiled.plain`). Kernels compute forward and backward.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from engine.bench.timing import Tick, in_turns, speedup
from scene.hash_grid import HashGrid
from scene.kernels.compiled import plain
from scene.kernels.mlp import mlp
from scene.probes import apart
from scene.volume import accumulate, march, weights

PRIMES = (1, 2654435761, 805459861)


def usual_encoding(
    x: Float[Tensor, "N 3"], tables: list[Tensor], resolutions: list[int], dense: int
) -> Float[Tensor, "N LF"]:
    """The multi-resolution hash encoding (2201.05989) level by level, corner by corner."""
    out = []
    for level, (table, n) in enumerate(zip(tables, resolutions, strict=True)):
        place = x * n
        low = place.long().clamp(0, n - 1)
        part, total = place - low, torch.zeros(len(x), table.shape[1], device=x.device)
        for corner in itertools.product((0, 1), repeat=3):
            i, j, k = (low[:, axis] + corner[axis] for axis in range(3))
            if level < dense:
                row = i + j * (n + 1) + k * (n + 1) ** 2
            else:
                row = (i ^ (j * PRIMES[1]) ^ (k * PRIMES[2])) % len(table)
            u, v, w = (part[:, axis] if corner[axis] else 1 - part[:, axis] for axis in range(3))
            total = total + (u * v * w)[:, None] * table[row]
        out.append(total)
    return torch.cat(out, -1)


def hash_encoding(device: str, points: int, rounds: int, tick: Tick) -> dict[str, Any]:
    """16 levels of 2 features, 2^19 rows, 16 to 4096. Either side is given the gradient in the order of its output."""
    rng = torch.Generator().manual_seed(0)
    grid = HashGrid(16, 2, 19, 16, 4096, rng).to(device)
    x, g = torch.rand(points, 3, generator=rng).to(device), torch.randn(points, 32, generator=rng).to(device)
    tables = [table.detach().requires_grad_() for table in levels_of(grid, [*grid.tables])]
    its_g = torch.empty_like(grid(x).detach()).copy_(g)

    def fast() -> list[Tensor]:
        out = grid(x)
        return [out.detach(), *torch.autograd.grad(out, [*grid.tables], its_g)]

    def slow() -> list[Tensor]:
        out = usual_encoding(x, tables, grid.resolutions, grid.dense)
        return [out.detach(), *torch.autograd.grad(out, tables, g)]

    (out, *gradients), (same, *other) = fast(), slow()
    tick()
    times = in_turns({"fast": fast, "plain": slow}, rounds, device, tick)
    pairs = zip(levels_of(grid, gradients), other, strict=True)
    return speedup(times["fast"], times["plain"]) | {
        "points": points,
        "forward_error": apart(out, same),
        "gradient_error": max(apart(a, b) for a, b in pairs),
    }


def levels_of(grid: HashGrid, tables: list[Tensor]) -> list[Tensor]:
    """The rows of each level, of the grid's two tables or of what has their shape."""
    sizes = [(n + 1) ** 3 for n in grid.resolutions[: grid.dense]]
    sizes += [grid.rows] * (len(grid.resolutions) - grid.dense)
    pairs = zip(grid.offsets, sizes, strict=True)
    return [tables[level >= grid.dense][start : start + size] for level, (start, size) in enumerate(pairs)]


def others(device: str, size: int, rounds: int, tick: Tick) -> dict[str, dict[str, Any]]:
    """Marching of `size` squared rays through a ball; compositing; a perceptron 32 -> 64 -> 3 on its samples."""
    rng = torch.Generator().manual_seed(0)
    pixels = (torch.stack(torch.meshgrid(*[torch.arange(size) / size - 0.5] * 2, indexing="ij"), -1)).reshape(-1, 2)
    direction = torch.nn.functional.normalize(torch.cat([pixels, -2 * torch.ones(len(pixels), 1)], -1), dim=-1)
    origin = torch.tensor([0.0, 0.0, 2.0]).expand(len(pixels), 3)
    axis = torch.linspace(-1, 1, 32)
    ball = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")).square().sum(0) < 0.7
    origin, direction, ball = (v.contiguous().to(device) for v in (origin, direction, ball))
    s = march(origin, direction, ball, 0.6, 0.01)
    n = len(s.ray)

    def leaf(*shape: int) -> Tensor:
        return torch.rand(shape, generator=rng).to(device).requires_grad_()

    tau, value, e, first, second = leaf(n), leaf(n, 5), leaf(n, 32), leaf(32, 64), leaf(64, 3)

    def marching() -> list[Tensor]:
        found = march(origin, direction, ball, 0.6, 0.01)
        return [found.distance, found.position]

    def compositing() -> list[Tensor]:
        out = accumulate(weights(0.05 * tau, s), value, s)
        return [out.detach(), *torch.autograd.grad(out.square().sum(), [tau, value])]

    def perceptron() -> list[Tensor]:
        out = mlp(e, first, second)
        return [out.detach(), *torch.autograd.grad(out.square().sum(), [e, first, second])]

    tasks: dict[str, Callable[[], list[Tensor]]] = {"marching": marching, "compositing": compositing, "mlp": perceptron}
    return {name: compared(task, rounds, device, tick) | {"samples": n} for name, task in tasks.items()}


def compared(task: Callable[[], list[Tensor]], rounds: int, device: str, tick: Tick) -> dict[str, Any]:
    """A task by kernels and by their twins: how much sooner, and how far apart at most."""

    def twin() -> list[Tensor]:
        with plain():
            return task()

    error = max(apart(a, b) for a, b in zip(task(), twin(), strict=True))
    times = in_turns({"fast": task, "plain": twin}, rounds, device, tick)
    return speedup(times["fast"], times["plain"]) | {"error": error}
