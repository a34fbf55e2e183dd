"""CSD: its fixed point on two Gaussians, its stages, its norm."""

import pytest
import torch

from methods.csd import CSD
from methods.sds import SDS
from priors.analytic import MixturePrior
from tests.helpers import cameras_at, mixture, same_text, views_of

AT_500 = (0.5, 0.5)


def batch(n: int = 3) -> torch.Tensor:
    return torch.randn(n, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_fixed_point_of_the_classifier():
    """E[g] = 0 at x* = (mu_c v_u - mu_u v_c) / (v_u - v_c), 4.8251 for N(0, 1) and N(1, .5^2) at t = 500."""
    prior = MixturePrior(
        torch.tensor([0.0, 1.0], dtype=torch.float64).view(2, 1, 1, 1), torch.tensor([1.0, 0.5]), ["u", "c"]
    )
    abar = prior.schedule.at(torch.tensor([500])).item()
    v_u, v_c = (abar * s**2 + 1 - abar for s in (1.0, 0.5))
    star = v_u / (v_u - v_c)
    assert star == pytest.approx(4.8251, abs=1e-4)
    text = same_text(prior.embed(["u"]), prior.embed(["c"]))

    def mean(x: float) -> float:
        """E[g], exact: g is linear in the noise, which cancels between eps and -eps."""

        class Pairs(torch.overrides.TorchFunctionMode):
            def __torch_function__(self, func, types, args=(), kwargs=None):
                out = func(*args, **(kwargs or {}))
                return torch.cat([out[:1], -out[:1]]) if func is torch.randn else out

        views = views_of(torch.full((2, 1, 1, 1), x, dtype=torch.float64), text)
        with Pairs():
            return CSD(t_range=AT_500).gradient(views, prior, None).latent.mean().item()

    assert mean(star) == pytest.approx(0, abs=1e-12)
    assert mean(star - 0.1) < -1e-3 < 1e-3 < mean(star + 0.1)  # a descent is drawn to x*


def test_pure_csd_is_what_sds_grows_into_at_large_scale():
    """SDS at scale s + 1 less SDS at s is eps_y - eps_empty, where the negative prompt is the empty one."""
    prior, text = mixture()
    text = type(text)(text.empty, text.plain, text.front, text.side, text.back, text.overhead)

    def g(rule) -> torch.Tensor:
        return rule.gradient(views_of(batch(), text, cameras_at([10.0, 100.0, 180.0])), prior, None).latent

    torch.testing.assert_close(g(CSD()), g(SDS(8.5)) - g(SDS(7.5)))
    assert torch.allclose(g(CSD(c=7.5, n=(-6.5, -6.5), k=-1.0)), g(SDS(7.5)))  # and SDS is one of CSD's mixtures


@pytest.mark.parametrize(
    ("stage", "progress", "u", "n"),
    [
        (CSD.stage1(), 0.0, 0.0, -1.0),
        (CSD.stage1(), 0.25, -0.5, -0.5),
        (CSD.stage1(), 0.5, -1.0, 0.0),
        (CSD.stage1(), 0.9, -1.0, 0.0),
        (CSD.stage2(), 0.0, -1.0, 0.0),
        (CSD.stage2(), 0.5, -0.75, -0.25),
        (CSD.stage2(), 1.0, -0.5, -0.5),
    ],
)
def test_stages(stage, progress, u, n):
    prior, text = mixture()
    ours = stage.gradient(views_of(batch(), text, progress=progress), prior, None).latent
    given = stage.pull(views_of(batch(), text, progress=progress), prior, u, n).latent
    torch.testing.assert_close(ours, given)


def test_stage_1_has_unit_norm_and_stage_2_stays_below_half():
    prior, text = mixture()
    first = CSD.stage1().gradient(views_of(batch(), text), prior, None)
    assert (first.latent.flatten(1).norm(dim=1) - 1).abs().max() < 1e-3  # 1e-8 is added to the norm
    times = [CSD.stage2().gradient(views_of(batch(1), text, seed=k), prior, None).log["t"] for k in range(200)]
    assert 20 <= min(times) < 60
    assert 460 < max(times) <= 500


def test_stage_1_stays_below_half_from_step_5001_of_10000_on():
    prior, text = mixture()

    def latest(step: int) -> float:
        views = [views_of(batch(1), text, progress=step / 10_000, seed=k) for k in range(100)]
        return max(CSD.stage1().gradient(v, prior, None).log["t"] for v in views)

    assert latest(5_000) > 900
    assert 460 < latest(5_001) <= 500


def test_texts_of_weight_0_are_not_evaluated():
    prior, text = mixture()
    noise = CSD(0.0, n=(0.0, 0.0), k=1.0)
    for csd, rows in ((CSD(), 2), (CSD(u=(-1.0, -1.0)), 3), (CSD(n=(0.0, 0.0)), 1), (CSD(p=1.0), 5), (noise, 0)):
        prior.rows = 0
        csd.gradient(views_of(batch(1), text), prior, None)
        assert prior.rows == rows
