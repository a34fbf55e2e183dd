"""`run_benchmark.py fetch`: bring the published weights of the paper's suite."""

from __future__ import annotations

from pathlib import Path

from commands.options import Parser
from engine.weights import fetch
from engine.weights import manifest as weights
from errors import UserError
from names import known
from say import Console, say

DESCRIPTION = f"""Fetch the published weights that the paper's suite needs: 7.8 GB, or 5.2 without sd21 (VSD and ESD).

They go to ${weights.PLACE}, else to score-distillation in Hugging Face's home (HF_HOME).
What lies in Hugging Face's cache is taken from there. A stopped download goes on where it was.
HF_HUB_OFFLINE, HF_ENDPOINT, HF_TOKEN, the login of hf and HF_HUB_CACHE are honoured."""


def parser() -> Parser:
    table = "\n".join(f"  {w.name:16}{w.bytes / 1e9:4.1f} GB  {w.what}" for w in weights.manifest().values())
    made = Parser("fetch", DESCRIPTION, f"weights\n{table}")
    made.add_argument("what", nargs="*", metavar="WHAT", help="names of weights; default: all")
    made.add_argument("--mirror", metavar="PLACE", help="an address or a folder to look in before the known sources")
    made.add_argument("--to", metavar="DIR", type=Path, help=f"fill this folder; runs find it through ${weights.PLACE}")
    made.add_argument("--check", action="store_true", help="read again what is there, and compare its checksums")
    made.add_argument("--dry-run", action="store_true", help="say what would be fetched, and from where")
    return made


def main(arguments: list[str]) -> int:
    options, console, manifest = parser().parse_args(arguments), Console(), weights.manifest()
    wanted = [manifest[known("weight", name, manifest)] for name in options.what or manifest]
    if options.mirror and "://" not in options.mirror and not Path(options.mirror).expanduser().is_dir():
        raise UserError(f"There is no folder {options.mirror}: --mirror takes one, or an address with https.")
    place = (options.to or weights.place()).expanduser()
    steps = fetch.plan(wanted, place, options.mirror, options.check, adopt=not options.dry_run)
    if options.dry_run:
        fetch.show_plan(steps, wanted, place, options.mirror, console)
        return 0
    fetch.check_room(steps, place)
    failures = fetch.Carrier(options.mirror, console).carry(steps)
    for weight in wanted:
        if not any(f.startswith(f"{weight.name}/") for f in failures):
            say(console, f"{weight.name:16}{place / weight.name}")
    if failures:
        raise UserError("; ".join(failures) + ": the same command tries again, --mirror names another place.")
    if manifest["sd21-base"] in wanted:
        weights.refuse_wrong_variant(str(place / "sd21-base"), None)
    if place != weights.place():
        say(console, f"For runs to find them: export {weights.PLACE}={place}")
    return 0
