"""Tables and figures of ablations, from synthetic runs."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from rich.console import Console

from reports import ablations
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


def made(run, name, labels, clip="unused"):
    files, table = ablations.write(name, run, labels, clip)
    assert files[0].name == f"{name}.csv"
    assert all(file.stat().st_size > 0 for file in files)
    image = np.asarray(Image.open(run / f"{name}.png").convert("RGB"))
    assert image.std() > 10
    assert list(pd.read_csv(run / f"{name}.csv", dtype={"label": str})["label"]) == list(labels.values())
    with Console(quiet=True).capture():
        ablations.show(table, Console())
    return table, image


def test_inversion_steps_stand_beside_the_published(tmp_path):
    labels = {f"steps{n:02d}": f"{n}" for n in (3, 5, 10, 20, 30)}
    synthetic(tmp_path, labels)
    (tmp_path / "cost.json").write_text(json.dumps({m: 60.0 * int(n) for m, n in labels.items()}))
    table, _ = made(tmp_path, "inversion-steps", labels)
    assert table["alone_min"].tolist() == [3, 5, 10, 20, 30]
    assert table["iqa_quality_mean"].between(70, 95).all()


def test_inversion_cfg_is_a_grid(tmp_path):
    labels = {f"i{i}-f{f}": f"inversion {i}, forward {f}" for i in (-7.5, 0, 7.5) for f in (1, 7.5)}
    synthetic(tmp_path, labels)
    _, image = made(tmp_path, "inversion-cfg", labels)
    assert image.shape[0] > image.shape[1]  # six rows, a prompt and a CFG each, of two columns


def test_diversity_is_the_distance_between_seeds(tmp_path):
    """Turned balls lie apart; the same ball again does not. One seed has no distance."""
    clip = write_clip(tmp_path / "clip")
    run, rng = tmp_path / "run", torch.Generator().manual_seed(0)
    for seed in (0, 1, 2):
        write_job(run, "turned", PROMPTS[0], seed, ball(turn=60.0 * seed), scores=random_scores(rng))
        write_job(run, "same", PROMPTS[0], seed, ball(), scores=random_scores(rng))
    write_job(run, "single", PROMPTS[0], 0, ball(), scores=random_scores(rng))
    table, _ = made(run, "diversity", {m: m for m in ("turned", "same", "single")}, clip)
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
    table, _ = made(tmp_path, "canvas", labels)
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
    table, _ = made(tmp_path, "kappa", labels)
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
