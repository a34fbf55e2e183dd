"""DDIM inversion along a grid of timesteps."""

import torch

from priors.analytic import GaussianPrior
from priors.inversion import invert

GRID = torch.tensor([[-99, 1, 101, 201, 301]])


def toy():
    prior = GaussianPrior(torch.full((1, 2, 2), 0.7, dtype=torch.float64), 0.5)
    text = prior.embed([""])
    x = torch.randn(1, 1, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return prior, lambda x_t, t: prior.eps(x_t, t, text.expand(len(x_t), -1, -1)), x


def test_gaussian_inversion_is_a_product_over_the_grid():
    """(x_T / a_T - mu) = (x / a_0 - mu) prod [1 + s~_c (s~_n - s~_c) / (s^2 + s~_c^2)]."""
    prior, eps, x = toy()
    x_T = invert(prior.schedule, eps, x, GRID, torch.Generator())
    s = prior.schedule.s(GRID[0])
    factor = (1 + s[:-1] * (s[1:] - s[:-1]) / (0.25 + s[:-1] ** 2)).prod()
    expected = 0.7 + (x / prior.schedule.a(GRID[0, :1]) - 0.7) * factor
    torch.testing.assert_close(x_T / prior.schedule.a(GRID[0, -1:]), expected, rtol=1e-10, atol=1e-10)


def test_inversion_is_undone_by_sampling_with_the_same_noises():
    prior, eps, x = toy()
    seen = []

    def remember(x_t, t):
        seen.append(eps(x_t, t))
        return seen[-1]

    back = invert(prior.schedule, remember, x, GRID, torch.Generator())
    for noise, now, to in zip(reversed(seen), GRID[0].flip(0)[:-1], GRID[0].flip(0)[1:], strict=True):
        back = prior.schedule.ddim_step(back, noise, now[None], to[None])
    torch.testing.assert_close(back, x, rtol=1e-10, atol=1e-10)


def test_repeated_timesteps_wait_for_the_longer_rows():
    prior, eps, x = toy()
    short = torch.tensor([[-99, 1, 101]])
    both = invert(
        prior.schedule,
        eps,
        x.repeat(2, 1, 1, 1),
        torch.tensor([[-99, 1, 101, 101], [-99, 1, 101, 400]]),
        torch.Generator(),
    )
    torch.testing.assert_close(both[:1], invert(prior.schedule, eps, x, short, torch.Generator()))


def test_eta_adds_noise_of_the_ddim_deviation_without_shrinking_the_direction():
    prior, eps, x = toy()
    grid = torch.tensor([[101, 201]])
    still = invert(prior.schedule, eps, x, grid, torch.Generator())
    moved = invert(prior.schedule, eps, x, grid, torch.Generator().manual_seed(4), eta=0.3)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(4), dtype=x.dtype)
    torch.testing.assert_close(moved - still, 0.3 * prior.schedule.ddim_std(grid[:, 0], grid[:, 1]) * noise)
