"""The columns of the tables: those of the paper's Table 1 in its order, then what it lacks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """`better` is "up", "down" or "one" (nearest to 1), None where no direction is. `margin` is by how much the gate
    lets a mean move, in the column's unit."""

    key: str
    header: str
    unit: str
    better: str | None
    decimals: int
    margin: float = 0.0

    @property
    def arrow(self) -> str:
        return {"up": "↑", "down": "↓", "one": "→1", None: ""}[self.better]

    @property
    def title(self) -> str:
        """Name, unit and arrow."""
        return " ".join(part for part in (self.header, f"({self.unit})" if self.unit else "", self.arrow) if part)


# of a view         key              header           unit  better  decimals  margin
CLIP = (
    Column("clip_score",   "CLIP score",    "",   "up",   2, 1.0),
    Column("iqa_quality",  "IQA quality",   "%",  "up",   1, 5.0),
    Column("iqa_sharpness", "IQA sharp",    "%",  "up",   1, 5.0),
    Column("iqa_real",     "IQA real",      "%",  "up",   1, 5.0),
    Column("image_reward", "ImageReward",   "",   "up",   2, 0.2),
)  # fmt: skip
BEYOND = (
    Column("r_precision",  "R-Precision",   "%",  "up",   1, 10.0),
    Column("r_precision_2", "R-Precision 2", "%", "up",   1, 10.0),  # by another encoder
    Column("clip_score_2", "CLIP score 2",  "",   "up",   2, 1.0),  # by that encoder too, where it was asked for
    Column("view_preference", "View preference", "%", "down", 1, 10.0),  # of back views for the front's words: Janus
    Column("iou",          "IoU",           "",   "up",   2, 0.05),
    Column("psnr",         "PSNR",          "dB", "up",   1, 1.0),
    Column("sharpness",    "Sharpness",     "",   "one",  2, 0.15),
    Column("chroma",       "Chroma",        "",   "one",  2, 0.15),
    Column("clipped",      "Clipped",       "%",  "down", 1, 5.0),
    Column("fog",          "Fog",           "%",  "down", 1, 2.0),
    Column("agreement",    "Agreement",     "%",  "up",   1, 10.0),  # of the views on one variant
)  # fmt: skip
HIDDEN = (
    Column("opacity",      "Opacity",       "",   None,   2),
    Column("yaw",          "Yaw",           "°",  None,   0),
)  # fmt: skip

# of a job
DIVERGED = Column("diverged_pct", "Div.", "%", "down", 1, 5.0)
COST = (
    Column("time_min",     "Time",          "min", "down", 1),
    Column("memory_gb",    "Memory",        "GB",  "down", 1),
    Column("nfe",          "NFE",           "",    "down", 0),
)  # fmt: skip

MEASURES = (*CLIP, *BEYOND, *HIDDEN)  # what scores.csv may hold
PAPER = (*CLIP, DIVERGED, *COST[:2])  # Table 1's
TABLE = (*PAPER, COST[2], *BEYOND)
GATED = (*CLIP, *BEYOND)
BY_KEY = {column.key: column for column in (*TABLE, *HIDDEN)}
