"""Measures against truth: exact on copies, signed as documented, equal to slow loops."""

import math

import pytest
import torch
import torch.nn.functional as F

from eval import truth
from tests.reports.synthetic import ball

V = 12


@pytest.fixture(scope="module")
def known():
    """A body with a beak: from no two sides the same."""
    return ball(V, 32, turn=0.0)


def measured(known, rgb=None, opacity=None):
    true = (x[None] for x in known)
    return truth.measure(known[0] if rgb is None else rgb, known[1] if opacity is None else opacity, *true)


def test_the_truth_itself_is_perfect(known):
    scores = measured(known)
    perfect = {"yaw": 0, "iou": 1, "sharpness": 1, "chroma": 1, "fog": 0, "psnr": 100, "psnr_paired": 100}
    for name, value in perfect.items():
        torch.testing.assert_close(scores[name], torch.full((V,), float(value)), msg=name)


@pytest.mark.parametrize("views", [1, 3, V - 2])
def test_a_turned_object_is_turned_back(known, views):
    turned = ball(V, 32, turn=360 / V * views)
    scores = measured(known, *turned)
    expected = (360 / V * views + 180) % 360 - 180
    torch.testing.assert_close(scores["yaw"], torch.full((V,), expected))
    assert scores["iou"].mean() > 0.999
    assert scores["psnr"].min() > 60
    assert scores["psnr_paired"].min() > 60


def test_a_ball_has_no_yaw():
    rgb, opacity = torch.full((V, 3, 8, 8), 0.5), torch.zeros(V, 1, 8, 8)
    opacity[:, :, 2:6, 2:6] = 1
    assert truth.measure(rgb, opacity, rgb[None], opacity[None])["yaw"].tolist() == [0.0] * V


def test_of_several_variants_most_views_choose_the_truth(known):
    other = (1 - known[0], known[1].roll(2, -1))
    true_rgb, true_opacity = (torch.stack(pair) for pair in zip(other, known, strict=True))
    mixed = torch.cat([other[0][:2], known[0][2:]]), torch.cat([other[1][:2], known[1][2:]])
    scores = truth.measure(*mixed, true_rgb, true_opacity)
    assert scores["agreement"].tolist() == [0.0] * 2 + [100.0] * (V - 2)
    assert scores["iou"].tolist() == measured(known, *mixed)["iou"].tolist()
    assert scores["psnr"].min() == 100
    assert "agreement" not in measured(known)


def test_a_front_on_all_sides_is_near_to_a_true_view_and_no_true_object(known):
    scores = measured(known, known[0][:1].expand(V, -1, -1, -1))
    assert scores["psnr"].tolist() == [100.0] * V
    assert scores["psnr_paired"][0] == 100
    assert scores["psnr_paired"].median() < 21  # the ball's back is its front


def test_the_paired_psnr_is_that_of_views_from_the_same_side(known):
    turned = ball(V, 32, turn=360 / V * 3)
    by_hand = [-10 * math.log10(float(F.mse_loss(turned[0][v], known[0][v - 3])) + 1e-10) for v in range(V)]
    assert measured(known, *turned)["psnr_paired"].tolist() == pytest.approx(by_hand, abs=1e-3)
    other = (1 - known[0], known[1].roll(2, -1))
    two = (torch.stack(pair) for pair in zip(other, known, strict=True))
    assert truth.measure(*known, *two)["psnr_paired"].min() == 100


def test_iou_by_hand(known):
    a, b = known[1] > 0.5, known[1].roll(3, -1) > 0.5
    matrix = truth.iou_matrix(a, b)
    for v, u in ((0, 0), (3, 7), (11, 2)):
        assert math.isclose(float(matrix[v, u]), float((a[v] & b[u]).sum() / (a[v] | b[u]).sum()), rel_tol=1e-6)
    assert truth.iou_matrix(a[:1] & False, b[:1] & False).item() == 0


def test_psnr_by_hand(known):
    rng = torch.Generator().manual_seed(0)
    noisy = (known[0] + 0.1 * torch.randn(known[0].shape, generator=rng)).clamp(0, 1)
    by_hand = [max(-10 * math.log10(float(F.mse_loss(x, y))) for y in known[0]) for x in noisy]
    torch.testing.assert_close(truth.psnr_matrix(noisy, known[0]).amax(1), torch.tensor(by_hand), atol=1e-3, rtol=0)


def test_blur_lowers_sharpness_and_noise_raises_it(known):
    blurred = F.avg_pool2d(known[0], 3, 1, 1, count_include_pad=False)
    rng = torch.Generator().manual_seed(0)
    noisy = known[0] + 0.05 * torch.randn(known[0].shape, generator=rng)
    assert measured(known, blurred)["sharpness"].max() < 0.7
    assert measured(known, noisy)["sharpness"].min() > 1.5


def test_chroma_is_cielabs():
    inside = torch.ones(1, 1, 2, 2, dtype=torch.bool)
    for rgb, expected in {(1.0, 0.0, 0.0): 104.55, (0.0, 0.0, 1.0): 133.81, (0.5, 0.5, 0.5): 0.0}.items():
        picture = torch.tensor(rgb).view(1, 3, 1, 1).expand(1, 3, 2, 2)
        assert truth.chroma(picture, inside).item() == pytest.approx(expected, abs=0.1)


def test_more_colour_raises_chroma(known):
    grey = known[0].mean(1, keepdim=True)
    scores = measured(known, (grey + 0.5 * (known[0] - grey)))
    assert scores["chroma"].max() < 0.75


def test_a_colourless_truth_has_no_chroma_ratio():
    rgb, opacity = torch.full((V, 3, 8, 8), 0.5), torch.ones(V, 1, 8, 8)
    assert truth.measure(rgb, opacity, rgb[None], opacity[None])["chroma"].isnan().all()


def test_fog_is_thin_opacity_and_a_swollen_solid_is_none(known):
    clear, solid = known[1] < 0.5, known[1] > 0.5
    foggy = known[1] + 0.2 * clear
    torch.testing.assert_close(measured(known, opacity=foggy)["fog"], torch.full((V,), 20.0))
    swollen = F.max_pool2d(solid.float(), 5, 1, 2)
    scores = measured(known, opacity=swollen)
    assert scores["fog"].max() == 0
    assert scores["iou"].max() < 0.9


def test_clipped_is_the_share_of_pixels_at_an_end(known):
    rgb = known[0].clone()
    inside = known[1][0, 0] > 0.5
    rows, columns = inside.nonzero().T
    half = len(rows) // 2
    rgb[0, 0, rows[:half], columns[:half]] = 1.0
    assert measured(known, rgb)["clipped"][0] == pytest.approx(100 * half / len(rows), abs=1e-3)


def test_an_empty_volume_has_numbers_where_they_mean_something(known):
    scores = measured(known, torch.full_like(known[0], 0.6), torch.zeros_like(known[1]))
    assert scores["iou"].tolist() == [0.0] * V
    assert scores["psnr"].isfinite().all()
    assert scores["chroma"].isnan().all()


def test_over_composites_premultiplied_pictures():
    rgb, opacity = torch.full((1, 3, 1, 1), 0.2), torch.full((1, 1, 1, 1), 0.5)
    torch.testing.assert_close(truth.over(rgb, opacity, 0.6), torch.full((1, 3, 1, 1), 0.5))
