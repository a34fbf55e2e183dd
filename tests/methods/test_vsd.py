"""VSD against closed forms, and what it does with its student."""

from dataclasses import fields, replace

import pytest
import torch

from methods.sds import SDS
from methods.vsd import VSD
from priors import stable_diffusion
from priors.analytic import GaussianPrior
from priors.base import Prior
from priors.student import AffineStudent
from priors.text import make_text
from tests.helpers import cameras_at, mixture, same_text, started, views_of
from tests.tiny import PROMPT, write_prior

KINDS = ["epsilon", "v_prediction", "gaussian", "mixture"]
TIMES = [(0.02, 0.02), (0.5, 0.5), (0.98, 0.98), (0.02, 0.98)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_prior(tmp_path_factory.mktemp("v"), "v_prediction")


@pytest.fixture(scope="module")
def priors(tmp_path_factory, folder):
    return {
        "epsilon": stable_diffusion.load(write_prior(tmp_path_factory.mktemp("eps"))),
        "v_prediction": stable_diffusion.load(folder),
        "gaussian": GaussianPrior(torch.full((3, 4, 4), 0.7), 0.5),
        "mixture": mixture()[0],
    }


def one_text(prior: Prior):
    empty, prompt = prior.embed([""]), prior.embed([PROMPT if hasattr(prior, "unet") else ""])
    return same_text(empty, prompt)


def latents(prior: Prior, n: int = 2) -> torch.Tensor:
    return torch.randn(n, *prior.latent_shape, generator=torch.Generator().manual_seed(4))


class Oracle:
    """phi of a single particle x: what noised it."""

    def __init__(self, prior: Prior, x: torch.Tensor):
        self.prior, self.x, self.t = prior, x, torch.zeros(0)

    def eps(self, x_t, t, text, camera):
        self.t = t
        return self.prior.schedule.eps_of(x_t, self.x, t)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("t_range", TIMES)
def test_nothing_pulls_while_phi_is_the_prior_and_cfg_is_1(kind, t_range, priors):
    """g = 0 for every x_t."""
    prior = priors[kind]
    rule = VSD(scale=1.0, t_range=t_range)
    views = views_of(latents(prior), one_text(prior), cameras_at([0.0, 90.0]), progress=0.1)
    assert rule.gradient(views, prior, rule.start(prior)).latent.abs().max() == 0
    assert rule.gradient(views, prior, started(rule, prior)).latent.abs().max() > 1e-3


@pytest.mark.parametrize("perp_neg", [False, True])
def test_with_one_particle_and_its_score_it_is_sds(perp_neg):
    prior, text = mixture()
    x0 = latents(prior).double()
    views = [views_of(x0, text, cameras_at([10.0, 200.0]), progress=0.1, seed=2) for _ in range(2)]
    vsd = VSD(perp_neg=perp_neg).gradient(views[0], prior, Oracle(prior, x0)).latent
    sds = SDS(scale=7.5, perp_neg=perp_neg).gradient(views[1], prior, None).latent
    torch.testing.assert_close(vsd, sds, rtol=0, atol=1e-12 * sds.abs().max().item())


def test_the_latest_time_falls_in_one_step_after_a_fifth_of_the_job():
    """5,000 of 25,000 steps: t in {20..980} before, {20..500} from there on."""
    prior, text = mixture()
    x0, latest = latents(prior, 400), []
    for progress in (0.0, 0.1999, 0.2, 1.0):
        oracle = Oracle(prior, x0)
        VSD().gradient(views_of(x0, text, progress=progress), prior, oracle)
        assert oracle.t.min() >= 20
        latest.append(oracle.t.max().item())
    assert all(950 < t <= 980 for t in latest[:2])
    assert all(470 < t <= 500 for t in latest[2:])


def test_calls_of_both_networks_and_of_learning_are_counted():
    prior, text = mixture()
    x0, rule = latents(prior, 3), VSD(updates=4, samples=2)
    state, views = rule.start(prior), views_of(latents(prior, 3), text)
    rule.gradient(views, prior, state)
    assert (prior.nfe, prior.rows) == (2, 2 * len(x0) + len(x0))
    rule.learn(views, prior, state)
    assert (prior.nfe, prior.rows) == (2 + 4, 9 + 4 * 2 * 3)


OTHER = {
    "scale": 3.0, "perp_neg": True, "t_range": (0.1, 0.6), "late_from": 0.6, "late_max": 0.3, "rank": 2,
    "lr": 1e-2, "updates": 2, "samples": 3, "drop": 1.0, "adapt": "everywhere",
}  # fmt: skip


@pytest.mark.parametrize("field", [f.name for f in fields(VSD)])
def test_every_field_is_read(field, priors, folder):
    """A step's gradient after a step's learning."""
    prior = priors["epsilon"]

    def outcome(rule: VSD) -> torch.Tensor:
        state = started(rule, prior)
        views = views_of(latents(prior), make_text(prior, PROMPT), cameras_at([10.0, 200.0]))
        rule.learn(views, prior, state)
        return rule.gradient(views, prior, state).latent

    other = {**OTHER, "phi": str(folder)}[field]
    assert not torch.equal(outcome(VSD()), outcome(replace(VSD(), **{field: other})))


@pytest.mark.parametrize("kind", KINDS[1:])
def test_phi_learns_what_the_prior_does_not_know(kind, priors):
    """On two views that stay, phi's loss falls at least 10 % below the frozen network's on the same noise; and the
    frozen network is what it was."""
    prior = priors[kind]
    rule = VSD(lr=1e-2, updates=25)
    text, x0 = one_text(prior), 0.3 * latents(prior) + 1
    probe = torch.full((2,), 300)
    before = prior.network(x0, probe, text.plain.expand(2, -1, -1))
    state, views = rule.start(prior), views_of(x0, text, cameras_at([0.0, 120.0]))
    first = rule.learn(views, prior, state)
    last = rule.learn(views, prior, state)
    assert last["phi_over_frozen"] < min(0.9, first["phi_over_frozen"])
    assert torch.equal(before, prior.network(x0, probe, text.plain.expand(2, -1, -1)))


def test_the_text_of_phi_has_no_view_words():
    prior, text = mixture()
    heard = []

    class Ear(AffineStudent):
        def predict(self, x_t, t, text, camera):
            heard.append(text)
            return super().predict(x_t, t, text, camera)

    state, views = Ear(prior), views_of(latents(prior), text, cameras_at([10.0, 200.0]))
    VSD().gradient(views, prior, state)
    VSD().learn(views, prior, state)
    assert len(heard) == 2
    assert all(torch.equal(y, text.plain.expand(2, -1, -1)) for y in heard)
