"""SDI against closed forms. Toy A: data N(.7, .5^2), a render at 2, t = 500."""

from itertools import pairwise

import pytest
import torch

from errors import UserError
from methods import timesteps
from methods.sdi import SDI, even_grid
from methods.sdi_kappas import SDIKappa
from methods.sdi_official import SDIOfficial, leading_grid
from methods.target import target
from priors.analytic import GaussianPrior
from priors.guidance import guided_eps
from priors.schedule import Schedule
from tests.helpers import cameras_at, mixture, same_text, views_of

MU, S, X = 0.7, 0.5, 2.0
PLAIN = {"scale": 1.0, "inversion_scale": 1.0, "perp_neg": False, "eta": 0.0, "tau": 0.0}
BARE = {"scale": 1.0, "perp_neg": False}


def goal(sdi: SDI | SDIOfficial, schedule: Schedule | None = None, progress: float = 0.0) -> float:
    prior = GaussianPrior(torch.full((1, 1, 1), MU, dtype=torch.float64), S, schedule)
    text = same_text(prior.embed([""]), prior.embed([""]))
    x = torch.full((1, 1, 1, 1), X, dtype=torch.float64)
    return (x - sdi.gradient(views_of(x, text, progress=progress), prior, None).latent).item()


def test_first_order_convergence_to_the_exact_ode():
    """x0^ -> mu + (x - mu) / sqrt(1 + r^2), r = s~_t / s: 1.08376, on a schedule whose s~ rises evenly from 0 to
    that of t = 500. Halving the step halves the error."""
    end = Schedule.scaled_linear().s(torch.tensor([500])).item()
    limit = MU + (X - MU) / (1 + (end / S) ** 2) ** 0.5
    assert limit == pytest.approx(1.08376, abs=1e-5)
    errors = []
    for n in (50, 100, 200, 400):
        s = torch.linspace(0, end, n + 1, dtype=torch.float64)
        sdi = SDI(**PLAIN, t_range=(1.0, 1.0), steps=n)
        errors.append(abs(goal(sdi, Schedule(1 / (1 + s**2))) - limit))
    # the schedule has n + 1 levels and SDI's t = 1 is its last, so that its n steps visit every one
    for coarse, fine in pairwise(errors):
        assert coarse / fine == pytest.approx(2, abs=0.15)
    assert errors[-1] < 2e-3


def test_all_500_integer_timesteps():
    assert goal(SDI(**PLAIN, t_range=(0.5, 0.5), steps=1000)) == pytest.approx(1.08234, abs=1e-5)


class NoNoise(torch.overrides.TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        return torch.zeros_like(out) if func is torch.randn else out


def test_sds_mean_target_is_another():
    prior = GaussianPrior(torch.full((1, 1, 1), MU, dtype=torch.float64), S)
    text = same_text(prior.embed([""]), prior.embed([""]))
    sdi = SDIKappa("random", **BARE, t_range=(0.5, 0.5))
    x = torch.full((1, 1, 1, 1), X, dtype=torch.float64)
    with NoNoise():  # the target is linear in the noise
        mean = (x - sdi.gradient(views_of(x, text), prior, None).latent).item()
    assert mean == pytest.approx(0.81329, abs=1e-5)


class TauAtItsEnd(torch.overrides.TorchFunctionMode):
    """The largest overshoot: uniform draws return .999."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        return torch.full_like(out, 0.999) if func is torch.rand else out


@pytest.mark.parametrize(("tau", "expected"), [(0.0, 1.01214), (0.1, 1.01027)])
def test_official_grid(tau, expected):
    with TauAtItsEnd():
        assert goal(SDIOfficial(**PLAIN | {"tau": tau}, t_range=(0.5, 0.5))) == pytest.approx(expected, abs=1e-5)


def test_previous_prediction_as_kappa_is_ddim():
    """Eq. 6: with kappa the previous eps^ and x moved onto its target, the sequence of x is DDIM's of x0^."""
    prior, text = mixture()
    grid = torch.arange(980, 0, -70)
    x_t = torch.randn(2, *prior.latent_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cameras = cameras_at([20.0, 150.0])
    sdi = SDI()

    def at(t: torch.Tensor) -> torch.Tensor:
        return t.expand(2)

    # SDI starts from DDIM's first x0^ and eps^
    schedule, first = prior.schedule, at(grid[0])
    ddim_t = x_t
    ddim_eps = guided_eps(prior, ddim_t, first, text, cameras, sdi.scale, sdi.perp_neg)
    x, kappa = schedule.x0_of(ddim_t, ddim_eps, first), ddim_eps
    for now, to in pairwise(grid):
        ddim_t = schedule.ddim_step(ddim_t, ddim_eps, at(now), at(to))
        ddim_eps = guided_eps(prior, ddim_t, at(to), text, cameras, sdi.scale, sdi.perp_neg)
        x, kappa = target(views_of(x, text, cameras), prior, kappa, at(to), sdi.scale, sdi.perp_neg)
        torch.testing.assert_close(x, schedule.x0_of(ddim_t, ddim_eps, at(to)), rtol=0, atol=1e-12)


def test_gradient_is_noise_ratio_times_the_change_of_noise():
    """Eq. 10: g = s~_t [eps^ - kappa], with kappa and eps^ taken apart."""
    prior, text = mixture()
    x0 = torch.randn(2, *prior.latent_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sdi = SDI(t_range=(0.7, 0.7))
    views = views_of(x0, text, seed=5)
    t, kappa = sdi.noise_of(views_of(x0, text, seed=5), prior, times(0.7, 0.7))
    assert t.tolist() == [700, 700]
    _, eps_hat = target(views, prior, kappa, t, sdi.scale, sdi.perp_neg)
    expected = prior.schedule.s(t).view(-1, 1, 1, 1) * (eps_hat - kappa)
    torch.testing.assert_close(sdi.gradient(views, prior, None).latent, expected)


def times(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_grid_of_the_paper():
    t = times(1.0, 0.55, 0.05)
    assert timesteps.nearest(t, 1000).tolist() == [999, 550, 50]
    grid = even_grid(t, times(0.03, 0.01, 0.0), 10, 1000)
    assert grid[0].tolist() == [0, 100, 200, 300, 400, 500, 599, 699, 799, 899, 999]
    assert grid[1].tolist() == [0, 112, 224, 336, 448, 560, 560, 560, 560, 560, 560]
    assert grid[2].tolist() == [0] + [50] * 10


def test_grid_of_the_official_code():
    index, grid = leading_grid(times(0.98, 0.26), times(0.0999, 0.0375), 10, 1000)
    assert index.tolist() == [980, 260]
    assert grid[0].tolist() == [-99, 1, 101, 201, 301, 401, 501, 601, 701, 801, 901, 999]
    assert grid[1].tolist() == [-99, 1, 101, 201] + [297] * 8


def test_the_official_grid_has_no_more_points_than_steps():
    """1000 / 36 is no integer: 36 strides of 27 end at 973, which lies below 990 and is no point."""
    _, grid = leading_grid(times(0.99), times(0.0), 36, 1000)
    assert grid[0].tolist() == [*range(-26, 973, 27), 990]
    assert len(grid[0]) == 36 + 2


def test_the_inversion_overshoots_by_another_tau_for_each_view():
    """T lies in [t, t + 1/30]."""
    prior, text = mixture()
    x0 = torch.randn(2, *prior.latent_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    levels = []

    class Heard(Schedule):
        def eps_of(self, x_t, x0, t):
            levels.append(t)
            return super().eps_of(x_t, x0, t)

    prior.schedule = Heard(prior.schedule.abar)
    SDI().noise_of(views_of(x0, text, seed=5), prior, times(0.7, 0.7))
    (level,) = levels
    assert ((level >= 700) & (level <= 733)).all()
    assert level[0] != level[1]


@pytest.mark.parametrize(("progress", "calls"), [(0.0, 11), (0.5, 7), (1.0, 3)])
def test_calls_of_the_network(progress, calls):
    """int(10 t) steps of inversion and one prediction, t from 1 to .2."""
    prior, text = mixture()
    x0 = torch.zeros(1, *prior.latent_shape, dtype=torch.float64)
    SDI().gradient(views_of(x0, text, progress=progress), prior, None)
    assert prior.nfe == calls


def test_official_calls_are_11_at_980_and_4_at_250_before_the_prediction():
    prior, text = mixture()
    x0 = torch.zeros(1, *prior.latent_shape, dtype=torch.float64)
    for progress, calls in ((0.0, 12), (1.0, 5)):
        prior.nfe = 0
        SDIOfficial().gradient(views_of(x0, text, progress=progress), prior, None)
        assert prior.nfe == calls


def test_a_batch_of_different_times_is_its_rows():
    prior, text = mixture()
    x0 = torch.randn(2, *prior.latent_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for sdi in (SDI(eta=0.0, tau=0.0), SDIOfficial(eta=0.0, tau=0.0), SDIKappa("fixed")):
        together = sdi.pull(views_of(x0, text), prior, times(0.9, 0.3)).latent
        for i, t in enumerate((0.9, 0.3)):
            alone = sdi.pull(views_of(x0[i : i + 1], text), prior, times(t)).latent
            torch.testing.assert_close(together[i : i + 1], alone)


def test_unknown_choice_is_a_clear_error():
    with pytest.raises(UserError, match="kappa is inverted, or one of random, fixed, fixed point, sgd, not 'adam'"):
        SDIKappa("adam")


@pytest.mark.parametrize(("kappa", "calls"), [("random", 1), ("fixed", 1), ("fixed point", 11), ("sgd", 11)])
def test_choices_of_kappa_and_what_they_cost(kappa, calls):
    """Fig. 9's: one prediction, and `steps` more where eq. 8 is solved. The log's error is s~_t RMS(kappa - eps^)."""
    prior, text = mixture()
    x0 = torch.randn(2, *prior.latent_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sdi = SDIKappa(kappa, t_range=(0.4, 0.4))
    out = sdi.gradient(views_of(x0, text), prior, None)
    assert prior.nfe == calls
    assert out.log["eq8"] == pytest.approx(out.latent.square().mean().sqrt().item())  # g = s~ (eps^ - kappa)
    t, noise = sdi.noise_of(views_of(x0, text), prior, times(0.4, 0.4))
    assert t.tolist() == [400, 400]
    _, other = sdi.noise_of(views_of(x0, text, seed=1), prior, times(0.4, 0.4))
    assert torch.equal(noise, other) == (kappa == "fixed")
    assert torch.equal(noise[0], noise[1]) == (kappa == "fixed")


def test_solving_eq_8_shrinks_its_error_as_the_closed_form_says():
    """Of N(mu, 1), eps(x_t) keeps sigma^2 of kappa's error: ten iterations leave sigma^20 of it, ten steps of descent
    (1 - .1 (1 - sigma^2)^2)^10. The start is the same: the first draw."""
    prior = GaussianPrior(torch.full((1, 8, 8), MU, dtype=torch.float64), 1.0)
    text = same_text(prior.embed([""]), prior.embed([""]))
    x = torch.full((1, 1, 8, 8), X, dtype=torch.float64)

    def error(kappa: str) -> float:
        sdi = SDIKappa(kappa, **BARE, t_range=(0.4, 0.4))
        return sdi.gradient(views_of(x, text), prior, None).log["eq8"]

    share = prior.schedule.sigma(torch.tensor([400])).item() ** 2
    assert error("fixed point") == pytest.approx(share**10 * error("random"))
    assert error("sgd") == pytest.approx((1 - 0.1 * (1 - share) ** 2) ** 10 * error("random"))
