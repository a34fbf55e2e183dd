"""SDI: score distillation via inversion. Lukoianov et al., arXiv 2405.15891, algorithm 2, eq. 10 and 11.

    t      falls linearly with progress;  T = t + tau,  tau ~ U(0, tau_max) for each view
    x_T    DDIM inversion of x from timestep `first` to T, guided at inversion_scale
    kappa  = (x_T - a_T x) / sigma_T
    x_t    = a_t x + sigma_t kappa
    x0^    = (x_t - sigma_t eps^(x_t; y, t)) / a_t
    g      = x - x0^ = s~_t [eps^(x_t; y, t) - kappa]

The official code departs from the paper; `SDI()` is the paper and `SDI.official()` the code:

    field            paper                               official code
    t_range          1 -> .2                             .98 -> .25
    tau              1/30                                1/10, in whole timesteps
    grid             "even": int(10 t) equal steps       "leading": -99, 1, 101, ... below t, then T
    remap            x_t from kappa at t                 x_T itself is denoised as if it stood at t
    noise            "once": .3 sigma_t N on kappa       "per step": .3 std N in each inversion step
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from errors import UserError
from methods import timesteps
from methods.base import Guidance, Method, Views
from priors.base import Prior
from priors.guidance import guided_eps
from priors.inversion import descend, fixed_noise, fixed_point, invert
from priors.schedule import per_item, randn_like


def even_grid(
    t: Float[Tensor, " B"], tau: Float[Tensor, " B"], first: int, steps: int, length: int
) -> tuple[Int[Tensor, " B"], Int[Tensor, "B n"]]:
    """Timestep of t, and max(int(steps t), 1) equal steps from `first` to t + tau, all rounded. Rows of fewer steps
    repeat their last timestep."""
    index = (length * t).round().clamp(max=length - 1)
    last = (length * (t + tau)).round().clamp(max=length - 1)
    n = (steps * t).floor().clamp(min=1)
    share = (torch.arange(int(n.max()) + 1) / n[:, None]).clamp(max=1)
    return index.long(), (first + share * (last - first)[:, None]).round().long()


def leading_grid(
    t: Float[Tensor, " B"], tau: Float[Tensor, " B"], first: int, steps: int, length: int
) -> tuple[Int[Tensor, " B"], Int[Tensor, "B n"]]:
    """Timestep of t, and the first 1 + steps of `first`, first + length // steps, ... that lie below it, then t + tau,
    all rounded down."""
    index = (length * t).floor().clamp(max=length - 1).long()
    last = (index + (length * tau).floor().long()).clamp(max=length - 1)
    points = torch.arange(first, max(int(index.max()), first + 1), length // steps)[: steps + 1]
    grid = torch.where(points < index[:, None], points, last[:, None])
    return index, torch.cat([grid, last[:, None]], 1)


GRIDS = {"even": even_grid, "leading": leading_grid}
KAPPAS = ("ddim", "random", "fixed", "fixed point", "sgd")
CHOICES = {"grid": tuple(GRIDS), "noise": ("once", "per step"), "kappa": KAPPAS}


@dataclass(frozen=True)
class SDI(Method):
    """`kappa` is "ddim" (inverted) or, with the same t, x0^ and g, one of fig. 9's others: "random" N(0, I), "fixed"
    N(0, I) that is the same at every step, and eq. 8 solved at `scale` by "fixed point" iteration or "sgd", `steps`
    times from random noise. The log's `eq8` is s~_t RMS(kappa - eps^), the error in eq. 8 in the units of x0."""

    scale: float = 7.5
    inversion_scale: float = -7.5
    perp_neg: bool = True
    t_range: tuple[float, float] = (1.0, 0.2)
    tau: float = 1 / 30
    grid: str = "even"
    first: int = 0
    steps: int = 10  # of inversion, in a unit of t
    remap: bool = True
    noise: str = "once"
    eta: float = 0.3
    kappa: str = "ddim"

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise UserError(f"SDI's {name} is one of {', '.join(choices)}, not {getattr(self, name)!r}.")

    @classmethod
    def official(cls) -> SDI:
        return cls(t_range=(0.98, 0.25), tau=0.1, grid="leading", first=-99, remap=False, noise="per step")

    def gradient(self, views: Views, prior: Prior, state: Any) -> Guidance:
        t = timesteps.linear(views.progress, *self.t_range)
        return self.pull(views, prior, torch.full((len(views.x0),), t, dtype=torch.float64))

    def pull(self, views: Views, prior: Prior, t: Float[Tensor, " B"]) -> Guidance:
        """The gradient at given times in [0, 1], one a view."""
        index, level, kappa = self.noise_of(views, prior, t)
        target, eps_hat = self.target(views, prior, kappa, index, index if self.remap else level)
        g = views.x0 - target
        log = {
            "t": index.double().mean().item(),
            "kappa_rms": kappa.square().mean().sqrt().item(),
            "target_rms": target.square().mean().sqrt().item(),
            "grad_norm": g.flatten(1).norm(dim=1).mean().item(),
            "eq8": (per_item(prior.schedule.s(index), kappa) * (kappa - eps_hat)).square().mean().sqrt().item(),
        }
        return Guidance(g, log=log)

    def noise_of(self, views: Views, prior: Prior, t: Float[Tensor, " B"]) -> tuple[Tensor, Tensor, Tensor]:
        """Timesteps of t, timesteps at which kappa was found, and kappa."""
        x0, rng = views.x0, views.rng
        grid_of, schedule = GRIDS[self.grid], prior.schedule
        if self.kappa != "ddim":
            index, _ = grid_of(t, torch.zeros_like(t), self.first, self.steps, len(schedule))
            return index, index, self._other_noise(views, prior, index)
        tau = self.tau * torch.rand(len(x0), generator=rng, device=rng.device, dtype=torch.float64).cpu()
        index, grid = grid_of(t, tau, self.first, self.steps, len(schedule))

        def eps(x: Tensor, at: Tensor) -> Tensor:
            return guided_eps(prior, x, at, views.text, views.cameras, self.inversion_scale, self.perp_neg)

        x_T = invert(schedule, eps, x0, grid, rng, self.eta if self.noise == "per step" else 0.0)
        kappa = schedule.eps_of(x_T, x0, grid[:, -1])
        if self.noise == "once":
            kappa = kappa + self.eta * per_item(schedule.sigma(index), x0) * randn_like(x0, rng)
        return index, grid[:, -1], kappa

    def _other_noise(self, views: Views, prior: Prior, t: Int[Tensor, " B"]) -> Float[Tensor, "B C h w"]:
        """The choices of kappa that are not inverted."""
        x0 = views.x0
        if self.kappa == "fixed":
            return fixed_noise(x0)
        kappa = randn_like(x0, views.rng)
        if self.kappa == "random":
            return kappa

        def eps(x: Tensor, at: Tensor) -> Tensor:
            return guided_eps(prior, x, at, views.text, views.cameras, self.scale, self.perp_neg)

        solve = fixed_point if self.kappa == "fixed point" else descend
        return solve(prior.schedule, eps, x0, kappa, t, self.steps)

    def target(
        self,
        views: Views,
        prior: Prior,
        kappa: Float[Tensor, "B C h w"],
        t: Int[Tensor, " B"],
        level: Int[Tensor, " B"],
    ) -> tuple[Float[Tensor, "B C h w"], Float[Tensor, "B C h w"]]:
        """x0^ and eps^: x noised by kappa to a level (t itself, but T in the official code), denoised as if at t."""
        x_t = prior.schedule.noised(views.x0, kappa, level)
        eps_hat = guided_eps(prior, x_t, t, views.text, views.cameras, self.scale, self.perp_neg)
        return prior.schedule.x0_of(x_t, eps_hat, t), eps_hat
