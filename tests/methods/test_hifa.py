"""HiFA: SDS at a time that falls with the root of progress, and the same pull on the image."""

import pytest
import torch

from methods.base import Views
from methods.hifa import HiFA, difference
from methods.sds import SDS
from tests.helpers import cameras_at, mixture, views_of


def batch() -> torch.Tensor:
    return torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(("progress", "t"), [(0.0, 980), (0.24, 646), (0.5, 499), (1.0, 300)])
def test_times(progress, t):
    prior, text = mixture()
    assert HiFA().gradient(views_of(batch(), text, progress=progress), prior, None).log["t"] == t


def with_image(image: torch.Tensor) -> tuple[Views, torch.Tensor]:
    """Views that show an image, and the noise that HiFA will draw for them."""
    _, text = mixture()
    views = views_of(batch(), text, cameras_at([10.0, 100.0]), seed=6)
    eps = torch.randn(batch().shape, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    return Views(views.x0, image, text, views.cameras, 0.5, views.rng), eps


def test_gradients_are_those_of_both_losses():
    """x - x0^ = s~ (eps^ - eps);  g = w (a / sigma) (x - x0^),  g_img = .01 w (a / sigma) (rgb - decode(x0^))."""
    prior, _ = mixture()
    image = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    views, eps = with_image(image)
    out = HiFA().gradient(views, prior, None)
    t, schedule = torch.tensor([499, 499]), prior.schedule
    abar, s = schedule.at(t)[0], schedule.s(t)[0]
    eps_hat = eps + out.latent / (1 - abar)
    x_hat = schedule.x0_of(schedule.noised(views.x0, eps, t), eps_hat, t)
    torch.testing.assert_close(views.x0 - x_hat, s * (eps_hat - eps))
    torch.testing.assert_close(out.latent, (1 - abar) / s * (views.x0 - x_hat))
    torch.testing.assert_close(out.image, 0.01 * (1 - abar) / s * (image - prior.decode(x_hat)))


def test_the_latent_term_is_sds():
    prior, text = mixture()
    hifa = HiFA(t_range=(0.5, 0.5), scale=7.5).gradient(views_of(batch(), text, seed=2), prior, None).latent

    class TimeLast(torch.overrides.TorchFunctionMode):
        """SDS draws its timestep first; this does not take it from the stream."""

        def __torch_function__(self, func, types, args=(), kwargs=None):
            return torch.tensor([500, 500]) if func is torch.randint else func(*args, **(kwargs or {}))

    with TimeLast():
        sds = SDS(7.5, (0.5, 0.5)).gradient(views_of(batch(), text, seed=2), prior, None).latent
    torch.testing.assert_close(hifa, sds)


def test_an_image_of_another_size_gets_its_gradient_through_the_resizing():
    """Against central differences of 1/2 |resized(image) - goal|^2."""
    rng = torch.Generator().manual_seed(0)
    image, goal = (torch.rand(1, 3, n, n, generator=rng, dtype=torch.float64) for n in (3, 5))
    g = difference(image, goal)

    def loss(x: torch.Tensor) -> torch.Tensor:
        resized = torch.nn.functional.interpolate(x, (5, 5), mode="bilinear", align_corners=False)
        return 0.5 * (resized - goal).square().sum()

    for i in range(0, 27, 5):
        bump = torch.zeros(27, dtype=torch.float64)
        bump[i] = 1e-5
        bump = bump.view_as(image)
        slope = (loss(image + bump) - loss(image - bump)) / 2e-5
        torch.testing.assert_close(g.flatten()[i], slope, atol=1e-8, rtol=1e-6)
    assert difference(image, image).abs().max() == 0


def test_without_image_weight_nothing_is_decoded(monkeypatch):
    prior, text = mixture()
    monkeypatch.setattr(prior, "decode", None)
    assert HiFA(image_weight=0.0).gradient(views_of(batch(), text), prior, None).image is None
