"""Times that can be compared on a machine that others use: taken in turns, A B A B, and told as ratios of medians."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

Tick = Callable[[], None]  # called after each time taken, for a progress bar


def seconds(task: Callable[[], Any], device: str) -> float:
    """How long a task takes; on a GPU by its own clock, from the first of its kernels to the last."""
    if torch.device(device).type != "cuda":
        start = time.perf_counter()
        task()
        return time.perf_counter() - start
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[assignment]
    torch.cuda.synchronize()
    start.record()  # type: ignore[attr-defined]
    task()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1000  # type: ignore[attr-defined]


def in_turns(tasks: dict[Any, Callable[[], Any]], rounds: int, device: str, tick: Tick) -> dict[Any, list[float]]:
    """Times of each task in each round: all tasks in every round, the order turned about from one to the next."""
    times: dict[Any, list[float]] = {name: [] for name in tasks}
    for k in range(rounds):
        for name in list(tasks)[:: -1 if k % 2 else 1]:
            times[name].append(seconds(tasks[name], device))
            tick()
    return times


def speedup(fast: list[float], plain: list[float]) -> dict[str, Any]:
    """The ratio of the medians, plain over fast, and its spread: the smallest and largest of the rounds' own ratios."""
    ratios = [p / f for f, p in zip(fast, plain, strict=True)]
    a, b = statistics.median(fast), statistics.median(plain)
    return {"speedup": b / a, "spread": [min(ratios), max(ratios)], "fast_ms": 1e3 * a, "plain_ms": 1e3 * b}
