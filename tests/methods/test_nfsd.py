"""NFSD on Gaussians of equal variance, where every difference of two predictions is free of noise."""

import pytest
import torch

from methods.nfsd import NFSD
from priors.analytic import MixturePrior
from priors.base import Text
from tests.helpers import views_of

MU = {"c": 0.4, "n": -0.3, "0": 0.1}
S = 0.5


def toy() -> tuple[MixturePrior, Text]:
    means = torch.tensor(list(MU.values()), dtype=torch.float64).view(3, 1, 1, 1)
    prior = MixturePrior(means, torch.full((3,), S), list(MU))
    cond, negative, empty = prior.embed(["c", "n", "0"]).split(1)
    return prior, Text(negative, cond, cond, cond, cond, cond, null=empty)


def pulled(x: float, low: float, high: float, scale: float = 7.5) -> tuple[torch.Tensor, MixturePrior]:
    prior, text = toy()
    views = views_of(torch.full((50, 1, 1, 1), x, dtype=torch.float64), text)
    return NFSD(scale, (low, high)).gradient(views, prior, None).latent.flatten(), prior


@pytest.mark.parametrize("t", [200, 500, 980])
@pytest.mark.parametrize("x", [-1.0, 2.0])
def test_drift_without_noise(t, x):
    """g = w (sigma a / v) [(mu_n - mu_0) - s (mu_c - mu_0)], whatever x and the noise are."""
    g, prior = pulled(x, (t + 0.5) / 1000, (t + 0.5) / 1000)
    a, sigma = (f(torch.tensor([t])).item() for f in (prior.schedule.a, prior.schedule.sigma))
    drift = (MU["n"] - MU["0"]) - 7.5 * (MU["c"] - MU["0"])
    expected = sigma**2 * sigma * a / (a**2 * S**2 + sigma**2) * drift
    torch.testing.assert_close(g, torch.full_like(g, expected))


def test_early_the_empty_prompt_itself_is_followed():
    """t < 200: delta_D = eps^(empty), noisy, and the negative prompt plays no part."""
    prior, text = toy()
    x = torch.full((50, 1, 1, 1), 2.0, dtype=torch.float64)
    g = NFSD(0.0, (0.1995, 0.1995)).gradient(views_of(x, text, seed=3), prior, None).latent
    rng = torch.Generator().manual_seed(3)
    t = torch.randint(199, 200, (50,), generator=rng)
    x_t = prior.schedule.noised(x, torch.randn(x.shape, generator=rng, dtype=torch.float64), t)
    w = (1 - prior.schedule.at(t)).view(-1, 1, 1, 1)
    torch.testing.assert_close(g, w * prior.eps(x_t, t, text.empty.expand(50, -1, -1)))
    assert g.std() > 0.001


def test_both_sides_of_the_border_in_one_batch():
    late, _ = pulled(2.0, 0.2, 0.9, scale=0.0)
    mixed, _ = pulled(2.0, 0.15, 0.25, scale=0.0)
    assert (late < 0).all()  # (mu_n - mu_0) < 0
    assert (mixed < 0).any()
    assert (mixed > 0).any()
