"""`run_benchmark.py verify`: what a run may claim."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.options import Parser, add_run
from engine.remote.mirror import needed
from errors import UserError
from say import Console, say

if TYPE_CHECKING:
    from reports.gate.rules import Claim

DESCRIPTION = """Hold a run against the rules: may it claim closed results, or only open ones?

Closed: every prompt of the suite, the track's own settings, steps, prior, orbit and views, no job missing, every
checksum right, one commit that others can check out. Open: sound, but not so, with the reasons."""
EPILOG = "exit codes\n  0 closed or open, as said; 1 --closed was asked for, and it is not; 2 the run is not sound"


def parser() -> Parser:
    made = Parser("verify", DESCRIPTION, EPILOG)
    add_run(made)
    made.add_argument("--closed", action="store_true", help="exit 1 where the run may not claim closed results")
    return made


def main(arguments: list[str]) -> int:
    options, console = parser().parse_args(arguments), Console()
    from reports.gate.rules import CLOSED, UNSOUND, VERSION

    needed(options.run)
    found = claim_of(options.run)
    if found.division == UNSOUND:
        raise UserError(f"The run is not sound, and may claim nothing: {'; '.join(found.reasons)[:2000]}.")
    for reason in found.reasons:
        say(console, f"- {reason}", "yellow", wrap=True)
    style = "green" if found.division == CLOSED else "yellow"
    say(console, f"{found.division.capitalize()} results, by version {VERSION} of the rules: {found.jobs} jobs.", style)
    return int(options.closed and found.division != CLOSED)


def claim_of(run: Path) -> Claim:
    """By the recipes that are here. Raises UserError for a folder without jobs, and one that does not say its suite."""
    from engine.job import Job
    from engine.prior import identity
    from engine.recipes.tables import recipe
    from engine.scoring.judges import suite_of
    from engine.store import read_tensors
    from engine.weights.manifest import located
    from reports.gate.rules import verify

    suite = suite_of(run, None)

    def settings(method: str, track: str) -> dict[str, Any] | None:
        try:
            made = recipe(suite.name, track, method)
        except (UserError, KeyError):
            return None
        found = Job(made, suite.prompts[0], 0).settings["recipe"]
        return {key: value for key, value in found.items() if key != "orbit"}

    def orbit(method: str, track: str) -> dict[str, Any]:
        return json.loads(json.dumps(dataclasses.asdict(recipe(suite.name, track, method).orbit)))

    prior = located(suite.prior)
    checksum = identity(str(prior)) if prior else None
    return verify(run, [p.id for p in suite.prompts], settings, orbit, checksum, read_tensors)
