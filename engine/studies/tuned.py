"""What tuning is worth: each rule at its tuned setting beside the same rule in the controlled track.

    python -m engine.studies.tuned results/reference/world.tar.xz results/reference/world-tuned.tar.xz

Both are archives of `engine.studies.gather`, of runs without and with `--track tuned`. Means are over the prompts and
seeds of which a rule has an object in both; differences are paired, with 95 % intervals. The table goes to
results/reference/tuned.md and .csv, the figure to docs/tuned.png.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import pandas as pd

from engine.recipes.tuned import best_of, place, scales_of
from engine.studies.gather import unpacked
from errors import UserError, exit_code
from files import ROOT, replaced, write_text
from names import RECIPES, TUNED
from reports import Frames, judges_of, load
from reports.columns import column
from reports.markdown import pipes
from reports.tables import in_order, pairs_of_all, row_of, shared
from reports.uncertainty.differences import NOTE, differences, words
from reports.uncertainty.statistics import holm

CONTROLLED = "controlled"
SHOWN = ("clip_score", "image_reward", "psnr", "volume_iou")
DRAWN = ("clip_score", "psnr")
TABLE, FIGURE = ROOT / "results" / "reference" / "tuned.md", ROOT / "docs" / "tuned.png"


def beside(controlled: Frames, tuned: Frames) -> pd.DataFrame:
    """A row a rule and metric: `controlled` and `tuned` means, and their paired difference as `differences` has it,
    where all rules' are one family. Raises UserError where they share no rule, and where they are of two protocols."""
    refuse_unlike(pd.concat([controlled.jobs, tuned.jobs]))
    tracks = {CONTROLLED: controlled, TUNED: tuned}
    rows = []
    for method in in_order(tuned, list(RECIPES)):
        own = [Frames(*(f[(f["method"] == method) & (f["status"] == "ok")].assign(method=track) for f in frames))
               for track, frames in tracks.items()]  # fmt: skip
        both = Frames(*(pd.concat(parts, ignore_index=True) for parts in zip(*own, strict=True)))
        if both.jobs["method"].nunique() < len(tracks) or not pairs_of_all(both):
            continue
        both = shared(both)
        gaps = differences(both, CONTROLLED).drop(columns=["baseline"]).assign(method=method)
        means = {track: row_of(both, track, "survivors", ("ok",)) for track in tracks}
        rows.append(gaps.assign(**{t: gaps["metric"].map(lambda m, r=r: r.get(f"{m}_mean")) for t, r in means.items()}))
    if not rows:
        raise UserError("The two have no rule's object in common: gather the same rules' jobs in both tracks.")
    found = pd.concat(rows, ignore_index=True)
    found["p_holm"] = found.groupby("metric")["p"].transform(holm)
    return found


def refuse_unlike(jobs: pd.DataFrame) -> None:
    """Raise UserError where the two tracks differ in more than their settings."""
    found = {name: jobs[name] for name in ("suite", "prior", "steps", "orbit")} | judges_of(jobs)
    if unlike := [name for name, values in found.items() if values.nunique() > 1]:
        raise UserError(f"The two are not of one protocol: they differ in {', '.join(unlike)}.")


def said(best: dict) -> str:
    """A tuned setting in words: `CFG 25, lr 0.02`."""
    names = {"scale": "CFG", "inversion_scale": "inversion's CFG"}
    scales = [f"{names[field]} {value:g}" for field, value in scales_of(best).items()]
    return ", ".join([*scales, f"lr {best['lr']:g}"])


def markdown(found: pd.DataFrame, settings: dict[str, str]) -> str:
    header, keys = ["Rule", "Tuned to", "Prompts"], [key for key in SHOWN if key in set(found["metric"])]
    for key in keys:
        header += [column(key).heading, TUNED, "difference"]
    body = []
    for method, of in found.groupby("method", sort=False):
        of = of.set_index("metric", drop=False)
        cells = [method, settings[method], f"{of['n_prompts'].max():.0f}"]
        for key in keys:
            decimals, row = column(key).decimals, of.loc[key]
            cells += [f"{row[CONTROLLED]:.{decimals}f}", f"{row[TUNED]:.{decimals}f}", words(row)]
        body.append(cells)
    return "\n".join(["# The tuned track beside the controlled one", "", NOTE, "", *pipes(header, body)]) + "\n"


def draw(found: pd.DataFrame, path: Path) -> None:
    """A row a rule, the best tuned one above: its controlled mean, an arrow to its tuned one, and there the interval of
    the difference."""
    from matplotlib.figure import Figure

    order = found[found["metric"] == DRAWN[0]].sort_values(TUNED)["method"].tolist()
    figure = Figure(figsize=(9.5, 1.2 + 0.34 * len(order)), layout="constrained")
    for axes, key in zip(figure.subplots(1, len(DRAWN), sharey=True), DRAWN, strict=True):
        of = found[found["metric"] == key].set_index("method").loc[order]
        axes.hlines(range(len(of)), of[CONTROLLED], of[TUNED], color="0.8", lw=2, zorder=1)
        spread = [of["mean"] - of["low"], of["high"] - of["mean"]]
        axes.errorbar(of[TUNED], range(len(of)), xerr=spread, fmt="o", ms=6, lw=1, capsize=3, color="C0", label=TUNED)
        axes.plot(of[CONTROLLED], range(len(of)), "o", ms=6, color="0.55", label=CONTROLLED)
        axes.set(xlabel=column(key).heading, yticks=range(len(of)), yticklabels=order)
        axes.grid(axis="x", color="0.93")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False, loc="lower right")
    replaced(path, lambda aside: figure.savefig(aside, format="png", dpi=120))


def main() -> int:
    parser = argparse.ArgumentParser("python -m engine.studies.tuned", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("controlled", type=Path, metavar="CONTROLLED.tar.xz")
    parser.add_argument("tuned", type=Path, metavar="TUNED.tar.xz")
    parser.add_argument("--table", type=Path, default=TABLE, metavar="FILE.md")
    parser.add_argument("--figure", type=Path, default=FIGURE, metavar="FILE.png")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tuned-") as aside:
        archives = {CONTROLLED: options.controlled, TUNED: options.tuned}
        frames = {track: load(unpacked(path, Path(aside, track))) for track, path in archives.items()}
    suite = frames[TUNED].jobs["suite"].iloc[0]
    found = beside(frames[CONTROLLED], frames[TUNED])
    settings = {method: said(best_of(place(suite, method))["best"]) for method in found["method"].unique()}
    write_text(options.table, text := markdown(found, settings))
    write_text(options.table.with_suffix(".csv"), found.to_csv(index=False, float_format="%.6g"))
    draw(found, options.figure)
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code("engine.studies.tuned", main))
