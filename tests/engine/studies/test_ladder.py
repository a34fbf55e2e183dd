"""The ladder of diagnosis, with few steps, on the shipped prior."""

from __future__ import annotations

import pytest

from engine.prior import WORLD, open_prior
from engine.studies import ladder


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(ladder, "FIT", 4)
    monkeypatch.setattr(ladder, "CANVAS", 2)
    monkeypatch.setattr(ladder, "DDIM", 3)


def test_every_rung_has_pictures_and_the_truth(short, tmp_path):
    rungs = ladder.climb("A ripe strawberry", open_prior(str(WORLD)), ["sds-anneal"])
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
    ladder.figure(rungs, "A ripe strawberry", tmp_path / "ladder.png")
    assert (tmp_path / "ladder.png").stat().st_size > 5000


def test_psnr_is_its_closed_form():
    import torch

    true = torch.full((2, 3, 4, 4), 0.5)
    assert ladder.psnr(true + 0.1, true) == pytest.approx(20.0, abs=1e-4)
