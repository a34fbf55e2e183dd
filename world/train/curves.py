"""Learning curves: kept beside the code as CSV, and drawn."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from world.train.run import Plan

if TYPE_CHECKING:  # pandas and matplotlib are not on every machine that trains
    import pandas as pd

KEPT = Path(__file__).parents[1] / "curves"
SHOWN = {"vae": ("psnr", "PSNR of a batch, dB"), "unet": ("loss", "v-loss of a batch"), "clip": ("loss", "loss")}
SHOWN |= {"clip2": ("loss", "loss"), "reward": ("loss", "ranking loss")}


def kept(plan: Plan) -> Path:
    """Where a training's curve is committed: that of one by its own teacher beside that of the first."""
    return KEPT / f"{plan.name}{'-taught' if plan.teach else ''}.csv"


def keep(plan: Plan) -> None:
    """Copy a training's curve to where it is committed."""
    KEPT.mkdir(exist_ok=True)
    shutil.copyfile(plan.folder / "curve.csv", kept(plan))


def difference(plan: Plan) -> float:
    """The largest relative difference between the loss of a training's curve and that of the kept one, row by row."""
    import pandas as pd

    made, first = (pd.read_csv(p).set_index("step")["loss"] for p in (plan.folder / "curve.csv", kept(plan)))
    return float(((made - first.loc[made.index]).abs() / first.loc[made.index]).max())


def draw(path: Path) -> None:
    """The kept curves side by side, smoothed over 15 rows of 20 steps."""
    import matplotlib.pyplot as plt
    import pandas as pd

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


def draw_guidance(curve: pd.DataFrame, best: tuple[float, float], path: Path) -> None:
    """What samples are worth against the guidance that they were drawn with."""
    import matplotlib.pyplot as plt

    titles = {
        "psnr": "PSNR, dB",
        "detail": "detail / truth's",
        "chroma": "chroma / truth's",
        "r_precision": "R-Precision, %",
    }
    figure, axes = plt.subplots(1, len(titles), figsize=(3.2 * len(titles), 2.6))
    for place, (column, title) in zip(axes, titles.items(), strict=True):
        place.axvspan(*best, color="0.93")
        place.semilogx(curve.index, curve[column], marker="o", markersize=4)
        place.set_xticks(curve.index, [f"{scale:g}" for scale in curve.index])
        place.minorticks_off()
        place.set(title=title, xlabel="classifier-free guidance")
        place.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_responses(means: pd.DataFrame, path: Path) -> None:
    """What the judges say, as means over toys by distortion and strength; dashed, the second CLIP."""
    import matplotlib.pyplot as plt

    titles = {
        "clip_score": "CLIP score",
        "r_precision": "R-Precision, %",
        "image_reward": "ImageReward",
        "iqa_quality": "CLIP-IQA quality, %",
        "iqa_sharpness": "CLIP-IQA sharp, %",
        "iqa_real": "CLIP-IQA real, %",
    }
    figure, axes = plt.subplots(2, 3, figsize=(10.5, 6), sharex=True)
    for place, (metric, title) in zip(axes.flat, titles.items(), strict=True):
        for k, (name, curve) in enumerate(means.groupby("distortion", sort=False)):
            curve, colour = curve.droplevel("distortion"), f"C{k}"
            place.plot(curve.index, curve[metric], marker="o", markersize=3, color=colour, label=name.replace("_", " "))
            if f"{metric}_2" in curve:
                place.plot(curve.index, curve[f"{metric}_2"], linestyle="--", linewidth=0.8, color=colour)
        place.set(title=title)
        place.spines[["top", "right"]].set_visible(False)
    for place in axes[1]:
        place.set_xlabel("strength of the distortion")
    axes[0, 0].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
