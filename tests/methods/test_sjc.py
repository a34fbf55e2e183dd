"""SJC is SDS with w = 1, said otherwise."""

import pytest
import torch

from methods.sds import SDS
from methods.sjc import SJC
from tests.helpers import cameras_at, mixture, views_of, watched


@pytest.mark.parametrize("perp_neg", [False, True])
@pytest.mark.parametrize("scale", [1.0, 7.5, 100.0])
def test_equal_to_uniform_sds_under_shared_noise(scale, perp_neg):
    prior, text = mixture()
    y = torch.randn(3, *prior.latent_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cameras = cameras_at([10.0, 100.0, -170.0])
    sds = SDS(scale, (0.01, 0.97), "uniform", perp_neg).gradient(views_of(y, text, cameras), prior, None).latent
    sjc = SJC(scale, perp_neg=perp_neg).gradient(views_of(y, text, cameras), prior, None).latent
    assert (sjc - sds).abs().max() <= 1e-12 * sds.abs().max()


def test_without_variance_reduction_the_noise_is_not_subtracted():
    """(z - D) / s~ - (y - D) / s~ = n."""
    prior, text = mixture()
    y = torch.randn(2, *prior.latent_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    asked = watched(prior)
    with_n, without = (
        SJC(variance_reduction=v).gradient(views_of(y, text, seed=4), prior, None).latent for v in (False, True)
    )
    (x_t, t), (again, _) = ((x_t[:2], t[:2]) for x_t, t in asked)
    assert torch.equal(x_t, again)  # the same noise
    torch.testing.assert_close(with_n - without, prior.schedule.eps_of(x_t, y, t))
