"""`run_benchmark.py bench`: what the kernels are worth on this machine, and where a step's time goes.

Everything compared is measured in one run, in turns, and told as a ratio of medians: that says something on a busy
machine too. Absolute times are only this machine's.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

from engine.bench.parts import KERNELS, PARTS
from names import RANDOM

if TYPE_CHECKING:
    from rich.console import Console


def measure(
    only: list[str], prior: str | None, device: str, threads: int, quick: bool, console: Console
) -> dict[str, Any]:
    """All numbers by part, as --json has them. Lasting state is left as it was."""
    import torch
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from engine.bench import kernels
    from engine.machine import Peak

    rounds, before = (1 if quick else 5), torch.get_num_threads()
    numbers: dict[str, Any] = {"device": Peak(device).device, "threads": threads, "torch": torch.__version__}
    numbers |= {"python": platform.python_version(), "prior": prior or "world", "quick": quick}
    torch.set_num_threads(threads)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    try:
        with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True) as bar:
            task = bar.add_task("starting", total=None)

            def tick() -> None:
                bar.advance(task)

            def begin(part: str, total: int) -> None:
                bar.reset(task, total=total, description=PARTS[part])

            if "hash_encoding" in only:
                begin("hash_encoding", 1 + 2 * rounds)
                points = 20_000 if quick else 200_000
                numbers["hash_encoding"] = kernels.hash_encoding(device, points, rounds, tick)
            if "kernels" in only:
                begin("kernels", 3 * 2 * rounds)
                numbers["kernels"] = kernels.others(device, 64 if quick else 128, rounds, tick)
            if set(only) - KERNELS:
                bar.reset(task, total=None, description="opening the prior")
                numbers |= _of_steps(only, prior, device, rounds, quick, begin, tick)
    finally:
        torch.set_num_threads(before)
    return numbers


def _of_steps(
    only: list[str], name: str | None, device: str, rounds: int, quick: bool, begin: Any, tick: Any
) -> dict[str, Any]:
    """The parts that take steps of SDI: the world's recipe, or of a prior of full size, the paper's. One thread of the
    CPU, as jobs have."""
    import torch

    from engine.bench.floor import floor
    from engine.bench.step import PLACES, Bench
    from engine.prior import open_prior
    from engine.recipes.tables import recipe
    from suites.paper import PAPER
    from suites.world import WORLD

    torch.set_num_threads(1)
    suite = PAPER if name == RANDOM else WORLD
    chosen, (prompt,) = recipe(suite.name, suite.track, "sdi"), suite.select(["A ripe strawberry"])
    age = 6 if quick or suite.gpu else 30
    begin("sdi_step", age)
    prior = open_prior(name or str(WORLD.prior), device, chosen.half)
    bench = Bench(chosen, prompt, prior, device, age, tick)
    out: dict[str, Any] = {"recipe": f"{suite.name}/{suite.track}/sdi"}
    tasks = {
        "sdi_step": (2 * rounds * len(PLACES), lambda: bench.against_twins(rounds)),
        "parts": (2 * len(PLACES), lambda: bench.parts(2)),
        "memory": (1, bench.peak),
        "floor": (1, lambda: floor(bench)),
        "scenes": (3 * rounds, lambda: bench.together(rounds)),
        "costs": (7 * rounds, lambda: bench.sweeps(rounds)),
    }
    for part in (part for part in tasks if part in only):
        total, take = tasks[part]
        begin(part, total)
        out[part] = take()
    return out


def show(numbers: dict[str, Any], console: Console) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("what", "value", "beside it"):
        table.add_column(column, overflow="fold")
    ratios = {name: numbers[name] for name in ("hash_encoding", "sdi_step") if name in numbers}
    for name, row in {**ratios, **numbers.get("kernels", {})}.items():
        errors = ", ".join(f"{key.replace('_', ' ')} {row[key]:.0e}" for key in row if key.endswith("error"))
        low, high = row["spread"]
        spread = f"{low:.1f} to {high:.1f}, {row['fast_ms']:.1f} ms against {row['plain_ms']:.1f}"
        table.add_row(name, f"{row['speedup']:.1f} times faster", spread + (f"; {errors}" if errors else ""))
    total = sum(numbers.get("parts", {}).values())
    for part, ms in numbers.get("parts", {}).items():
        table.add_row(f"step: {part}", f"{100 * ms / total:.0f} %", f"{ms:.1f} ms")
    if row := numbers.get("memory"):
        table.add_row("memory", f"{row['peak_gb']:.2f} GB", row["kind"])
    if row := numbers.get("floor"):
        beside = f"{row['floor_ms']:.1f} of {row['step_ms']:.1f} ms; {row['tflop']:.3g} TFLOP"
        table.add_row("share of the floor", f"{100 * row['share']:.0f} %", beside)
    for n, row in numbers.get("scenes", {}).items():
        table.add_row(
            f"{n} together", f"{row['scenes_per_hour']:.0f} scenes an hour", f"{row['speedup']:.2f} times one"
        )
    for name, row in numbers.get("costs", {}).items():
        for value, ratio in row.items():
            table.add_row(f"{name.replace('_', ' ')} {value}", f"{ratio:.2f} times the step", "")
    console.print(table)
