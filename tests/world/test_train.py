"""Training: resumable to the bit, distortions that distort, captions that say where from; and the shipped models."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from priors.text import COARSE, SECTORS, view_index
from scene.cameras import look_at
from world import captions, models
from world.dataset import over_grey
from world.train import distort, run


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "CACHE", tmp_path)
    return tmp_path


def trained(steps: int, stop_at: int | None = None) -> run.Training:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    training = run.Training("line", model, seed=1, steps=steps, peak=1e-2)

    def loss_of(rng: torch.Generator):
        if training.step == stop_at:
            raise KeyboardInterrupt
        x = torch.randn(8, 3, generator=rng)
        return (model(x) - x[:, :2]).square().mean(), {}

    training.run(loss_of)
    return training


def test_a_stopped_training_goes_on_to_the_same_weights(cache):
    whole = trained(60).averaged().state_dict()
    for file in (cache / "train/line").iterdir():
        file.unlink()
    with pytest.raises(KeyboardInterrupt):
        trained(60, stop_at=37)
    again = trained(60)
    assert again.step == 60
    assert all(torch.equal(v, whole[k]) for k, v in again.averaged().state_dict().items())
    steps = [int(row.split(",")[0]) for row in (cache / "train/line/curve.csv").read_text().splitlines()[1:]]
    assert steps == [20, 40, 60]


def test_the_rate_rises_holds_and_falls():
    rates = [run.rate(k, 1000, 1.0) for k in range(1000)]
    assert rates[0] == pytest.approx(1 / 200)
    assert rates[200:600] == [1.0] * 400
    assert all(a >= b for a, b in itertools.pairwise(rates[600:]))
    assert rates[-1] == pytest.approx(0.01)


@pytest.mark.parametrize("way", distort.DISTORTIONS, ids=lambda f: f.__name__)
def test_a_distortion_changes_pictures_within_their_range(way):
    rng = torch.Generator().manual_seed(0)
    clean = torch.zeros(4, 4, 64, 64)
    clean[:, 3, 16:48, 16:48] = 1
    clean[:, :3, 16:48, 16:48] = torch.rand(4, 3, 1, 1, generator=rng)
    bad = way(clean.clone(), rng)
    assert bad.shape == clean.shape
    assert ((bad >= -1e-4) & (bad <= 1 + 1e-4)).all()
    assert (bad[:, :3] <= bad[:, 3:] + 1e-3).all()
    assert (bad - clean).abs().mean() > 0.01


def test_captions_name_the_sectors_between_which_a_camera_stands():
    rng = torch.Generator().manual_seed(0)
    view = int(view_index(look_at(15.0, 100.0, 2.0, 40.0)))
    made = [captions.caption("A shell", 100.0, view, rng) for _ in range(4000)]
    empty = [c for c in made if c[0] == ""]
    assert len(empty) / len(made) == pytest.approx(captions.EMPTY, abs=0.02)
    fine = [c for c in made if c[0].endswith(SECTORS[2])]
    assert all(c[1].endswith(SECTORS[3]) and c[2] == pytest.approx(10 / 45) for c in fine)
    assert len(fine) > 2000
    assert sum(c[0].endswith(COARSE["side"]) for c in made) / len(made) == pytest.approx(
        captions.COARSE_SHARE, abs=0.03
    )


def test_the_tokenizer_reads_any_text():
    words = models.tokenizer(captions.every_caption(["A ripe strawberry"]))
    assert len(words("A ripe strawberry, seen from the front left").input_ids) < 16
    assert words.decode(words("Zebra 42!").input_ids, skip_special_tokens=True).split() == ["zebra", "4", "2", "!"]


def test_pictures_lie_over_greys():
    rgba = torch.zeros(3, 4, 8, 8, dtype=torch.uint8)
    image = over_grey(rgba, torch.Generator().manual_seed(0))
    assert ((image > 0.3) & (image < 0.9)).all()
    assert (image.amax(1) - image.amin(1)).max() < 0.07
