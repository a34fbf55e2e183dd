"""ISM against the closed form of the exact ODE. Toy A: data N(.7, .5^2), a render at 2."""

from dataclasses import replace

import pytest
import torch

from methods.ism import ISM
from priors.analytic import GaussianPrior
from priors.schedule import Schedule, per_item
from tests.helpers import cameras_at, mixture, same_text, views_of

MU, S, X = 0.7, 0.5, 2.0
AT_501 = ISM(scale=1.0, t_range=(0.5, 0.501), delta=(0.1, 0.05))


class Exact(Schedule):
    """Steps along the exact solution of the ODE: x_t / a - mu grows as sqrt(s^2 + s~_t^2)."""

    def ddim_step(self, x_t, eps, t, to):
        grown = ((S**2 + self.s(to) ** 2) / (S**2 + self.s(t) ** 2)).sqrt()
        y = MU + (x_t / per_item(self.a(t), x_t) - MU) * per_item(grown, x_t)
        return y * per_item(self.a(to), x_t)


class OnTheSolution(torch.overrides.TorchFunctionMode):
    """The one noise with which a x + sigma eps at timestep 1 lies on the solution through x."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func is not torch.randn:
            return out
        s = Schedule.scaled_linear().s(torch.tensor([1])).item()
        return torch.full_like(out, (X - MU) * ((1 + (s / S) ** 2) ** 0.5 - 1) / s)


def interval(ism: ISM) -> float:
    """g / (lambda s~_t) on the exact ODE, at progress 1."""
    prior = GaussianPrior(torch.full((1, 1, 1), MU, dtype=torch.float64), S)
    prior.schedule = Exact(prior.schedule.abar)
    text = same_text(prior.embed([""]), prior.embed([""]))
    views = views_of(torch.full((1, 1, 1, 1), X, dtype=torch.float64), text, progress=1.0)
    with OnTheSolution():
        g = ism.gradient(views, prior, None).latent.item()
    return g / (0.1 * prior.schedule.s(torch.tensor([501])).item())


def test_exact_ode():
    """((x - mu) / s) [r_t / sqrt(1 + r_t^2) - r_s / sqrt(1 + r_s^2)], r = s~ / s, t = 501, s = 451."""
    r_s, r_t = (Schedule.scaled_linear().s(torch.tensor([451, 501])) / S).tolist()
    expected = (X - MU) / S * (r_t / (1 + r_t**2) ** 0.5 - r_s / (1 + r_s**2) ** 0.5)
    assert expected == pytest.approx(0.041145, abs=1e-6)
    assert interval(AT_501) == pytest.approx(expected, rel=1e-9)


def test_vanishes_with_the_interval():
    assert interval(replace(AT_501, delta=(0.0, 0.0))) == pytest.approx(0, abs=1e-12)
    ten, one = (interval(replace(AT_501, delta=(d, d))) for d in (0.01, 0.001))
    assert ten / one == pytest.approx(10, rel=0.05)


def visited(ism: ISM, progress: float, seed: int = 0) -> tuple[list[int], int]:
    """The timesteps of the inversion, and t."""
    prior, text = mixture()
    seen: list[torch.Tensor] = []
    network = prior.network
    prior.network = lambda x, t, y: (seen.append(t), network(x, t, y))[1]
    x0 = torch.zeros(2, *prior.latent_shape, dtype=torch.float64)
    views = views_of(x0, text, cameras_at([0.0, 90.0]), progress=progress, seed=seed)
    out = ism.gradient(views, prior, None)
    assert all((t == t[0]).all() for t in seen)  # one t for the batch
    assert seen[-1][0] == out.log["t"]
    return [int(t[0]) for t in seen[:-1]], int(seen[-1][0])


@pytest.mark.parametrize(("progress", "interval_of", "latest"), [(0.0, 100, 979), (0.15, 75, 739), (0.3, 50, 499)])
def test_times_and_intervals_of_the_official_code(progress, interval_of, latest):
    """index ~ U{20, ..., 499 + 480 w}, s = t - delta, steps of 200 from timestep 1."""
    found = [visited(ISM(), progress, seed) for seed in range(60)]
    for before, t in found:
        assert 20 <= t - 1 <= latest
        s = max(t - interval_of, 1)
        assert before == [*range(1, s, 200), s]
    assert max(t for _, t in found) > latest - 100


def test_a_long_way_is_cut_to_its_last_steps():
    assert visited(ISM(t_range=(0.7, 0.701), delta=(0.05, 0.05), steps=2), 1.0)[0] == [251, 451, 651]


def test_the_inversion_reads_the_empty_prompt_and_the_guidance_the_negative_one():
    prior, text = mixture()
    x0 = torch.randn(1, *prior.latent_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def g(ism: ISM, text=text) -> torch.Tensor:
        return ism.gradient(views_of(x0, text), prior, None).latent

    unguided = ISM(scale=1.0)  # reads the view's prompt alone
    assert torch.equal(g(unguided), g(unguided, replace(text, uncond=text.plain)))
    assert not torch.equal(g(unguided), g(unguided, replace(text, null=text.plain)))
    assert not torch.equal(g(ISM()), g(ISM(), replace(text, uncond=text.plain)))


@pytest.mark.parametrize(("progress", "t"), [(0.0, 999), (0.5, 600), (1.0, 200)])
def test_annealed_time_falls_linearly(progress, t):
    """The ablation of SDI's fig. 14: t as in SDI, 1 to .2, whatever is drawn."""
    prior, text = mixture()
    ism = ISM(anneal=True, t_max_early=1.0, t_range=(0.2, 1.0))
    x0 = torch.zeros(1, *prior.latent_shape, dtype=torch.float64)
    logs = [ism.gradient(views_of(x0, text, progress=progress, seed=seed), prior, None).log for seed in (0, 1)]
    assert [log["t"] for log in logs] == [t, t]
