"""SDS against closed forms. Toy A: data N(.7, .5^2), a render at 2, t = 500."""

import pytest
import torch

from errors import UserError
from methods.sds import SDS
from priors.analytic import GaussianPrior, MixturePrior
from priors.base import Text
from tests.helpers import same_text, views_of, watched

AT_500 = (0.5, 0.5)


def line(sds: SDS, prior: MixturePrior, text: Text, x: float) -> tuple[float, float]:
    """g = intercept + slope eps is exact for a Gaussian: returns E[g], and its standard deviation |slope|."""
    x0, asked = torch.full((64, 1, 1, 1), x, dtype=torch.float64), watched(prior)
    g = sds.gradient(views_of(x0, text, seed=3), prior, None).latent.flatten()
    x_t, t = (rows[:64] for rows in asked[-1])  # the first of the branches of guidance
    eps = prior.schedule.eps_of(x_t, x0, t).flatten()
    assert t.unique().tolist() == [500]
    assert abs(eps.mean()) < 0.4  # N(0, 1): within three standard errors of 64 draws
    assert abs(eps.std() - 1) < 0.3
    slope, intercept = torch.linalg.lstsq(torch.stack([eps, torch.ones(64).double()], 1), g[:, None]).solution.flatten()
    torch.testing.assert_close(slope * eps + intercept, g)
    return intercept.item(), abs(slope.item())


def test_toy_a_mean_and_deviation():
    prior = GaussianPrior(torch.full((1, 1, 1), 0.7, dtype=torch.float64), 0.5)
    text = same_text(prior.embed([""]), prior.embed([""]))
    mean, std = line(SDS(scale=1.0, t_range=AT_500, weight="uniform"), prior, text, 2.0)
    assert mean == pytest.approx(0.73332, abs=1e-5)
    assert std == pytest.approx(0.08714, abs=1e-5)


@pytest.mark.parametrize("scale", [7.5, 101.0])
def test_cfg_fixed_point_of_equal_variances(scale):
    """E[g] = 0 at mu_u + s (mu_c - mu_u); a scale s of the other convention, s + 1 here, at mu_c + s (mu_c - mu_u)."""
    mu_u, mu_c = -0.3, 0.4
    means = torch.tensor([mu_u, mu_c], dtype=torch.float64).view(2, 1, 1, 1)
    prior = MixturePrior(means, torch.tensor([0.5, 0.5]), ["u", "c"])
    text = same_text(prior.embed(["u"]), prior.embed(["c"]))
    sds = SDS(scale=scale, t_range=AT_500)
    assert line(sds, prior, text, mu_u + scale * (mu_c - mu_u))[0] == pytest.approx(0, abs=1e-9)
    other = SDS(scale=scale + 1, t_range=AT_500)
    assert line(other, prior, text, mu_c + scale * (mu_c - mu_u))[0] == pytest.approx(0, abs=1e-9)


def test_weights_by_name():
    prior = GaussianPrior(torch.zeros(1, 1, 1), 0.5)
    text = same_text(prior.embed([""]), prior.embed([""]))

    def g(weight: str) -> torch.Tensor:
        return SDS(1.0, AT_500, weight).gradient(views_of(torch.ones(1, 1, 1, 1).double(), text), prior, None).latent

    abar = prior.schedule.at(torch.tensor([500]))
    torch.testing.assert_close(g("sds") / g("uniform"), (1 - abar).view(1, 1, 1, 1))
    torch.testing.assert_close(g("fantasia3d") / g("uniform"), (abar.sqrt() * (1 - abar)).view(1, 1, 1, 1))
    with pytest.raises(UserError, match="cubic"):
        SDS(weight="cubic")
