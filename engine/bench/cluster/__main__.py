"""What a Ray cluster costs: three nodes on this machine, jobs that only wait, one node killed, and one that joins.

python -m engine.bench.cluster                  efficiency, and what a job costs beside its own time; minutes
python -m engine.bench.cluster --plan 1000 100000   places and jobs through the real queue and store, hours in no
                                                time; nodes and processes are lost; in a temporary folder (TMPDIR)
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from errors import UserError, exit_code
from say import Console, say


def main(arguments: list[str]) -> int:
    """Raises UserError for numbers that are not above 0, and where Ray is not installed."""
    parser = argparse.ArgumentParser("python -m engine.bench.cluster", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--jobs", type=int, default=60, metavar="N", help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S", help="of a job; default: %(default)g")
    parser.add_argument("--cpus", type=int, default=2, metavar="N", help="places of a node; default: %(default)s")
    parser.add_argument("--plan", type=int, nargs=2, metavar=("PLACES", "JOBS"), help="no cluster: simulate")
    options = parser.parse_args(arguments)
    if min(options.jobs, options.seconds, options.cpus, *(options.plan or ())) <= 0:
        raise UserError("Numbers of jobs, seconds, cores and places are above 0.")
    console = Console()
    from engine.bench.cluster import efficiency, simulate

    with tempfile.TemporaryDirectory() as folder:
        if options.plan:
            planned = simulate.simulated(Path(folder) / "run", *options.plan)
            say(console, simulate.told(planned))
        else:
            found = efficiency.measured(Path(folder), options.jobs, options.seconds, options.cpus, console)
            say(console, efficiency.told(found))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code("engine.bench.cluster", lambda: main(sys.argv[1:])))
