"""`python -m tests.parity DIR`: replay every case of a folder. Exits 0 if all that is replayed agrees, 1 if a case
differs or can neither be replayed nor skipped for a reason, 2 if the folder cannot be read."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from errors import UserError
from tests.parity.recording import Recording
from tests.parity.replay import Result, replay
from tests.parity.shared import LIMITS


def report(results: list[Result]) -> str:
    """One line a case, then the largest error of each method."""
    width = max((len(r.case) for r in results), default=4)
    lines = [f"{'case':{width}}  {'method':24}  {'error':>8}  {'limit':>7}  verdict"]
    for r in results:
        error = f"{r.error:8.1e}" if r.error is not None else f"{'-':>8}"
        limit = f"{r.limit:7.0e}" if r.error is not None else f"{'-':>7}"
        lines.append(f"{r.case:{width}}  {r.method:24}  {error}  {limit}  {r.verdict}")
    lines.append("\nlargest error of each method, relative to the peak of its tensor")
    for method in sorted({r.method for r in results if r.error is not None}):
        worst = max((r for r in results if r.method == method and r.error is not None), key=lambda r: r.error or 0.0)
        lines.append(f"  {method:24}  {worst.error:.1e}  in {worst.case}")
    skipped, failed = sum(r.skipped for r in results), sum(r.failed for r in results)
    lines.append(f"{len(results)} cases: {len(results) - skipped - failed} agree, {skipped} skipped, {failed} fail")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="index.json, cases/ and models/")
    folder = parser.parse_args(argv).folder
    try:
        recording = Recording(folder)
        results = [replay(recording, case) for case in recording.cases]
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(report(results))
    print("limits: " + ", ".join(f"{limit:.0e} for {name}" for name, limit in LIMITS.items()))
    return 1 if any(r.failed for r in results) else 0


if __name__ == "__main__":
    sys.exit(main())
