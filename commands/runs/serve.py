"""`run_benchmark.py serve`: the pages of a folder of runs, to this machine's browser."""

from __future__ import annotations

from commands.options import Parser, folder, positive
from errors import UserError
from say import Console, say

PORT = 8321

DESCRIPTION = """Serve the pages that `report` made in a folder of runs, read-only, to browsers of this machine.

Nothing but the files of those pages can be read: no scene, no log, nothing outside the folder."""

EPILOG = """examples
  run_benchmark.py report results/runs/world-controlled
  run_benchmark.py serve results/runs                  http://127.0.0.1:8321"""


def parser() -> Parser:
    made = Parser("serve", DESCRIPTION, EPILOG)
    made.add_argument("results", metavar="RESULTS", type=folder, help="a folder of runs, a run, or a page")
    made.add_argument("--port", type=positive, default=PORT, metavar="N", help=f"default: {PORT}")
    made.add_argument("--host", default="127.0.0.1", metavar="ADDRESS",
                      help="whom it listens to; default: 127.0.0.1, this machine alone")  # fmt: skip
    return made


def main(arguments: list[str]) -> int:
    options, console = parser().parse_args(arguments), Console()
    from reports.page import served

    pages = served.pages(options.results)
    try:
        server = served.server(pages, options.host, options.port)
    except (OSError, OverflowError) as error:
        raise UserError(
            f"Nothing can listen at {options.host}:{options.port} ({error}): give another --port or --host."
        ) from error
    with server:
        say(console, f"{len(pages)} page{'' if len(pages) == 1 else 's'} at http://{options.host}:{options.port}/")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say(console, "Stopped.")
    return 0
