"""`run_benchmark.py bench`: what the kernels are worth on this machine, and where a step's time goes."""

from __future__ import annotations

from pathlib import Path

from commands.options import Parser
from engine.bench.parts import KERNELS, PARTS
from errors import UserError
from files import write_json
from names import RANDOM, known
from say import Console, say


def parser() -> Parser:
    about = "Measure the kernels against their plain twins, and where a step's time goes. Minutes, not hours."
    made = Parser("bench", about, "parts\n" + "\n".join(f"  {name:15}{line}" for name, line in PARTS.items()))
    made.add_argument("--only", nargs="+", metavar="PART", help="some of the parts below; default: all")
    made.add_argument("--quick", action="store_true", help="smaller and fewer: a minute, for a first impression")
    made.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there")
    made.add_argument("--prior", metavar="PATH", help=f"default: the world's; {RANDOM} is full size, on a GPU")
    made.add_argument("--device", default="auto", metavar="NAME", help="auto (default), cpu or cuda")
    made.add_argument("--threads", type=int, default=2, metavar="N", help="of the CPU; default: 2. A job has 1")
    return made


def main(arguments: list[str]) -> int:
    """Raises UserError for unknown parts, a prior that is not there, and one that is too large for the device."""
    options, console = parser().parse_args(arguments), Console()
    only = [known("part of bench", name, PARTS) for name in options.only or PARTS]
    if options.threads < 1:
        raise UserError("--threads takes a whole number above 0.")
    if options.json and not options.json.parent.is_dir():
        raise UserError(f"There is no folder {options.json.parent} to write {options.json.name} into.")
    from engine import bench
    from engine.machine import device_of

    device = device_of(options.device)
    if options.prior == RANDOM and device == "cpu" and set(only) - KERNELS:
        raise UserError(
            f"A step of {RANDOM} takes minutes on a CPU: leave --prior out, or use a GPU with --device cuda."
        )
    numbers = bench.measure(only, options.prior, device, options.threads, options.quick, console)
    bench.show(numbers, console)
    if options.json:
        write_json(options.json, numbers)
        say(console, options.json)
    return 0
