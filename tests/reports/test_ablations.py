"""Tables and figures of ablations, from synthetic runs."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from rich.console import Console

from reports import ablations, load
from reports.ablation_figures import DRAW, FIGURE_11, pictures
from reports.pictures import WRAP, grid
from tests.eval.clip import write_clip
from tests.reports.synthetic import WORLD, ball, random_scores, write_job

PROMPTS = [p for p in WORLD if p.id[:2] in ("07", "14")]


def synthetic(run, labels, seeds=(0,), views=8):
    rng = torch.Generator().manual_seed(0)
    for level, method in enumerate(labels):
        for prompt in PROMPTS:
            for seed in seeds:
                scores = random_scores(rng, level, views)
                write_job(run, method, prompt, seed, ball(views=views, turn=20.0 * seed, hue=level % 3), scores=scores)


def cell(hue=0, turn=0.0, views=8, shown=2):
    """What a job's place in a figure holds: its front and its left side, as its files have them, side by side."""
    rgb = (ball(views=views, turn=turn, hue=hue % 3)[0] * 255).round() / 255
    return np.concatenate(list(rgb[:: max(views // 4, 1)][:shown].permute(0, 2, 3, 1).numpy()), 1)


def pixels(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return np.asarray(Image.open(file))


def made(run, name, labels, cells, clip="unused"):
    """An ablation's table and figure, once its files hold them: `cells` are the figure's pictures in their order."""
    files, table = ablations.write(name, run, labels, clip)
    assert [file.name for file in files] == [f"{name}.csv", *(["kappa-eq8.csv"] * (name == "kappa")), f"{name}.png"]
    read = pd.read_csv(run / f"{name}.csv", dtype={"label": str})
    assert list(read["label"]) == list(labels.values())
    numbers = table.select_dtypes("number").reset_index(drop=True)
    pd.testing.assert_frame_equal(read[numbers.columns], numbers, check_dtype=False, rtol=1e-5)
    figure = DRAW.get(name, pictures)(run, load(run), table, labels)
    drawn = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert len(drawn) == len(cells)
    for picture, wanted in zip(drawn, cells, strict=True):
        np.testing.assert_allclose(picture, wanted, atol=1e-6)
    assert (np.asarray(Image.open(run / f"{name}.png")) == pixels(figure)).all()
    out = io.StringIO()
    ablations.show(table, Console(file=out, width=400))
    assert all(label in out.getvalue() for label in labels.values())
    return table, figure


def titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.images and axes.get_title()]


def curve(figure, title, label):
    """A line of the chart of this title."""
    (axes,) = (axes for axes in figure.axes if axes.get_title().startswith(title))
    lines = {line.get_label(): line for line in axes.lines} | {
        bars.get_label(): bars.lines[0] for bars in axes.containers
    }
    return lines[label].get_xdata().tolist(), list(lines[label].get_ydata())


def test_inversion_steps_stand_beside_the_published(tmp_path):
    labels = {f"steps{n:02d}": f"{n}" for n in (3, 5, 10, 20, 30)}
    synthetic(tmp_path, labels)
    (tmp_path / "cost.json").write_text(json.dumps({m: 60.0 * int(n) for m, n in labels.items()}))
    table, figure = made(tmp_path, "inversion-steps", labels, [cell(level) for _ in PROMPTS for level in range(5)])
    assert table["alone_min"].tolist() == [3, 5, 10, 20, 30]
    wide = load(tmp_path).wide.groupby("method")
    assert table["iqa_quality_mean"].tolist() == pytest.approx(wide["iqa_quality"].mean()[list(labels)].tolist())
    assert titles(figure) == list(labels.values())
    paper = pd.read_csv(FIGURE_11)
    assert curve(figure, "IQA quality", "here") == ([3, 5, 10, 20, 30], table["iqa_quality_mean"].tolist())
    assert curve(figure, "IQA quality", "published")[1] == paper["iqa_quality_mean"].tolist()
    assert curve(figure, "time", "here") == ([3, 5, 10, 20, 30], [0.3, 0.5, 1.0, 2.0, 3.0])  # cost.json's, to 10 steps
    assert curve(figure, "PSNR", "here")[1] == table["psnr_mean"].tolist()


def test_inversion_cfg_is_a_grid(tmp_path):
    labels = {f"i{i}-f{f}": f"inversion {i}, forward {f}" for i in (-7.5, 0, 7.5) for f in (1, 7.5)}
    synthetic(tmp_path, labels)
    levels = [[0, 1], [0, 1], [2, 3], [2, 3], [4, 5], [4, 5]]  # six rows, a CFG and a prompt each, of two columns
    _, figure = made(tmp_path, "inversion-cfg", labels, [cell(level) for row in levels for level in row])
    assert titles(figure) == ["forward 1", "forward 7.5"]


def test_quality_against_length_is_a_line_a_rule(tmp_path):
    labels = {f"{rule}-x{n}": f"{rule}, x{n}" for rule in ("sdi", "sds") for n in (1, 2)}
    synthetic(tmp_path, labels)
    for config in tmp_path.glob("*-x2/*/*/config.json"):
        facts = json.loads(config.read_text())
        config.write_text(json.dumps(facts | {"recipe": facts["recipe"] | {"steps": 600}}))
    levels = [level for rule in (0, 2) for level in (rule, rule + 1)]
    table, figure = made(tmp_path, "length", labels, [cell(level) for _ in PROMPTS for level in levels])
    assert titles(figure) == ["x1", "x2"]
    means = table.set_index("method")["psnr_mean"]
    assert curve(figure, "PSNR", "sds") == ([300, 600], [means["sds-x1"], means["sds-x2"]])


def test_diversity_is_the_distance_between_seeds(tmp_path):
    """Turned balls lie apart; the same ball again does not. One seed has no distance."""
    clip = write_clip(tmp_path / "clip")
    run, rng = tmp_path / "run", torch.Generator().manual_seed(0)
    for seed in (0, 1, 2):
        write_job(run, "turned", PROMPTS[0], seed, ball(turn=60.0 * seed), scores=random_scores(rng))
        write_job(run, "same", PROMPTS[0], seed, ball(), scores=random_scores(rng))
    write_job(run, "single", PROMPTS[0], 0, ball(), scores=random_scores(rng))
    cells = [cell(turn=turn, shown=1) for turn in (0, 60, 120, 0, 0, 0, 0)]
    table, figure = made(run, "diversity", {m: m for m in ("turned", "same", "single")}, cells, clip)
    assert titles(figure) == ["seed 0", "seed 1", "seed 2"]
    found = table.set_index("method")
    assert found["pairs"].tolist() == [3, 3, 0]
    assert found.loc["same", "feature_distance"] == pytest.approx(0, abs=1e-6)
    assert found.loc["same", "pixel_distance"] == 0
    assert found.loc["turned", "feature_distance"] > 1e-5
    a, b, c = (ball(turn=60.0 * s)[0] for s in (0, 1, 2))
    by_hand = np.mean([float((x - y).square().mean((1, 2, 3)).sqrt().mean()) for x, y in ((a, b), (a, c), (b, c))])
    assert found.loc["turned", "pixel_distance"] == pytest.approx(by_hand, abs=2 / 255)
    assert np.isnan(found.loc["single", "feature_distance"])


def test_canvas_has_the_columns_of_a_picture_and_its_distance_from_ddim(tmp_path):
    labels = {"ddim": "DDIM", "sdi-cached": "SDI, cached κ", **{f"rule{k}": f"rule{k}" for k in range(8)}}
    synthetic(tmp_path, labels, views=1)
    for record in tmp_path.glob("sdi-cached/*/0/record.json"):
        record.write_text(json.dumps(json.loads(record.read_text()) | {"psnr_to_ddim": 123.0}))
    bands = [range(7), range(7), range(7, 10), range(7, 10)]  # two prompts of seven, and of the three that are left
    cells = [cell(level, views=1) for row in bands for level in row]
    table, figure = made(tmp_path, "canvas", labels, cells)
    assert titles(figure) == list(labels.values())
    assert table.set_index("method")["psnr_to_ddim"].dropna().to_dict() == {"sdi-cached": 123.0}
    assert "psnr_mean" in table
    assert not [c for c in table if c.startswith(("iou", "fog", "sharpness", "chroma"))]


def test_kappa_is_the_mean_over_prompts_of_the_errors_measured(tmp_path):
    labels = {"1-random": "Random, resampled", "5-ddim": "DDIM inversion"}
    synthetic(tmp_path, labels, views=1)
    for k, prompt in enumerate(PROMPTS):
        rows = [{"choice": "DDIM's own", "inversion_scale": None, "t": t, "error": 1e-7} for t in (900, 300)]
        rows += [{"choice": "Random, resampled", "inversion_scale": None, "t": t, "error": 3.0 + k} for t in (900, 300)]
        for scale, error in ((-7.5, 1.0), (0.0, 9.0)):
            rows += [
                {"choice": "DDIM inversion", "inversion_scale": scale, "t": t, "error": error * t} for t in (900, 300)
            ]
        file = tmp_path / "eq8" / prompt.id / "0.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"rows": rows}))
    for log in tmp_path.glob("*/*/0"):
        if log.parts[-3] in labels:
            lines = [json.dumps({"step": s, "t": 900.0 - 300 * s, "eq8": 1.0 / (1 + s)}) for s in range(3)]
            (log / "log.jsonl").write_text("\n".join(lines))
    cells = [cell(level, views=1) for _ in PROMPTS for level in range(2)]
    table, figure = made(tmp_path, "kappa", labels, cells)
    assert curve(figure, "at x0(t)", "Random, resampled") == ([900, 300], [3.5, 3.5])
    assert curve(figure, "along each choice", "DDIM inversion") == ([300, 600, 900], [1 / 3, 1 / 2, 1])
    eq8 = table.set_index("label")["eq8"]
    assert eq8["Random, resampled"] == pytest.approx(3.5)
    assert eq8["DDIM inversion"] == pytest.approx((900 * 300) ** 0.5)  # the published CFG alone
    long = pd.read_csv(tmp_path / "kappa-eq8.csv")
    assert long.loc[long["choice"] == "Random, resampled", ["min", "max", "count"]].values.tolist() == [[3, 4, 2]] * 2


@pytest.mark.parametrize(("columns", "bands"), [(3, 1), (WRAP + 1, 1), (2 * WRAP, 2), (2 * WRAP + 1, 3)])
def test_wide_grids_go_on_below(columns, bands):
    cells = {(row, f"c{k}"): (torch.rand(8, 8, 3), "1") for row in ("a", "b") for k in range(columns)}
    figure = grid(cells)
    drawn = [axes for axes in figure.axes if axes.images]
    assert len(drawn) == 2 * columns
    assert len({round(axes.get_subplotspec().rowspan.start) for axes in drawn}) == 2 * bands


def test_a_job_without_pictures_says_so(tmp_path):
    labels = {"1-sds": "SDS", "2-more": "+ more"}
    rng = torch.Generator().manual_seed(0)
    write_job(tmp_path, "1-sds", PROMPTS[0], 0, ball(), scores=random_scores(rng))
    write_job(tmp_path, "2-more", PROMPTS[0], 0, None, status="non-finite", scores=random_scores(rng))
    files, table = ablations.write("proposed", tmp_path, labels, tmp_path)
    assert [file.name for file in files] == ["proposed.csv", "proposed.png"]
    assert table.groupby("block")["n"].sum().to_dict() == {"all": 2, "survivors": 1}
