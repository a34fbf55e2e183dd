"""What a job cost: wall time, calls of the network, peak memory, in the units of the paper's Table 1.

The job itself measures them (its time and calls survive a restart); here they get their units.
"""

from __future__ import annotations

from typing import Any

UNITS = {  # column: (field of record.json, its units in one of the column's)
    "time_min": ("seconds", 60.0),
    "nfe": ("nfe", 1.0),  # guided calls of the network; a call's branches are one
    "network_rows": ("network_rows", 1.0),  # images in those calls
    "memory_gb": ("peak_bytes", 1e9),  # CUDA's peak on a GPU, the process's on a CPU
}


def cost(record: dict[str, Any]) -> dict[str, float]:
    """The columns of UNITS; NaN where the record lacks one, as for pictures made elsewhere."""
    return {column: record.get(field, float("nan")) / unit for column, (field, unit) in UNITS.items()}
