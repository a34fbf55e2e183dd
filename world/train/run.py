"""A resumable training: weights, optimiser, moving average and step, kept in safetensors.

Every random draw of step k comes from a generator seeded with (seed, k), so that a training that was stopped and
resumed goes the same way as one that was not.
"""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from state import flatten, unflatten
from world.dataset import VARIANTS

LossOf = Callable[[torch.Generator], tuple[Tensor, Mapping[str, Tensor | float]]]
EVERY = 20  # steps from one row of the curve to the next


def rng_of(seed: int, step: int, device: str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed * 1_000_003 + step)


def rate(step: int, progress: float, warmup: int = 200, decay: float = 0.4) -> float:
    """Learning rate as a share of its peak: a linear rise, a plateau, and a cosine fall over the last share `decay` of
    the training, whose `progress` is in [0, 1]."""
    fall = 0.5 - 0.5 * math.cos(math.pi * min((1 - progress) / decay, 1.0))
    return min((step + 1) / warmup, 1.0) * max(fall, 0.01)


class Muon(torch.optim.Muon):
    """Muon for matrices and for kernels of convolutions, which it sees as matrices (out, height width in) that share
    the memory of kernels in channels-last order; learning rates are AdamW's ("Muon is scalable for LLM training",
    2502.16982)."""

    def __init__(self, weights: list[nn.Parameter], lr: float, weight_decay: float):
        self.weights = weights
        matrices = [nn.Parameter(self._matrix(w.detach())) for w in weights]
        super().__init__(matrices, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")

    @staticmethod
    def _matrix(weight: Tensor) -> Tensor:
        return weight if weight.ndim == 2 else weight.permute(0, 2, 3, 1).flatten(1)

    def step(self, closure=None):
        for matrix, weight in zip(self.param_groups[0]["params"], self.weights, strict=True):
            matrix.grad = None if weight.grad is None else self._matrix(weight.grad)
        return super().step(closure)


def muon_and_adamw(
    model: nn.Module, hidden: Callable[[str, nn.Parameter], bool], muon: float, adamw: float
) -> list[torch.optim.Optimizer]:
    """Muon for the parameters that are `hidden`, by name and shape, AdamW for all others; with their learning rates."""
    named = list(model.named_parameters())
    inner, rest = ([w for name, w in named if hidden(name, w) is inside] for inside in (True, False))
    return [
        Muon(inner, lr=muon, weight_decay=0.01),
        torch.optim.AdamW(rest, lr=adamw, betas=(0.9, 0.99), weight_decay=0.01),
    ]


def adamw(model: nn.Module, peak: float) -> list[torch.optim.Optimizer]:
    return [torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.99), weight_decay=0.01)]


M = TypeVar("M", bound=nn.Module)


class Paused(Exception):
    """A training has made the steps that its plan asked for, and not yet all of its schedule."""


@dataclass(frozen=True)
class Plan:
    """Which training: its seed, the `steps` of its schedule or the `minutes` that it may take instead, where its state
    is kept, the step at which to pause, how many variants of each toy it sees, where its weights go unless they are to
    be shipped, the device, the finished weights that it begins with, if any, and whether these teach it."""

    name: str
    seed: int
    steps: int
    folder: Path
    until: int | None = None
    variants: int = VARIANTS
    out: Path | None = None
    minutes: float | None = None
    device: str = "cpu"
    start: Path | None = None
    teach: bool = False


class Training(Generic[M]):
    """Steps on `model` by the optimisers that `optimisers` makes, whose learning rates are peaks, with an exponential
    moving average of its weights.

    A missing state starts at step 0; a half-written one cannot be, since it is written aside and renamed.
    """

    def __init__(
        self,
        plan: Plan,
        model: M,
        peak: float,
        ema: float = 0.999,
        optimisers: Callable[[nn.Module, float], list[torch.optim.Optimizer]] = adamw,
    ):
        self.plan, self.model, self.decay = plan, model, ema
        self.folder = plan.folder
        self.optimisers = optimisers(model, peak)
        self.peaks = [[group["lr"] for group in o.param_groups] for o in self.optimisers]
        self.average = {k: v.detach().clone() for k, v in model.state_dict().items() if v.is_floating_point()}
        self.step, self.seconds = 0, 0.0
        self._resume()

    @property
    def _state(self) -> Path:
        return self.folder / "state.safetensors"

    @property
    def _curve(self) -> Path:
        return self.folder / "curve.csv"

    @property
    def progress(self) -> float:
        """In [0, 1], by steps, or by the clock where the plan says how many minutes."""
        if self.plan.minutes is None:
            return self.step / self.plan.steps
        return min(self.seconds / 60 / self.plan.minutes, 1.0)

    def _resume(self) -> None:
        if not self._state.exists():
            return
        with safe_open(self._state, "pt") as file:
            facts = json.loads(file.metadata()["facts"])
        kept = unflatten(load_file(self._state), facts)
        self.step, self.seconds = kept["step"], kept["seconds"]
        if self._curve.exists():  # rows after the saved step will be written again
            head, *rows = self._curve.read_text().splitlines()
            rows = [row for row in rows if int(row.split(",")[0]) <= self.step]
            self._curve.write_text("\n".join([head, *rows]) + "\n")
        self.model.load_state_dict(kept["model"])
        for name, value in kept["average"].items():
            self.average[name].copy_(value)
        for optimiser, state in zip(self.optimisers, kept["optimisers"], strict=True):
            optimiser.load_state_dict(state)

    def save(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        tensors, facts = flatten(
            {
                "step": self.step,
                "seconds": self.seconds,
                "model": dict(self.model.state_dict()),
                "average": self.average,
                "optimisers": [o.state_dict() for o in self.optimisers],
            }
        )
        aside = self._state.with_suffix(".part")
        save_file({k: v.contiguous().clone() for k, v in tensors.items()}, aside, {"facts": json.dumps(facts)})
        aside.rename(self._state)

    def averaged(self) -> M:
        """The model, now with its averaged weights."""
        self.model.load_state_dict(self.model.state_dict() | self.average)
        return self.model

    def run(self, loss_of: LossOf, save_every: int = 500) -> None:
        """Train to the end of the plan; the curve goes to curve.csv beside the state. Ctrl-C loses at most the running
        step. Raises Paused where the plan ends before its schedule."""
        end = math.inf if self.plan.minutes else self.plan.steps
        end = min(end, self.plan.until or end)
        self.folder.mkdir(parents=True, exist_ok=True)
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        with Progress(*columns, TimeRemainingColumn(), refresh_per_second=1) as bar:
            task = bar.add_task(self.plan.name, total=1.0)
            bar.update(task, completed=self.progress)
            try:
                while self.progress < 1 and self.step < end:
                    began = time.monotonic()
                    log = self._one(loss_of)
                    self.seconds += time.monotonic() - began
                    if log:
                        about = f"{self.plan.name}  step {self.step}  loss {log['loss']:.4f}"
                        bar.update(task, completed=self.progress, description=about)
                    if self.step % save_every == 0:
                        self.save()
            finally:
                self.save()
        if self.progress < 1:
            raise Paused

    def _one(self, loss_of: LossOf) -> dict[str, float]:
        """One step; what is logged is read off the device in one step of EVERY."""
        share = rate(self.step, self.progress)
        for optimiser, peaks in zip(self.optimisers, self.peaks, strict=True):
            for group, peak in zip(optimiser.param_groups, peaks, strict=True):
                group["lr"] = share * peak
        loss, log = loss_of(rng_of(self.plan.seed, self.step, self.plan.device))
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
        self.model.zero_grad(set_to_none=True)
        self.step += 1
        warm = min(self.decay, (1 + self.step) / (10 + self.step))
        now = self.model.state_dict()
        with torch.no_grad():
            torch._foreach_lerp_([*self.average.values()], [now[name] for name in self.average], 1 - warm)
        if self.step % EVERY:
            return {}
        values = {"loss": loss.item()} | {k: float(v) for k, v in log.items()}
        self._append(values)
        return values

    def _append(self, log: dict[str, float]) -> None:
        new = not self._curve.exists()
        with self._curve.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["step", *log])
            writer.writerow([self.step, *(f"{v:.6g}" for v in log.values())])
