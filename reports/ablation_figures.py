"""The figures of ablations, in the form of the paper's: curves over the pictures that they are about.

`labels` gives a variant's label by its folder, in the figure's order; the first seed stands in pictures, and every job
is in the numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from eval import views
from reports import Frames
from reports.pictures import Cell, grid
from reports.published import FOLDER

FIGURE_11 = FOLDER / "figure11_inversion_steps.csv"
OWN, PUBLISHED_CFG = "DDIM's own", -7.5


def finished(frames: Frames, method: str) -> pd.DataFrame:
    """A method's jobs that left an object."""
    return frames.jobs[(frames.jobs["method"] == method) & (frames.jobs["status"] == "ok")]


def own_path(run: Path, frames: Frames, method: str) -> pd.DataFrame:
    """t and eq8 of the steps of a variant's jobs: means over prompts and seeds."""
    jobs = finished(frames, method)
    logs = [run / method / j.prompt_id / j.seed / "log.jsonl" for j in jobs.itertuples()]
    rows = [json.loads(line) for log in logs for line in log.read_text("utf-8").splitlines()]
    return pd.DataFrame(rows)[["t", "eq8"]].groupby("t").mean().reset_index()


def draw_kappa(run: Path, frames: Frames, table: pd.DataFrame, labels: dict[str, str]) -> Any:
    """Fig. 9: error in eq. 8 over t, on DDIM's own path and along each choice's optimisation of a picture."""
    upper, lower, figure = _parts(len(frames.jobs["prompt_id"].unique()), charts=4.0, width=11.0)
    here, there = upper.subplots(1, 2, sharey=True)
    found = pd.read_csv(run / "kappa-eq8.csv")
    for k, (method, label) in enumerate(labels.items()):
        own = found[found["choice"] == label]
        for scale, line in own.groupby("inversion_scale", dropna=False):
            name = label if pd.isna(scale) else f"{label}, CFG {scale:g}"
            style = "-" if pd.isna(scale) or scale == PUBLISHED_CFG else (0, (5, 2)) if scale == 0 else (0, (1, 1.5))
            here.plot(line["t"], line["mean"], marker="o", ms=3, lw=1.6, ls=style, color=f"C{k}", label=name)
        path = own_path(run, frames, method)
        there.plot(path["t"], path["eq8"], lw=1.2, color=f"C{k}", label=label)
    exact = found[found["choice"] == OWN]["mean"].max()
    here.set_title(f"at x0(t) of DDIM's path ({OWN} noise: {exact:.0e})", fontsize=10)
    there.set_title("along each choice's own 2D optimisation", fontsize=10)
    here.set_ylabel("error of eq. 8, RMS in units of x0")
    for axes in (here, there):
        axes.set(xlabel="t", yscale="log")
        axes.invert_xaxis()
        axes.grid(color="0.92", which="both")
    here.legend(fontsize=8, frameon=False)
    _by_prompt(lower, run, frames, labels, ("psnr",))
    return figure


def draw_steps(run: Path, frames: Frames, table: pd.DataFrame, labels: dict[str, str]) -> Any:
    """Fig. 11: quality and time over the number of inversion steps, beside the published; where there is a truth, what
    stands nearest to it, else the CLIP score."""
    upper, lower, figure = _parts(len(frames.jobs["prompt_id"].unique()), charts=3.2, width=11.0)
    quality, cost, third = upper.subplots(1, 3)
    key, title = ("psnr", "PSNR to the nearest true view, dB") if "psnr_mean" in table else ("clip_score", "CLIP score")
    paper, rows = pd.read_csv(FIGURE_11), table[table["block"] == "survivors"]
    n, steps = rows["label"].astype(int), paper["inversion_steps"]
    std = paper["iqa_quality_std"]
    quality.errorbar(steps, paper["iqa_quality_mean"], std, marker="s", color="0.45", capsize=3, label="published")
    quality.plot(n, rows["iqa_quality_mean"], marker="o", color="C0", label="here")
    ok = frames.wide[(frames.wide["status"] == "ok") & frames.wide["method"].isin(labels)]
    for k, column in enumerate(("iqa_quality", key)):
        for _, one in ok.groupby("prompt_id"):
            line = one.groupby("method")[column].mean().reindex(rows["method"])
            (quality, third)[k].plot(n, line.to_numpy(), color="C0", lw=0.8, alpha=0.5)
    quality.set_title("IQA quality, % (thin: each prompt)", fontsize=10)
    cost.plot(steps, paper["time_min"] / _at_ten(steps, paper["time_min"]), marker="s", color="0.45", label="published")
    cost.plot(n, rows["alone_min"] / _at_ten(n, rows["alone_min"]), marker="o", color="C0", label="here")
    cost.plot(n, rows["nfe"] / _at_ten(n, rows["nfe"]), ls=":", color="C0", label="here, calls of the network")
    cost.set_title("time, relative to 10 steps", fontsize=10)
    third.plot(n, rows[f"{key}_mean"], marker="o", color="C0", label="here")
    third.set_title(title, fontsize=10)
    for axes in (quality, cost, third):
        axes.set_xscale("log")
        axes.set_xticks(list(steps), [str(s) for s in steps])
        axes.minorticks_off()
        axes.set_xlabel("inversion steps")
        axes.grid(color="0.92")
        axes.legend(fontsize=8, frameon=False)
    _by_prompt(lower, run, frames, labels, ("clip_score", "psnr"))
    return figure


def draw_cfg(run: Path, frames: Frames, table: pd.DataFrame, labels: dict[str, str]) -> Any:
    """Fig. 10: a row a CFG of the inversion, a column a CFG of the prediction."""
    prompts = sorted(frames.jobs["prompt_id"].unique())
    cells = {}
    for method, label in labels.items():
        row, column = label.split(", ")
        for prompt in prompts:
            title = row if len(prompts) == 1 else f"{prompt[3:]}\n{row}"
            cells[title, column] = _cell(run, frames, method, prompt, ("clip_score", "psnr"))
    return grid(cells)


def draw_diversity(run: Path, frames: Frames, table: pd.DataFrame, labels: dict[str, str]) -> Any:
    """Appendix C: a row a rule, a column a seed."""
    apart = table.drop_duplicates("method").set_index("method")["feature_distance"]
    cells = {}
    for job in sorted(frames.jobs.itertuples(), key=lambda j: (list(labels).index(j.method), j.prompt_id, int(j.seed))):
        row = f"{labels[job.method]}\n{job.prompt_id[3:]}\ndistance {apart[job.method]:.3f}"
        cells[row, f"seed {job.seed}"] = _cell(run, frames, job.method, job.prompt_id, ("clip_score",), job.seed, 1)
    return grid(cells)


def draw_length(run: Path, frames: Frames, table: pd.DataFrame, labels: dict[str, str]) -> Any:
    """Quality against steps, a line a rule, over the pictures: a row a rule, a column a length."""
    titles = {"clip_score": "CLIP score", "psnr": "PSNR nearest, dB", "volume_iou": "volume IoU", "fog": "fog, %"}
    keys = [key for key in titles if f"{key}_mean" in table]
    rows = table[table["block"] == "survivors"].assign(rule=lambda t: t["label"].str.partition(", ")[0])
    prompts = sorted(frames.jobs["prompt_id"].unique())
    upper, lower, figure = _parts(len(prompts) * rows["rule"].nunique(), charts=3.2, width=12.0)
    for axes, key in zip(upper.subplots(1, len(keys), squeeze=False)[0], keys, strict=True):
        for rule, of in rows.groupby("rule", sort=False):
            axes.plot(of["steps"].astype(int), of[f"{key}_mean"], marker="o", ms=3, lw=1.2, label=rule)
        axes.set_xscale("log")
        ticks = sorted(rows["steps"].astype(int).unique())
        axes.set_xticks(ticks, [str(n) for n in ticks])
        axes.minorticks_off()
        axes.set_xlabel("steps")
        axes.set_title(titles[key], fontsize=10)
        axes.grid(color="0.92")
    upper.axes[0].legend(fontsize=8, frameon=False)
    cells = {}
    for prompt in prompts:
        for method, label in labels.items():
            rule, times = label.split(", ")
            title = rule if len(prompts) == 1 else f"{prompt[3:]}\n{rule}"
            cells[title, times] = _cell(run, frames, method, prompt, ("clip_score", "psnr"))
    grid(cells, lower)
    return figure


def pictures(run: Path, frames: Frames, table: pd.DataFrame, labels: dict[str, str]) -> Any:
    """A row a prompt, a column a variant."""
    flat = "iou_mean" not in table
    return _by_prompt(None, run, frames, labels, ("psnr",) if flat else ("clip_score", "psnr"))


DRAW: dict[str, Callable[[Path, Frames, pd.DataFrame, dict[str, str]], Any]] = {
    "kappa": draw_kappa,
    "inversion-steps": draw_steps,
    "inversion-cfg": draw_cfg,
    "diversity": draw_diversity,
    "length": draw_length,
}
UNITS = {"clip_score": "CLIP {:.0f}", "psnr": "{:.1f} dB"}


def _by_prompt(into: Any, run: Path, frames: Frames, labels: dict[str, str], said: tuple[str, ...]) -> Any:
    prompts = sorted(frames.jobs["prompt_id"].unique())
    cells = {(p[3:], label): _cell(run, frames, m, p, said) for p in prompts for m, label in labels.items()}
    return grid(cells, into)


def _cell(
    run: Path, frames: Frames, method: str, prompt: str, said: tuple[str, ...], seed: str | None = None, most: int = 2
) -> Cell:
    """The front and the left side of a job, or its one picture, and what was measured of all of its views."""
    jobs = frames.jobs[(frames.jobs["method"] == method) & (frames.jobs["prompt_id"] == prompt)]
    seed = seed or min(jobs["seed"], key=lambda s: (len(s), s), default="0")
    folder = run / method / prompt / seed
    if not views.has_pictures(folder):
        return None, "no picture"
    rgb, wide = views.read(folder).rgb, frames.wide
    of_job = wide[(wide["method"] == method) & (wide["prompt_id"] == prompt) & (wide["seed"] == seed)]
    text = "  ".join(UNITS[key].format(of_job[key].mean()) for key in said if key in of_job)
    return _side_by_side(rgb[:: max(len(rgb) // 4, 1)][:most]), text


def _side_by_side(rgb: Tensor) -> Tensor:
    """(H, V W, 3), for imshow."""
    return torch.cat(list(rgb), 2).permute(1, 2, 0).clamp(0, 1)


def _at_ten(steps: pd.Series, values: pd.Series) -> float:
    return float(values[steps == 10].iloc[0]) if (steps == 10).any() else float(values.iloc[0])


def _parts(prompts: int, charts: float, width: float) -> tuple[Any, Any, Any]:
    """Charts above pictures, and the figure that holds both."""
    from matplotlib.figure import Figure

    height = 0.4 + 1.25 * prompts
    figure = Figure(figsize=(width, charts + height), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=[charts, height])
    return parts[0], parts[1], figure
