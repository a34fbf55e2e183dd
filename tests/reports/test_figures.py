"""Figures: the right picture in the right place, legible whatever the prompt."""

import numpy as np
import pytest
import torch
from PIL import Image

from prompts import Prompt
from reports import figures, load
from scene.background import GREY
from tests.reports.synthetic import WORLD, ball, random_scores, write_job


@pytest.fixture
def run(tmp_path):
    rng = torch.Generator().manual_seed(0)
    for method in ("sdi", "sds"):
        write_job(tmp_path, method, WORLD[0], 0, ball(8), scores=random_scores(rng))
    write_job(tmp_path, "sdi", WORLD[1], 0, ball(8, hue=1), scores=random_scores(rng))
    write_job(tmp_path, "sds", WORLD[1], 0, None, "out-of-memory")
    return tmp_path


def tiles(page, k, r, side=128):
    """The four pictures of column group k and row r."""
    x = figures.LABEL + k * (4 * side + 3 * figures.GAP + figures.ROOM)
    y = figures.TOP + r * (side + figures.ROOM // 2)
    return [page[y : y + side, x + a * (side + figures.GAP) :][:, :side] for a in range(4)]


def enlarged(view):
    return (view * 255).round().byte().permute(1, 2, 0).numpy().repeat(4, 0).repeat(4, 1)


def test_comparison_holds_each_methods_views_and_the_truth_last(run):
    rgb, opacity = ball(8, hue=2)
    truth = lambda text: ((rgb - GREY * (1 - opacity))[None], opacity[None])  # noqa: E731
    path = figures.comparison(run, load(run), ["sds", "sdi"], truth)
    page = np.asarray(Image.open(path))
    assert path == run / "comparison.png"
    for a, v in enumerate((0, 2, 4, 6)):
        assert (tiles(page, 0, 0)[a] == enlarged(ball(8)[0][v])).all()
        assert (tiles(page, 1, 1)[a] == enlarged(ball(8, hue=1)[0][v])).all()
        assert np.abs(tiles(page, 2, 0)[a].astype(int) - enlarged(rgb[v])).max() <= 1
    failed = np.concatenate(tiles(page, 0, 1))
    assert (failed == figures.MISSING).all(-1).mean() > 0.8
    assert not list(run.glob("*.aside"))


def test_a_comparison_is_of_one_seed(run):
    write_job(run, "sdi", WORLD[0], 3, ball(8, hue=1), scores=random_scores(torch.Generator().manual_seed(0)))
    page = np.asarray(Image.open(figures.comparison(run, load(run), ["sdi"], seed="3")))
    assert (tiles(page, 0, 0)[0] == enlarged(ball(8, hue=1)[0][0])).all()
    page = np.asarray(Image.open(figures.comparison(run, load(run), ["sdi"])))
    assert (tiles(page, 0, 0)[0] == enlarged(ball(8)[0][0])).all()


def test_a_long_prompt_stays_in_its_column(tmp_path):
    text = "Supercalifragilisticexpialidocious " + "word " * 40
    write_job(tmp_path, "sdi", Prompt("01-x", text), 0, ball(8), scores=random_scores(torch.Generator().manual_seed(0)))
    page = np.asarray(Image.open(figures.comparison(tmp_path, load(tmp_path))))
    label = page[figures.TOP :, : figures.LABEL]
    assert (label < 128).any()
    assert (page[figures.TOP :, figures.LABEL - 8 : figures.LABEL] == 255).all()
    assert (page[figures.TOP + 128 :, : figures.LABEL] == 255).all()
    assert (tiles(page, 0, 0)[0] == enlarged(ball(8)[0][0])).all()


def test_contact_sheet_holds_every_view(run):
    path = figures.contact_sheet(run / "sdi" / WORLD[0].id / "0")
    page = np.asarray(Image.open(path))
    rgb = ball(8)[0]
    for v in range(8):
        at = (slice(44, 44 + 128), slice(6 + v * 134, 6 + v * 134 + 128))
        assert (page[at] == enlarged(rgb[v])).all()


def test_turntable_turns_once_and_for_ever(run):
    path = figures.turntable(run / "sdi" / WORLD[0].id / "0", seconds=4)
    with Image.open(path) as gif:
        assert gif.n_frames == 8
        assert gif.info["loop"] == 0
        assert gif.info["duration"] == 500
        gif.seek(2)
        third = np.asarray(gif.convert("RGB")).astype(int)
    wanted = (ball(8)[0][2] * 255).byte().permute(1, 2, 0).numpy().repeat(6, 0).repeat(6, 1)
    assert np.abs(third - wanted).mean() < 4


@pytest.mark.parametrize(("side", "shown"), [(32, 128), (64, 128), (100, 200), (128, 128), (512, 256)])
def test_small_views_are_repeated_and_large_ones_averaged(side, shown):
    assert figures._shown(side) == shown


@pytest.mark.parametrize(("width", "height"), [(1, 500), (500, 1), (40, 64)])
def test_views_of_any_shape_fit_into_their_squares(tmp_path, width, height):
    folder = tmp_path / "sdi" / WORLD[0].id / "0"
    folder.mkdir(parents=True)
    for k in range(4):
        Image.new("RGB", (width, height), (200, 0, 0)).save(folder / f"rgb_{k:03d}.png")
    gif, page = (Image.open(made(folder)) for made in (figures.turntable, figures.contact_sheet))
    assert max(gif.size) <= figures.MOST
    red = np.asarray(page.convert("RGB")).reshape(-1, 3) == (200, 0, 0)
    shown = np.asarray(figures._sized(np.full((height, width, 3), 9, np.uint8), figures._shown(max(width, height))))
    assert red.all(1).sum() == 4 * shown.shape[0] * shown.shape[1]  # none covers another
