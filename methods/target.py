"""What SDI's rules share: the target to which a noise kappa leads a view (2405.15891, eq. 10).

    x_t    = a_t x + sigma_t kappa
    x0^    = (x_t - sigma_t eps^(x_t; y, t)) / a_t
    g      = x - x0^ = s~_t [eps^(x_t; y, t) - kappa]

Alphabet: time (B,) in [0, 1], one a view; t (B,) its timesteps; level (B,) the timesteps that kappa belongs to: t
itself, but in the official code.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from methods import timesteps
from methods.base import Guidance, Views
from priors.base import Prior
from priors.guidance import guided_eps
from priors.inversion import invert
from priors.schedule import Schedule, per_item


def falling_time(views: Views, t_range: tuple[float, float]) -> Float[Tensor, " B"]:
    """t of algorithm 2, which falls linearly with progress, for every view."""
    return torch.full((len(views.x0),), timesteps.linear(views.progress, *t_range), dtype=torch.float64)


def inverted(
    views: Views, prior: Prior, grid: Int[Tensor, "B n"], scale: float, perp_neg: bool, eta: float = 0.0
) -> Float[Tensor, "B C h w"]:
    """(x_T - a_T x) / sigma_T, where DDIM inversion along the grid leads from x to x_T; eta as in `invert`."""

    def eps(x: Tensor, at: Tensor) -> Tensor:
        return guided_eps(prior, x, at, views.text, views.cameras, scale, perp_neg)

    x_T = invert(prior.schedule, eps, views.x0, grid, views.rng, eta)
    return prior.schedule.eps_of(x_T, views.x0, grid[:, -1])


def target(
    views: Views,
    prior: Prior,
    kappa: Float[Tensor, "B C h w"],
    t: Int[Tensor, " B"],
    scale: float,
    perp_neg: bool,
    level: Int[Tensor, " B"] | None = None,
) -> tuple[Float[Tensor, "B C h w"], Float[Tensor, "B C h w"]]:
    """x0^ and eps^: x noised by kappa to a level, denoised as if at t."""
    x_t = prior.schedule.noised(views.x0, kappa, t if level is None else level)
    eps_hat = guided_eps(prior, x_t, t, views.text, views.cameras, scale, perp_neg)
    return prior.schedule.x0_of(x_t, eps_hat, t), eps_hat


def toward(
    x0_hat: Float[Tensor, "B C h w"],
    eps_hat: Float[Tensor, "B C h w"],
    kappa: Float[Tensor, "B C h w"],
    views: Views,
    t: Int[Tensor, " B"],
    schedule: Schedule,
) -> Guidance:
    """g = x - x0^. The log's `eq8` is s~_t RMS(kappa - eps^), the error in eq. 8 in the units of x0."""
    g = views.x0 - x0_hat
    log = {
        "t": t.double().mean().item(),
        "kappa_rms": kappa.square().mean().sqrt().item(),
        "target_rms": x0_hat.square().mean().sqrt().item(),
        "grad_norm": g.flatten(1).norm(dim=1).mean().item(),
        "eq8": (per_item(schedule.s(t), kappa) * (kappa - eps_hat)).square().mean().sqrt().item(),
    }
    return Guidance(g, log=log)
