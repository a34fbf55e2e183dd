"""`run_benchmark.py check`: the gate."""

from __future__ import annotations

from pathlib import Path

from commands.options import Parser
from say import Console, say


def parser() -> Parser:
    made = Parser("check", "Compare a run's means with a reference; exit 1 beyond margin.")
    made.add_argument("run", metavar="RUN", type=Path)
    made.add_argument("--baseline", metavar="REF", required=True, help="a reference, such as results/reference/*.json")
    made.add_argument("--update", action="store_true", help="write the run's means as the reference; margins stay")
    return made


def main(arguments: list[str]) -> int:
    options, console = parser().parse_args(arguments), Console()
    from reports import gate

    if options.update:
        gate.save_reference(options.run, options.baseline, gate.margins(options.baseline))
        say(console, options.baseline)
        return 0
    rows, passed = gate.check(options.run, options.baseline)
    gate.show(rows, passed, console)
    return int(not passed)
