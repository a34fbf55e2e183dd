"""`run_benchmark.py bench`: what the kernels are worth on this machine, and where a step's time goes.

Everything compared is measured in one run, in turns, and told as a ratio of medians: that says something on a busy
machine too. Absolute times are only this machine's.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from errors import UserError
from names import RANDOM, known

PARTS = {
    "hash_encoding": "the hash encoding against eight gathers a level with autograd",
    "kernels": "marching, compositing and perceptrons against plain torch",
    "sdi_step": "a step of SDI by kernels and the traced U-Net against neither",
    "parts": "a step's time by part",
    "memory": "its memory at the peak",
    "floor": "the least time its arithmetic can take, and the share reached",
    "scenes": "scenes an hour, 1, 2 and 4 together in a process",
    "costs": "a step against resolution, samples a ray, inversion steps",
}
KERNELS = {"hash_encoding", "kernels"}  # what needs no prior
EPILOG = "parts\n" + "\n".join(f"  {name:15}{line}" for name, line in PARTS.items())


def parser_of(parser_class: type[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    parser = parser_class(
        "run_benchmark.py bench",
        description="Measure the kernels against their plain twins, and where a step's time goes. Minutes, not hours.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", metavar="PART", help="some of the parts below; default: all")
    parser.add_argument("--quick", action="store_true", help="smaller and fewer: a minute, for a first impression")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there")
    parser.add_argument("--prior", metavar="PATH", help=f"default: the world's; {RANDOM} is full size, on a GPU")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto (default), cpu or cuda")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="of the CPU; default: 2. A job has 1")
    return parser


def main(arguments: list[str], parser_class: type[argparse.ArgumentParser], console: Console) -> int:
    """Raises UserError for unknown parts, a prior that is not there, and one that is too large for the device."""
    options = parser_of(parser_class).parse_args(arguments)
    only = [known("part of bench", name, PARTS) for name in options.only or PARTS]
    if options.threads < 1:
        raise UserError("--threads takes a whole number above 0.")
    if options.json and not options.json.parent.is_dir():
        raise UserError(f"There is no folder {options.json.parent} to write {options.json.name} into.")
    from engine.machine import device_of

    device = device_of(options.device)
    if options.prior == RANDOM and device == "cpu" and set(only) - KERNELS:
        raise UserError(
            f"A step of {RANDOM} takes minutes on a CPU: leave --prior out, or use a GPU with --device cuda."
        )
    numbers = measure(only, options, device, console)
    show(numbers, console)
    if options.json:
        options.json.write_text(json.dumps(numbers, indent=1) + "\n", "utf-8")
        console.print(str(options.json), highlight=False, soft_wrap=True)
    return 0


def measure(only: list[str], options: argparse.Namespace, device: str, console: Console) -> dict[str, Any]:
    """All numbers by part, as --json has them. Lasting state is left as it was."""
    import torch

    from engine.bench import kernels
    from engine.machine import Peak

    rounds, before = (1 if options.quick else 5), torch.get_num_threads()
    numbers: dict[str, Any] = {"device": Peak(device).device, "threads": options.threads, "torch": torch.__version__}
    numbers |= {"python": platform.python_version(), "prior": options.prior or "world", "quick": options.quick}
    torch.set_num_threads(options.threads)
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
                points = 20_000 if options.quick else 200_000
                numbers["hash_encoding"] = kernels.hash_encoding(device, points, rounds, tick)
            if "kernels" in only:
                begin("kernels", 3 * 2 * rounds)
                numbers["kernels"] = kernels.others(device, 64 if options.quick else 128, rounds, tick)
            if set(only) - KERNELS:
                bar.reset(task, total=None, description="opening the prior")
                numbers |= _of_steps(only, options, device, rounds, begin, tick)
    finally:
        torch.set_num_threads(before)
    return numbers


def _of_steps(
    only: list[str], options: argparse.Namespace, device: str, rounds: int, begin: Any, tick: Any
) -> dict[str, Any]:
    """The parts that take steps of SDI: the world's recipe, or of a prior of full size, the paper's. One thread of the
    CPU, as jobs have."""
    import torch

    from engine.bench.floor import floor
    from engine.bench.step import PLACES, Bench
    from engine.prior import WORLD, open_prior
    from engine.recipes.tables import recipe
    from prompts import select

    torch.set_num_threads(1)
    suite, track = ("paper", "paper") if options.prior == RANDOM else ("world", "controlled")
    chosen, (prompt,) = recipe(suite, track, "sdi"), select(suite, ["A ripe strawberry"])
    age = 6 if options.quick or suite == "paper" else 30
    begin("sdi_step", age)
    prior = open_prior(options.prior or str(WORLD), device, chosen.half)
    bench = Bench(chosen, prompt, prior, device, age, tick)
    out: dict[str, Any] = {"recipe": f"{suite}/{track}/sdi"}
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
