"""The ladder of diagnosis, with few steps, on the shipped prior."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from engine.prior import open_prior
from engine.studies import ladder
from suites.world import WORLD


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(ladder, "FIT", 4)
    monkeypatch.setattr(ladder, "CANVAS", 2)
    monkeypatch.setattr(ladder, "DDIM", 3)


def test_every_rung_has_pictures_and_the_truth(short):
    rungs = ladder.climb("A ripe strawberry", open_prior(str(WORLD.prior)), ["sds-anneal"])
    assert list(rungs) == [
        "field",
        "x0 at t = 0.98",
        "x0 at t = 0.7",
        "x0 at t = 0.4",
        "samples",
        "canvas, sds-anneal",
    ]
    assert all(image.shape == true.shape for image, true in rungs.values())
    assert ladder.psnr(*rungs["x0 at t = 0.4"]) > ladder.psnr(*rungs["x0 at t = 0.98"]) > 15


def test_the_figure_has_a_row_a_rung_under_its_psnr(tmp_path, monkeypatch):
    import matplotlib.pyplot as plt

    rng = torch.Generator().manual_seed(0)
    pairs = [torch.rand(2, n, 3, 8, 8, generator=rng) for n in (4, 2)]
    rungs = {"field": tuple(1.2 * pairs[0]), "canvas, sdi": tuple(pairs[1])}
    figures = []
    monkeypatch.setattr(plt, "close", figures.append)
    ladder.figure(rungs, "A ripe strawberry", tmp_path / "new" / "ladder.png")
    (figure,) = figures
    monkeypatch.undo()
    rows = np.array(figure.axes).reshape(2, 4)
    for row, (name, (image, true)) in zip(rows, rungs.items(), strict=True):
        assert row[0].get_title(loc="left") == f"{name}: {ladder.psnr(image, true):.1f} dB"
        shown = [place.images[0].get_array() for place in row if place.images]
        np.testing.assert_allclose(np.stack(shown), image.clamp(0, 1).permute(0, 2, 3, 1))
    again = io.BytesIO()
    figure.savefig(again, dpi=110)
    plt.close(figure)
    assert (np.asarray(Image.open(tmp_path / "new" / "ladder.png")) == np.asarray(Image.open(again))).all()


def test_psnr_is_its_closed_form():
    true = torch.full((2, 3, 4, 4), 0.5)
    assert ladder.psnr(true + 0.1, true) == pytest.approx(20.0, abs=1e-4)
