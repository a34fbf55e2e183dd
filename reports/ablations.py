"""What an ablation found: RUN/NAME.csv and RUN/NAME.png. `labels` gives a variant's label by its folder, in order."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

import reports
from eval import views
from eval.encoders import load_clip
from eval.opened import opened
from files import read_json, replaced, write_text
from reports import Frames, tables
from reports.ablation_figures import DRAW, PUBLISHED_CFG, finished, pictures
from reports.columns import measured
from say import plain

# what one picture without a silhouette has no use for
FLAT = {m.key for m in measured() if "truth" in m.needs} - {"psnr", "agreement"}
SHOWN = {
    "n": ("n", "{:.0f}"),
    "time_min": ("min", "{:.2f}"),
    "alone_min": ("alone", "{:.2f}"),
    "nfe": ("NFE", "{:.0f}"),
    "clip_score_mean": ("CLIP score", "{:.1f}"),
    "iqa_quality_mean": ("IQA %", "{:.0f}"),
    "r_precision_mean": ("R-Prec %", "{:.0f}"),
    "iou_mean": ("IoU", "{:.2f}"),
    "psnr_mean": ("PSNR dB", "{:.1f}"),
    "sharpness_mean": ("sharp", "{:.2f}"),
    "eq8": ("error of eq. 8", "{:.2f}"),
    "psnr_to_ddim": ("PSNR to DDIM's sample, dB", "{:.1f}"),
    "feature_distance": ("distance of seeds", "{:.3f}"),
    "pixel_distance": ("in pixels", "{:.3f}"),
}


def write(name: str, run: Path, labels: dict[str, str], clip: Path) -> tuple[list[Path], pd.DataFrame]:
    """The ablation's files, and its table: a row a variant, with what of reports.tables has a meaning here, and

        alone_min          inversion-steps: minutes of a job, its cost by itself
        psnr_to_ddim       canvas: of pictures that should be DDIM's, dB
        eq8                kappa: the geometric mean over t of the error in eq. 8 at DDIM's x0(t), in the units of x0
        feature_distance, pixel_distance      diversity: see `distances`

    `clip` measures how far seeds lie apart. Raises UserError for damaged jobs."""
    frames = Frames(*(frame[frame["method"].isin(labels)] for frame in reports.load(run)))
    table = tables.make(frames, list(labels))
    table.insert(1, "label", table["method"].map(labels))
    if name in ("canvas", "kappa"):
        table = table.drop(columns=[c for c in table if c.rsplit("_", 1)[0] in FLAT])
    made, draw = [run / f"{name}.csv"], DRAW.get(name, pictures)
    if name == "canvas":
        table["psnr_to_ddim"] = table["method"].map(lambda m: _to_ddim(run / m))
    if name == "inversion-steps":
        table["alone_min"] = table["method"].map(read_json(run / "cost.json")) / 60
    if name == "diversity":
        table = table.merge(distances(run, frames, labels, clip), on="method")
    if name == "kappa":
        made.append(run / "kappa-eq8.csv")
        found = eq8(run)
        write_text(made[-1], found.to_csv(index=False, float_format="%.6g"))
        found = found[found["inversion_scale"].isin([PUBLISHED_CFG]) | found["inversion_scale"].isna()]
        table["eq8"] = table["label"].map(found.groupby("choice")["mean"].apply(lambda e: e.prod() ** (1 / len(e))))
    write_text(made[0], table.to_csv(index=False, float_format="%.6g"))
    figure = draw(run, frames, table, labels)
    made.append(replaced(run / f"{name}.png", lambda aside: figure.savefig(aside, format="png", dpi=110)))
    return made, table


def show(table: pd.DataFrame, console: Console) -> None:
    """The numbers that an ablation is about, a row a variant, where jobs left an object."""
    shown = {key: text for key, text in SHOWN.items() if key in table and table[key].notna().any()}
    found = Table(box=None, pad_edge=False)
    found.add_column("", no_wrap=True)
    for header, _ in shown.values():
        found.add_column(header, justify="right")
    for _, row in table[table["block"] == "survivors"].iterrows():
        found.add_row(plain(row["label"]), *("-" if pd.isna(row[key]) else form.format(row[key])
                                      for key, (_, form) in shown.items()))  # fmt: skip
    console.print(found)


def distances(run: Path, frames: Frames, labels: dict[str, str], clip: Path) -> pd.DataFrame:
    """How far the seeds of a prompt lie apart, a mean over pairs of seeds and views from the same side: 1 - cosine of
    CLIP's features, and the RMS of pixels in [0, 1]. NaN for a single seed."""
    encoder, rows = opened(load_clip, clip, clip), []
    for method in labels:
        apart: list[tuple[float, float]] = []
        for _, jobs in finished(frames, method).groupby("prompt_id"):
            rgb = [views.read(run / method / j.prompt_id / j.seed).rgb for j in jobs.itertuples()]
            seen = [(encoder.images(image), image.flatten(1)) for image in rgb]
            for (f, x), (g, y) in combinations(seen, 2):
                apart.append((float(1 - (f * g).sum(1).mean()), float((x - y).square().mean(1).sqrt().mean())))
        feature, pixel = pd.DataFrame(apart, columns=["f", "x"]).mean()
        rows.append({"method": method, "feature_distance": feature, "pixel_distance": pixel, "pairs": len(apart)})
    return pd.DataFrame(rows)


def eq8(run: Path) -> pd.DataFrame:
    """The errors in eq. 8 by choice, inversion_scale and t: their mean over prompts and seeds, in the units of x0."""
    rows = [row for file in sorted(run.glob("eq8/*/*.json")) for row in read_json(file)["rows"]]
    by = ["choice", "inversion_scale", "t"]
    groups = pd.DataFrame(rows).groupby(by, dropna=False, sort=False)["error"]
    return groups.agg(["mean", "min", "max", "count"]).reset_index()


def _to_ddim(folder: Path) -> float:
    """The mean PSNR to DDIM's picture over the jobs of a method that has one."""
    records = [views.job_json(file) for file in folder.glob("*/*/record.json")]
    found = [record["psnr_to_ddim"] for record in records if "psnr_to_ddim" in record]
    return sum(found) / len(found) if found else float("nan")
