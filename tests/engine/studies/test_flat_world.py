"""The 2D world: DDIM and SDI on a mixture of Gaussians, in double."""

from __future__ import annotations

import pytest
import torch

from engine.recipes.tables import recipe
from engine.studies import canvas
from engine.training import Training
from engine.views import evaluate
from methods.hifa import HiFA
from methods.sdi import SDI
from names import RECIPES
from priors.sampling import ddim, falling_grid
from tests.engine import jobs
from tests.helpers import cameras_at, mixture


def test_sdi_with_cached_kappa_is_ddim():
    """Eq. 6: at the end of the same grid, x is DDIM's last x0^, to rounding; with another kappa it is not."""
    prior, text = mixture()
    x_T = torch.randn(2, *prior.latent_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cameras, grid, sdi = cameras_at([20.0, 150.0]), falling_grid(prior, 20), SDI()
    *_, (last, goal, _) = ddim(prior, text, cameras, x_T, grid, sdi.scale, sdi.perp_neg)
    assert last == grid[-1]
    found = canvas.cached_kappa(sdi, prior, text, cameras, x_T, grid)
    torch.testing.assert_close(found, goal, rtol=0, atol=1e-10)
    assert not torch.allclose(canvas.cached_kappa(sdi, prior, text, cameras, -x_T, grid), goal, atol=1e-3)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_moves_to_a_canvas_with_its_rule(name):
    prior = jobs.prior()
    base = recipe("world", "controlled", name)
    made = canvas.on_canvas(base, prior, azimuth=90.0)
    assert made.name == name
    assert made.cameras.azimuth == (90.0, 90.0)
    assert made.regularisers == ()
    assert (made.scene.channels, made.scene.size, made.orbit.resolution) == (3, 8, 8)
    assert isinstance(base.method, HiFA) or made.method == base.method


def test_a_latent_canvas_starts_grey_and_finds_the_prior(monkeypatch):
    """Four channels: a latent, of which the first three are the picture."""
    from priors.analytic import MixturePrior

    class Latent(MixturePrior):
        def decode(self, latent):
            return super().decode(latent[:, :3])

    mean = torch.tensor([0.6, -0.8, -0.8, 0.0]).view(1, 4, 1, 1).expand(1, 4, 8, 8)
    prior = Latent(mean, torch.tensor([0.1]), [jobs.PROMPT.text])
    made = canvas.on_canvas(recipe("world", "controlled", "sds-anneal"), prior)
    assert made.scene.channels == 4
    training = Training(jobs.Job(made, jobs.PROMPT, 0), prior, "cpu")
    assert training.latent
    torch.testing.assert_close(evaluate(training).rgb, torch.full((1, 3, 8, 8), 0.5))
    for _ in range(made.steps):
        training.advance()
    assert canvas.psnr(evaluate(training).rgb, prior.decode(mean)) > 25


def test_psnr_is_its_closed_form():
    true = torch.full((2, 3, 4, 4), 0.5)
    assert canvas.psnr(true + 0.1, true) == pytest.approx(20.0, abs=1e-4)
    assert canvas.psnr(true, true) == pytest.approx(200.0)
