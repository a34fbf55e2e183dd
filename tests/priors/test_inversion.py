"""DDIM inversion along a grid of timesteps."""

import torch

from priors.analytic import GaussianPrior
from priors.inversion import descend, fixed_noise, fixed_point, invert

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


def solution(prior, x, t):
    """Of eq. 8 for N(.7, .5^2): kappa = sigma (x - mu) / (a s^2); and the share of its error that eps(x_t) keeps."""
    a, sigma = prior.schedule.a(t), prior.schedule.sigma(t)
    return sigma * (x - 0.7) / (a * 0.25), sigma**2 / (a**2 * 0.25 + sigma**2)


def test_fixed_point_iteration_keeps_a_share_of_the_error_each_time():
    prior, eps, x = toy()
    t, start = torch.tensor([300]), torch.ones_like(x)
    exact, share = solution(prior, x, t)
    found = fixed_point(prior.schedule, eps, x, start, t, steps=7)
    torch.testing.assert_close(found - exact, share**7 * (start - exact))


def test_descent_keeps_a_share_of_the_error_each_time():
    """The loss is (1 - share)^2 / 2 times the error's square."""
    prior, eps, x = toy()
    t, start = torch.tensor([300]), torch.ones_like(x)
    exact, share = solution(prior, x, t)
    with torch.no_grad():  # as rules are called
        found = descend(prior.schedule, eps, x, start, t, steps=7, rate=0.3)
    torch.testing.assert_close(found - exact, (1 - 0.3 * (1 - share) ** 2) ** 7 * (start - exact))
    assert not found.requires_grad


def test_fixed_noise_is_one_normal_picture():
    first, again = (fixed_noise(torch.zeros(n, 3, 50, 50, dtype=torch.float32)) for n in (2, 1))
    assert torch.equal(first[0], first[1])
    assert torch.equal(first[:1], again)
    assert abs(first.mean()) < 0.05
    assert abs(first.std() - 1) < 0.05
