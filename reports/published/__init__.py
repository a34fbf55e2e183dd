"""Published tables that a run is set beside, each with the protocol that its numbers were made by.

A further table is a CSV in results/published, in the columns of Table 1 (`<metric>_mean`, `<metric>_std`; those that it
lacks are left out), and an entry here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).parents[2] / "results" / "published"


@dataclass(frozen=True)
class Published:
    """A table: its `key` in compare.csv, the heading over its rows, `who` made its numbers, its file, our rules' rows
    in it, and for each metric that is not what ours is, why. `protocol`: how its numbers were made."""

    key: str
    title: str
    who: str
    file: str
    rows: Mapping[str, str]
    unlike: Mapping[str, str] = field(default_factory=dict)
    protocol: str = ""

    @property
    def notes(self) -> list[str]:
        """What is to be known beside its numbers."""
        return [
            *([self.protocol] if self.protocol else []),
            *(f"{why}: no comparison." for why in self.unlike.values()),
        ]

    @property
    def name(self) -> str:
        """What the command line calls it."""
        return f"table-{self.key}" if self.key.isdecimal() else self.key

    def read(self) -> pd.DataFrame:
        """Its rows, in the columns of our tables."""
        rows = pd.read_csv(FOLDER / self.file).rename(columns={"vram_gb": "memory_gb"})
        return rows.assign(steps=rows["steps"].astype(str), block="published")


TABLE_1 = Published(
    "1",
    "Beside the paper's Table 1",
    "paper",
    "table1.csv",
    {"sds": "SDS", "sjc": "SJC", "vsd": "VSD", "esd": "ESD", "hifa": "HIFA", "sdi": "SDI", "sdi-official": "SDI"},
    protocol="Table 1 is by its authors' code, a snapshot of threestudio: 43 prompts x 50 views, Stable "
    "Diffusion 2.1-base, an RTX A6000.",
)
TABLE_2 = Published(
    "2",
    "Beside the paper's Table 2 (3D Gaussians)",
    "paper",
    "table2.csv",
    {"ism": "ISM"},
    protocol="Table 2 is on 3D Gaussians, ours is this project's NeRF: no reproduction of its rows.",
)
MV_SDI = Published(
    "mv-sdi",
    "Beside another laboratory's run of SDI (MV-SDI, 2026)",
    "MV-SDI",
    "mvsdi43.csv",
    {"sdi": "Baseline SDI", "sdi-official": "Baseline SDI"},
    {"iqa_quality": "MV-SDI's CLIP-IQA is by ViT-B/16 at 224 pixels, not by RN50"},
    "MV-SDI ran SDI on the same prompts, views and prior in a fork of threestudio; it gives no spreads. Its CLIP score "
    "of SDI is 3.8 below Table 1's, more than the rules of Table 1 differ: read a reproduction beside both.",
)
TABLES = (TABLE_1, TABLE_2, MV_SDI)
