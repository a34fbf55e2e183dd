"""What several rooms' tests share: the list of methods, cameras and views to feed them."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from engine.recipes.tables import TABLE
from methods.base import Method, Views
from methods.csd import CSD
from methods.ism import ISM
from methods.sdi import SDI
from methods.sdi_kappas import SDIKappa
from methods.sds import SDS
from methods.sjc import SJC
from methods.vsd import VSD
from priors.analytic import MixturePrior
from priors.base import Prior, Text
from scene.cameras import Cameras

# every recipe's rule, with presets that take other paths through its code; a new rule is tested by its row
all_methods: dict[str, Method] = {name: row.rule for name, row in TABLE.items()} | {
    "sds-perp-neg": SDS(scale=7.5, perp_neg=True, weight="uniform"),
    "sjc-plain": SJC(scale=7.5, perp_neg=True, variance_reduction=False),
    "csd": CSD(),
    "csd-stage1": CSD.stage1(),
    "csd-stage2": CSD.stage2(),
    "csd-perp-neg": CSD(c=7.5, n=(-6.5, -6.5), k=-1.0, p=3.0),
    "ism-anneal": ISM(anneal=True, t_max_early=1.0, t_range=(0.2, 1.0)),
    "ism-perp-neg": ISM(perp_neg=True, inversion_scale=2.0),
    "vsd-perp-neg": VSD(perp_neg=True),
    "sdi-fixed-point": SDIKappa("fixed point"),
    "sdi-sgd": SDIKappa("sgd"),
    "sdi-plain": SDI(perp_neg=False, inversion_scale=0.0, eta=0.0),
}


def cameras_at(azimuth: list[float], elevation: float = 15.0) -> Cameras:
    """Cameras by angle alone; their matrices are the identity, which no method reads."""
    az = torch.tensor(azimuth, dtype=torch.float64)
    n = len(az)
    return Cameras(
        torch.eye(4).repeat(n, 1, 1),
        torch.full((n,), 40.0),
        torch.full((n,), float(elevation)),
        az,
        torch.full((n,), 2.0),
    )


def mixture() -> tuple[MixturePrior, Text]:
    """A prior of five Gaussians in double, and a text whose views weigh them differently."""
    rng = torch.Generator().manual_seed(7)
    means = torch.randn(5, 3, 4, 4, generator=rng)
    *weights, null = 0.05 + torch.rand(7, 1, 1, 5, generator=rng, dtype=torch.float64)
    prior = MixturePrior(means, torch.tensor([0.3, 0.5, 0.7, 0.9, 1.1]), list("abcde"))
    return prior, Text(*weights, null=null)


def started(method: Method, prior: Prior) -> Any:
    """The method's state; a student's weights are moved from where they start, so that phi is not the prior."""
    state, rng = method.start(prior), torch.Generator().manual_seed(5)
    if state is not None:
        for p in state.parameters.values():
            p.data += 0.1 * torch.randn(p.shape, generator=rng)
    return state


def same_text(uncond: torch.Tensor, plain: torch.Tensor) -> Text:
    """A text that says the same from every side."""
    return Text(uncond, plain, plain, plain, plain, plain)


def views_of(
    x0: torch.Tensor, text: Text, cameras: Cameras | None = None, progress: float = 0.5, seed: int = 0
) -> Views:
    held = {f.name: getattr(text, f.name) for f in fields(text)}
    text = replace(text, **{name: y.to(x0.device) for name, y in held.items() if isinstance(y, torch.Tensor)})
    cameras = cameras or cameras_at([0.0] * len(x0))
    rng = torch.Generator().manual_seed(seed)
    return Views(x0, x0.new_zeros(len(x0), 3, *x0.shape[-2:]), text, cameras, progress, rng)


def watched(prior: Prior) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The (x_t, t) that the prior's network will be asked about, call by call: what a rule drew can be read from it."""
    asked: list[tuple[torch.Tensor, torch.Tensor]] = []
    network = prior.network

    def watching(x_t: torch.Tensor, t: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        asked.append((x_t, t))
        return network(x_t, t, text)

    prior.network = watching  # type: ignore[method-assign]
    return asked


class RowDraws(TorchFunctionMode):
    """Draw for a batch of `total` rows and hand out some of them: what a row of the batch gets when it is alone."""

    def __init__(self, total: int, rows: list[int]):
        super().__init__()
        self.total, self.rows = total, rows

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (torch.randn, torch.rand, torch.randint):
            *head, shape = args
            shape = (shape,) if isinstance(shape, int) else tuple(shape)
            if not shape:  # one number for the whole batch
                return func(*args, **kwargs)
            assert shape[0] == len(self.rows)
            return func(*head, (self.total, *shape[1:]), **kwargs)[self.rows]
        return func(*args, **(kwargs or {}))
