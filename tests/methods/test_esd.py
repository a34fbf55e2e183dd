"""ESD against closed forms: how far the views of a Gaussian prior spread. s = .5, t = 500."""

from dataclasses import fields, replace

import pytest
import torch
from torch.overrides import TorchFunctionMode

from methods.esd import ESD
from methods.vsd import VSD
from priors.analytic import GaussianPrior
from priors.schedule import per_item
from tests.helpers import cameras_at, mixture, same_text, started, views_of

MU, S, T = 0.7, 0.5, (0.5, 0.5)


class NoNoise(TorchFunctionMode):
    """g is linear in eps where scores are: eps = 0 gives its mean."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        return torch.zeros_like(out) if func is torch.randn else out


class Exact:
    """Scores of views x: of all of them, as a Gaussian, where the camera is left out; of the view that it sees."""

    def __init__(self, prior, x):
        self.prior, self.x = prior, x

    def eps(self, x_t, t, text, camera):
        schedule = self.prior.schedule
        a, sigma = (per_item(c, x_t) for c in (schedule.a(t), schedule.sigma(t)))
        seen = schedule.eps_of(x_t, self.x.repeat(len(x_t) // len(self.x), 1, 1, 1), t)
        marginal = sigma * (x_t - a * self.x.mean()) / (a**2 * self.x.var(correction=0) + sigma**2)
        return torch.where(camera.flatten(1).any(1).view(-1, 1, 1, 1), seen, marginal)


def pull(entropy: float, mean: float, variance: float, n: int = 8) -> tuple[float, float]:
    """Mean of E[g] over views of a mean and a variance, and its slope along them."""
    prior = GaussianPrior(torch.full((1, 1, 1), MU, dtype=torch.float64), S)
    text = same_text(prior.embed([""]), prior.embed([""]))
    away = torch.linspace(-1, 1, n, dtype=torch.float64)
    away = away / away.std(correction=0)
    x = (mean + variance**0.5 * away).view(-1, 1, 1, 1)
    rule = ESD(scale=1.0, entropy=entropy, t_range=T)
    with NoNoise():
        g = rule.gradient(views_of(x, text, progress=0.1), prior, Exact(prior, x)).latent.flatten()
    return g.mean().item(), (g * away).mean().item() / variance**0.5


@pytest.mark.parametrize(("entropy", "variance"), [(1.0, 0.25), (0.95, 0.10656), (0.92, 0.02049)])
def test_views_spread_by_the_closed_form(entropy, variance):
    """They rest at max(0, lambda s^2 - (1 - lambda) s~^2), and are driven there from both sides."""
    low, high = 1e-6, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if pull(entropy, MU, middle)[1] < 0 else (low, middle)
    assert middle == pytest.approx(variance, abs=1e-5)
    assert pull(entropy, MU, variance / 2)[1] < 0 < pull(entropy, MU, variance * 2)[1]


@pytest.mark.parametrize("entropy", [0.0, 0.5, 0.9])
def test_with_less_entropy_all_views_become_one(entropy):
    assert all(pull(entropy, MU, variance)[1] > 0 for variance in (1e-4, 1e-2, 1.0))


@pytest.mark.parametrize("entropy", [0.0, 0.5, 0.95, 1.0])
def test_the_mean_of_the_views_goes_to_that_of_the_prior(entropy):
    below, at, above = (pull(entropy, mean, 0.2)[0] for mean in (MU - 1, MU, MU + 1))
    assert at == pytest.approx(0, abs=1e-12)
    assert below < 0 < above


def test_without_entropy_it_is_vsd():
    prior, text = mixture()
    x0 = torch.randn(3, *prior.latent_shape, generator=torch.Generator().manual_seed(4))
    cameras = cameras_at([10.0, 100.0, 200.0])
    esd, vsd = (
        rule.gradient(views_of(x0, text, cameras), prior, started(rule, prior)).latent
        for rule in (ESD(entropy=0.0), VSD())
    )
    assert torch.equal(esd, vsd)


def test_its_settings_are_vsds_and_one_more():
    assert [f.name for f in fields(ESD) if f.name != "entropy"] == [f.name for f in fields(VSD)]
    assert all(getattr(ESD(), f.name) == f.default for f in fields(VSD))


def test_the_mixture_is_linear_in_lambda_and_one_call():
    prior, text = mixture()
    x0 = torch.randn(2, *prior.latent_shape, generator=torch.Generator().manual_seed(4))
    state = started(ESD(), prior)
    g, calls = [], []
    for entropy in (0.0, 0.25, 1.0):
        before = prior.nfe
        g.append(ESD(entropy=entropy).gradient(views_of(x0, text), prior, state).latent)
        calls.append(prior.nfe - before)
    assert calls == [2, 2, 2]
    assert not torch.equal(g[0], g[2])
    torch.testing.assert_close(g[1], 0.75 * g[0] + 0.25 * g[2])


def test_it_trains_its_student_as_vsd_does():
    prior, text = mixture()
    x0 = torch.randn(2, *prior.latent_shape, generator=torch.Generator().manual_seed(4))
    settings = {"lr": 1e-2, "updates": 3, "samples": 2, "drop": 0.5}
    weights = []
    for rule in (replace(ESD(), **settings), replace(VSD(), **settings)):
        state = rule.start(prior)
        rule.learn(views_of(x0, text), prior, state)
        weights.append(torch.cat([p.detach().flatten() for p in state.parameters.values()]))
    assert torch.equal(*weights)
    assert weights[0].abs().max() > 0
