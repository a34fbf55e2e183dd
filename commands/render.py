"""`run_benchmark.py render`: other views of scenes that are finished, without training."""

from __future__ import annotations

from argparse import Namespace

from commands.options import DEVICE, Parser, above_zero, add_run, number, positive
from errors import UserError
from say import Console, say

DESCRIPTION = """Render the scenes of a run again, from another orbit, without training.

Views of the orbit asked for already are left as they are; what is not asked for stays as it was."""

EPILOG = """example
  run_benchmark.py render results/runs/world-controlled --views 120 --resolution 128
  run_benchmark.py score results/runs/world-controlled"""


def parser() -> Parser:
    made = Parser("render", DESCRIPTION, EPILOG)
    add_run(made)
    made.add_argument("--views", type=positive, metavar="N", help="of one turn around the object")
    made.add_argument("--resolution", type=positive, metavar="N", help="pixels along an edge")
    made.add_argument("--elevation", type=number, metavar="DEGREES", help="of the camera above the horizon")
    made.add_argument("--distance", type=above_zero, metavar="D", help="of the camera, in scene units")
    made.add_argument("--fov", type=above_zero, metavar="DEGREES", help="of the camera, from top to bottom")
    made.add_argument("--device", default="auto", metavar="NAME", help=DEVICE)
    return made


def main(arguments: list[str]) -> int:
    options, console = parser().parse_args(arguments), Console()
    if (options.fov and options.fov >= 180) or (options.elevation and abs(options.elevation) >= 90):
        raise UserError("--fov takes less than 180 degrees, --elevation more than -90 and less than 90.")
    from engine.remote.mirror import needed
    from engine.remote.sharing import shared

    needed(options.run)
    return shared(options.run, console, lambda: rendered(options, console))


def rendered(options: Namespace, console: Console) -> None:
    """Make the views that are asked for. Raises UserError where there is no scene."""
    from engine import views
    from engine.machine import device_of
    from eval.views import jobs

    device = device_of(options.device)
    asked = {key: getattr(options, key) for key in ("views", "resolution", "elevation", "distance", "fov")}
    found = [job for job in jobs(options.run) if views.has_scene(job)]
    if not found:
        raise UserError(f"There is no finished scene in {options.run} to render.")
    done = views.renew({job: views.turned(job, **asked) for job in found}, device, console, thorough=True)
    say(console, f"{len(done)} of {len(found)} scenes were rendered, the others have these views already.")
    if done:
        say(console, f"Their scores are made again by: run_benchmark.py score {options.run}")
