"""Jobs of a second: a small field, 16x16 views, and a Gaussian for a prior. `python -m tests.engine.jobs RUN` does one,
with a checkpoint at every step."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from engine import optimize, worker
from engine.executors.base import Event
from engine.job import Job, Setup
from engine.recipes.base import Orbit, Recipe, Shading, Weight
from engine.store import Store
from methods.base import Method
from methods.sds import SDS
from priors.analytic import MixturePrior
from prompts import Prompt
from scene.nerf import NeRFConfig

FIELD = NeRFConfig(levels=2, log2_table=8, base=4, finest=8, hidden=8, samples=16, occupancy=8)
PROMPT = Prompt("01-a-red-ball", "a red ball")
SETUP = Setup(prior="none", device="cpu", threads=1, checkpoint_seconds=0.0)


class Deaf:
    """A watcher that listens to nothing and cuts the line after a number of steps."""

    def __init__(self, steps: int = 10**9):
        self.left = steps

    @property
    def cut(self) -> bool:
        self.left -= 1
        return self.left <= 0

    def send(self, event: Event) -> None:
        pass


def keep_process(monkeypatch: Any) -> None:
    """Let a worker run in the process of the tests: it neither takes their signals, nor ends them, as it would where
    another test has left a thread."""
    monkeypatch.setattr(worker.signal, "signal", lambda *_: None)
    monkeypatch.setattr(worker.say, "leave", lambda code: None)


def prior() -> MixturePrior:
    red = torch.tensor([0.6, -0.8, -0.8]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    return MixturePrior(red, torch.tensor([0.3]), ["a red ball"])


def recipe(method: Method | None = None, **changes: Any) -> Recipe:
    settings: dict[str, Any] = {
        "steps": 12,
        "resolution": 16,
        "scene": FIELD,
        "orbit": Orbit(views=3, resolution=16),
        "shading": Shading(albedo_until=0.5, diffuse=0.5, textureless=0.25),
        "regularisers": (("sparsity", Weight(0.1, 0.1)), ("orient", Weight(0.1, 0.0, until=0.5))),
    }
    return Recipe("sds", method or SDS(scale=2.0), 1.0, **settings | changes)


def job(method: Method | None = None, seed: int = 0, **changes: Any) -> Job:
    return Job(recipe(method, **changes), PROMPT, seed)


def do(run: Path, which: Job, watcher: optimize.Watcher | None = None) -> dict[str, Any]:
    """The record of a job done in this process."""
    store = Store(run, which)
    with store.opened({"key": which.key("none")}):
        return optimize.run(which, prior(), store, SETUP, watcher or Deaf())


if __name__ == "__main__":
    torch.set_num_threads(1)
    do(Path(sys.argv[1]), job(steps=40))
