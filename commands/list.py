"""`run_benchmark.py list`: all names that the command line knows."""

from __future__ import annotations

import names
from commands.options import Parser
from engine.external.reading import shipped
from eval.outside import OUTSIDE
from prompts.named import NAMED
from say import Console, say
from suites import SUITES


def main(arguments: list[str]) -> int:
    Parser("list", "All names that the command line knows.").parse_args(arguments)
    console = Console()
    tables = {
        "suites": {suite.name: suite.about for suite in SUITES.values()},
        "tracks": names.TRACKS,
        "scenes": names.SCENES,
        "methods": names.RECIPES,
        "external engines": shipped(),
        "lists of prompts": {name: listed.about for name, listed in NAMED.items()},
        "priors": names.PRIORS,
        "judges of other packages": {name: judge.title for name, judge in OUTSIDE.items()},
        "ablations": names.ABLATIONS,
    }
    for title, table in tables.items():
        say(console, "\n".join([title, *(f"  {name:16}{line}" for name, line in table.items()), ""]))
    for suite in SUITES.values():
        said = [f"prompts of {suite.name}", *(f"  {prompt.id:45}{prompt.text}" for prompt in suite.prompts), ""]
        say(console, "\n".join(said))
    return 0
