"""The closed-form priors against their definition: eps is minus sigma times the score of the noised density."""

import pytest
import torch

from errors import UserError
from priors.analytic import ExactPrior, GaussianPrior, MixturePrior
from priors.text import condition, make_text
from tests.helpers import cameras_at, mixture


def score_eps(log_density, x_t, sigma):
    x_t = x_t.clone().requires_grad_()
    (grad,) = torch.autograd.grad(log_density(x_t).sum(), x_t)
    return -sigma.view(-1, 1, 1, 1) * grad


def test_mixture_is_the_score_of_its_density():
    prior, text = mixture()
    rng = torch.Generator().manual_seed(2)
    x_t = torch.randn(3, *prior.latent_shape, generator=rng, dtype=torch.float64)
    t = torch.tensor([50, 500, 950])
    a, sigma = prior.schedule.a(t), prior.schedule.sigma(t)
    weights = text.side[0, 0]

    def log_density(x):
        v = (a[:, None] * prior.stds) ** 2 + sigma[:, None] ** 2
        away = (x[:, None] - a.view(-1, 1, 1, 1, 1) * prior.means).flatten(2).square().sum(-1)
        return torch.logsumexp(weights.log() - away / (2 * v) - x[0].numel() / 2 * v.log(), 1)

    expected = score_eps(log_density, x_t, sigma)
    torch.testing.assert_close(prior.network(x_t, t, text.side.expand(3, -1, -1)), expected)


def test_a_mixture_of_one_is_the_gaussian():
    mu = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0)).double()
    prior = GaussianPrior(mu, 0.5)
    t, x_t = torch.tensor([500]), torch.full((1, 2, 3, 3), 0.4, dtype=torch.float64)
    a, sigma = prior.schedule.a(t), prior.schedule.sigma(t)
    expected = sigma * (x_t - a * mu) / (a**2 * 0.25 + sigma**2)
    torch.testing.assert_close(prior.eps(x_t, t, prior.embed(["anything"])), expected)


def test_text_picks_components():
    prior = MixturePrior(torch.zeros(2, 1, 2, 2), torch.ones(2), ["cat", "dog"])
    assert prior.embed(["cat, front view", "dog", ""]).squeeze(1).tolist() == [[1, 0], [0, 1], [1, 1]]
    with pytest.raises(UserError, match="turtle"):
        prior.embed(["turtle"])


def finite(h: float, view_words: str = "sectors"):
    rng = torch.Generator().manual_seed(5)
    latents = torch.randn(32, 2, 3, 3, generator=rng, dtype=torch.float64)
    labels, azimuth = torch.arange(32) % 2, (torch.arange(32) // 2) * 22.5 - 180.0
    prior = ExactPrior(
        latents, labels, azimuth.double(), ["a duck", "a mug"], lambda i, r: i, lambda x: x, 3, h, view_words
    )
    return prior, latents, labels, azimuth


@pytest.mark.parametrize("h", [0.0, 0.25])
def test_exact_prior_is_the_score_of_smoothed_points(h):
    prior, latents, labels, _ = finite(h)
    t = torch.tensor([300, 800])
    a, sigma = prior.schedule.a(t), prior.schedule.sigma(t)
    x_t = prior.schedule.noised(latents[:2], torch.ones_like(latents[:2]), t)
    ducks = latents[labels == 0]

    def log_density(x):
        v = (a * h) ** 2 + sigma**2
        away = (x[:, None] - a.view(-1, 1, 1, 1, 1) * ducks).flatten(2).square().sum(-1)
        return torch.logsumexp(-away / (2 * v[:, None]), 1)

    expected = score_eps(log_density, x_t, sigma)
    torch.testing.assert_close(prior.eps(x_t, t, prior.embed(["a duck"]).expand(2, -1, -1)), expected)


def test_view_words_select_by_azimuth():
    prior, latents, labels, azimuth = finite(0.0)
    far = torch.tensor([999])
    x_t = torch.zeros(1, 2, 3, 3, dtype=torch.float64)

    def posterior_mean(weights):
        a, sigma = prior.schedule.a(far), prior.schedule.sigma(far)
        log_p = weights.log() - (a**2 * latents.flatten(1).square().sum(1)) / (2 * sigma**2)
        return (log_p.softmax(0) @ latents.flatten(1)).view(1, 2, 3, 3)

    def denoised(embedding):
        return prior.schedule.x0_of(x_t, prior.eps(x_t, far, embedding), far)

    mug = (labels == 1).double()
    front = mug * (azimuth.abs() < 45)
    torch.testing.assert_close(
        denoised(prior.embed(["a mug, front view"])), posterior_mean(front), rtol=1e-6, atol=1e-6
    )
    hat = mug * (1 - (azimuth - 90).abs() / 45).clamp(min=0)
    torch.testing.assert_close(
        denoised(prior.embed(["a mug, seen from the left"])), posterior_mean(hat), rtol=1e-6, atol=1e-6
    )
    between = condition(make_text(prior, "a mug"), cameras_at([60.0]))
    hat45 = (1 - (azimuth - 45).abs() / 45).clamp(min=0)
    blend = mug * (2 / 3 * hat45 + 1 / 3 * (1 - (azimuth - 90).abs() / 45).clamp(min=0))
    torch.testing.assert_close(denoised(between), posterior_mean(blend), rtol=1e-6, atol=1e-6)


def test_at_little_noise_the_nearest_point_wins():
    prior, latents, _, _ = finite(0.0)
    t = torch.tensor([0])
    noisy = prior.schedule.noised(latents[6:7], torch.full_like(latents[:1], 0.1), t)
    denoised = prior.schedule.x0_of(noisy, prior.eps(noisy, t, prior.embed([""])), t)
    torch.testing.assert_close(denoised, latents[6:7])


def test_unknown_prompt_is_a_clear_error():
    with pytest.raises(UserError, match="a dragon"):
        finite(0.0)[0].embed(["a dragon, front view"])


def test_dtype_follows_x_t():
    prior, latents, _, _ = finite(0.1)
    for dtype in (torch.float16, torch.float32):
        assert prior.eps(latents[:1].to(dtype), torch.tensor([10]), prior.embed([""])).dtype == dtype
