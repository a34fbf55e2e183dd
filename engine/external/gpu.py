"""What the driver says of GPUs: this program's own libraries may have been built without them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Container
from functools import cache

QUERY = ("--format=csv,noheader,nounits",)
PATIENCE = 20.0  # seconds for an answer


@cache
def name() -> str | None:
    """The first GPU's; None where there is none."""
    lines = _asked("--query-gpu=name")
    return lines[0] if lines else None


def used_by(processes: Container[int]) -> int | None:
    """Bytes that some processes hold on all GPUs together; None where the driver knows none of them, as it does not
    know those of a container by the numbers that they have inside."""
    if name() is None:
        return None
    found = None
    for line in _asked("--query-compute-apps=pid,used_memory"):
        pid, _, used = line.partition(",")
        if pid.strip().isdecimal() and used.strip().isdecimal() and int(pid) in processes:
            found = (found or 0) + int(used) * 2**20
    return found


def _asked(query: str) -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        said = subprocess.run([program, query, *QUERY], capture_output=True, text=True, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in said.stdout.splitlines() if line.strip()] if said.returncode == 0 else []
