"""DDIM against its closed form."""

import torch

from priors.sampling import ddim, falling_grid
from priors.text import make_text
from tests.engine import jobs
from tests.helpers import cameras_at, mixture


def test_ddim_samples_a_gaussian_exactly_in_the_limit():
    """x0^ -> mu + (x_T / a_T - mu) / sqrt(1 + r^2) for N(mu, s^2), r = s~_T / s."""
    prior = jobs.prior()
    text, schedule = make_text(prior, jobs.PROMPT.text), prior.schedule
    x_T, mu, s = torch.full((1, 3, 8, 8), 1.5, dtype=torch.float64), prior.means, 0.3
    *_, (_, x0, _) = ddim(prior, text, cameras_at([0.0]), x_T, falling_grid(prior, 999), 1.0)
    r = (schedule.s(torch.tensor([999])) / s).item()
    expected = mu + (x_T / schedule.a(torch.tensor([999])).item() - mu) / (1 + r**2) ** 0.5
    torch.testing.assert_close(x0, expected, rtol=0, atol=0.02)


def test_the_grid_falls_from_the_last_timestep_to_a_step_above_zero():
    prior, _ = mixture()
    assert falling_grid(prior, 4).tolist() == [999, 749, 500, 250]
