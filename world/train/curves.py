"""Learning curves: kept beside the code as CSV, and drawn."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd

from world.train.run import Plan

KEPT = Path(__file__).parents[1] / "curves"
SHOWN = {"vae": ("psnr", "PSNR of a batch, dB"), "unet": ("loss", "v-loss of a batch"), "clip": ("loss", "loss")}
SHOWN |= {"clip2": ("loss", "loss"), "reward": ("loss", "ranking loss")}


def keep(plan: Plan) -> None:
    """Copy a training's curve to where it is committed."""
    KEPT.mkdir(exist_ok=True)
    shutil.copyfile(plan.folder / "curve.csv", KEPT / f"{plan.name}.csv")


def difference(plan: Plan) -> float:
    """The largest relative difference between the loss of a training's curve and that of the kept one, row by row."""
    made, kept = (
        pd.read_csv(p).set_index("step")["loss"] for p in (plan.folder / "curve.csv", KEPT / f"{plan.name}.csv")
    )
    return float(((made - kept.loc[made.index]).abs() / kept.loc[made.index]).max())


def draw(path: Path) -> None:
    """The kept curves side by side, smoothed over 15 rows of 20 steps."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(SHOWN), figsize=(3.2 * len(SHOWN), 2.6))
    for place, (name, (column, label)) in zip(axes, SHOWN.items(), strict=True):
        curve = pd.read_csv(KEPT / f"{name}.csv")
        place.plot(curve["step"], curve[column], color="0.8", linewidth=0.8)
        place.plot(curve["step"], curve[column].rolling(15, min_periods=1).mean(), color="C0")
        place.set(title=name, xlabel="step", ylabel=label)
        place.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
