"""The schedule's published numbers and the identities between x0, x_t, eps and v."""

import pytest
import torch

from priors.schedule import Schedule, randn_like

T20, T250, T500, T980 = 20, 250, 500, 980


def test_stable_diffusion_noise_levels():
    s = Schedule.scaled_linear().s(torch.tensor([T20, T250, T500, T980]))
    torch.testing.assert_close(s, torch.tensor([0.138, 0.696, 1.618, 13.04], dtype=torch.float64), atol=5e-3, rtol=1e-3)


def test_abar_is_the_cumulative_product_of_one_minus_beta():
    betas = torch.tensor([0.1, 0.2, 0.5])
    expected = torch.tensor([0.9, 0.9 * 0.8, 0.9 * 0.8 * 0.5], dtype=torch.float64)
    torch.testing.assert_close(Schedule.from_betas(betas).abar, expected, rtol=1e-7, atol=0)


def test_negative_timesteps_stand_at_zero():
    schedule = Schedule.scaled_linear()
    assert schedule.a(torch.tensor([-99])) == schedule.a(torch.tensor([0])) < 1


@pytest.fixture
def images():
    rng = torch.Generator().manual_seed(0)
    x0, eps = (torch.randn(3, 2, 4, 4, generator=rng, dtype=torch.float64) for _ in range(2))
    return Schedule.scaled_linear(), x0, eps, torch.tensor([1, 400, 999])


def test_noising_is_undone_by_either_half(images):
    schedule, x0, eps, t = images
    x_t = schedule.noised(x0, eps, t)
    torch.testing.assert_close(schedule.x0_of(x_t, eps, t), x0)
    torch.testing.assert_close(schedule.eps_of(x_t, x0, t), eps)


def test_v_prediction_becomes_eps(images):
    schedule, x0, eps, t = images
    a, sigma = (c.view(-1, 1, 1, 1) for c in (schedule.a(t), schedule.sigma(t)))
    v = a * eps - sigma * x0
    torch.testing.assert_close(schedule.eps_of_v(schedule.noised(x0, eps, t), v, t), eps)


def test_ddim_step_moves_along_the_noise_it_is_given(images):
    schedule, x0, eps, t = images
    to = torch.tensor([300, 20, 0])
    there = schedule.ddim_step(schedule.noised(x0, eps, t), eps, t, to)
    torch.testing.assert_close(there, schedule.noised(x0, eps, to))


def test_ddim_std_is_the_posterior_of_two_noisings():
    """x_n = r x_c + N(0, 1 - r^2), r^2 = abar_n / abar_c: given x_0, var(x_c | x_n, x_0) by Bayes."""
    schedule = Schedule.scaled_linear()
    now, later = torch.tensor([101]), torch.tensor([201])
    r2 = schedule.at(later) / schedule.at(now)
    prior_var, noise_var = 1 - schedule.at(now), 1 - r2
    posterior = 1 / (1 / prior_var + r2 / noise_var)
    torch.testing.assert_close(schedule.ddim_std(now, later) ** 2, posterior)
    assert schedule.ddim_std(now, now) == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_follows_the_images(dtype):
    schedule, t = Schedule.scaled_linear(), torch.tensor([3, 700])
    x = torch.ones(2, 1, 2, 2, dtype=dtype)
    assert (
        schedule.noised(x, x, t).dtype == schedule.x0_of(x, x, t).dtype == schedule.ddim_step(x, x, t, t).dtype == dtype
    )
    noise = randn_like(x, torch.Generator().manual_seed(0))
    assert noise.dtype == dtype
    assert noise.shape == x.shape
