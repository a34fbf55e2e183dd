"""`run_benchmark.py view`: a live viewer of a run's scenes."""

from __future__ import annotations

import socket
import time
from importlib.util import find_spec

from commands.options import DEVICE, Parser, add_run, positive
from commands.shared.chosen import add_choice, scenes_of
from engine.remote.mirror import needed
from errors import UserError
from say import Console, say

PORT, SIZE = 8322, 256

DESCRIPTION = """Open a live viewer of a run's finished scenes, for browsers of this machine alone.

Every picture is the scene's own render from where the browser looks: small while that moves, then at its full size.
The cameras of training (a sample) and of evaluation can be shown."""

EPILOG = """examples
  run_benchmark.py view results/runs/world-controlled          http://127.0.0.1:8322
  run_benchmark.py view RUN --methods sdi --prompts tulip"""


def parser() -> Parser:
    made = Parser("view", DESCRIPTION, EPILOG)
    add_run(made)
    add_choice(made)
    made.add_argument("--port", type=positive, default=PORT, metavar="N", help=f"default: {PORT}")
    made.add_argument("--size", type=positive, default=SIZE, metavar="N",
                      help=f"pixels along the longer edge of a picture; default: {SIZE}")  # fmt: skip
    made.add_argument("--device", default="auto", metavar="NAME", help=DEVICE)
    return made


def main(arguments: list[str]) -> int:
    options, console = parser().parse_args(arguments), Console()
    if not find_spec("viser"):
        raise UserError("The live viewer needs a library that is not here: uv sync --extra view.")
    refuse_taken(options.port)
    needed(options.run)
    scenes, _ = scenes_of(options.run, options.methods, options.prompts, options.seeds)
    from engine.exports import live
    from engine.machine import device_of

    with live.opened(scenes, device_of(options.device), options.size, options.port) as viewer:
        say(console, f"{len(scenes)} scenes at http://127.0.0.1:{viewer.port}/ until Ctrl-C")
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            say(console, "Stopped.")
    return 0


def refuse_taken(port: int) -> None:
    """Raise UserError where nothing can listen: the library would take another port."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        raise UserError(f"Nothing can listen at 127.0.0.1:{port} ({error}): give another --port.") from error
