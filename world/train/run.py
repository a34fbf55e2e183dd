"""A resumable training: weights, optimiser, moving average and step, kept in safetensors.

Every random draw of step k comes from a generator seeded with (seed, k), so that a training that was stopped and
resumed goes the same way as one that was not.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from world.dataset import VARIANTS

LossOf = Callable[[torch.Generator], tuple[Tensor, dict[str, float]]]


def rng_of(seed: int, step: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


def rate(step: int, steps: int, peak: float, warmup: int = 200, decay: float = 0.4) -> float:
    """Learning rate: a linear rise, a plateau, and a cosine fall over the last share `decay` of the steps."""
    left = (steps - step) / (decay * steps)
    fall = 0.5 - 0.5 * math.cos(math.pi * min(left, 1.0))
    return peak * min((step + 1) / warmup, 1.0) * max(fall, 0.01)


M = TypeVar("M", bound=nn.Module)


class Paused(Exception):
    """A training has made the steps that its plan asked for, and not yet all of its schedule."""


@dataclass(frozen=True)
class Plan:
    """Which training: its seed, the `steps` of its schedule, where its state is kept, the step at which to pause, how
    many variants of each toy it sees, and where its weights go unless they are to be shipped."""

    name: str
    seed: int
    steps: int
    folder: Path
    until: int | None = None
    variants: int = VARIANTS
    out: Path | None = None


class Training(Generic[M]):
    """Steps of AdamW on `model`, with an exponential moving average of its weights.

    A missing state starts at step 0; a half-written one cannot be, since it is written aside and renamed.
    """

    def __init__(self, plan: Plan, model: M, peak: float, ema: float = 0.999):
        self.plan, self.model, self.peak, self.decay = plan, model, peak, ema
        self.folder = plan.folder
        self.optimiser = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.99), weight_decay=0.01)
        self.average = {k: v.detach().clone() for k, v in model.state_dict().items()}
        self.step = 0
        self._resume()

    @property
    def _state(self) -> Path:
        return self.folder / "state.safetensors"

    @property
    def _curve(self) -> Path:
        return self.folder / "curve.csv"

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.items()}
        for name, parameter in self.model.named_parameters():
            for key in ("exp_avg", "exp_avg_sq"):
                if key in self.optimiser.state[parameter]:
                    tensors[f"{key}.{name}"] = self.optimiser.state[parameter][key]
        return {k: v.contiguous().clone() for k, v in tensors.items()}

    def _resume(self) -> None:
        if not self._state.exists():
            return
        tensors = load_file(self._state)
        self.step = int(tensors.pop("step"))
        if self._curve.exists():  # rows after the saved step will be written again
            head, *rows = self._curve.read_text().splitlines()
            kept = [row for row in rows if int(row.split(",")[0]) <= self.step]
            self._curve.write_text("\n".join([head, *kept]) + "\n")
        self.model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
        self.average = {k[8:]: v for k, v in tensors.items() if k.startswith("average.")}
        for name, parameter in self.model.named_parameters():
            if f"exp_avg.{name}" in tensors:
                self.optimiser.state[parameter] = {
                    "step": torch.tensor(float(self.step)),
                    "exp_avg": tensors[f"exp_avg.{name}"].to(parameter.device),
                    "exp_avg_sq": tensors[f"exp_avg_sq.{name}"].to(parameter.device),
                }

    def save(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        aside = self._state.with_suffix(".part")
        save_file(self._tensors() | {"step": torch.tensor(self.step)}, aside)
        aside.rename(self._state)

    def averaged(self) -> M:
        """The model, now with its averaged weights."""
        self.model.load_state_dict(self.average)
        return self.model

    def run(self, loss_of: LossOf, save_every: int = 500) -> None:
        """Train to the end of the plan; the curve goes to curve.csv beside the state. Ctrl-C loses at most the running
        step. Raises Paused where the plan ends before its schedule."""
        end = self.plan.steps if self.plan.until is None else min(self.plan.until, self.plan.steps)
        self.folder.mkdir(parents=True, exist_ok=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, TimeRemainingColumn(), refresh_per_second=1) as bar:
            task = bar.add_task(self.plan.name, total=end, completed=self.step)
            try:
                while self.step < end:
                    log = self._one(loss_of)
                    bar.update(task, completed=self.step, description=f"{self.plan.name}  loss {log['loss']:.4f}")
                    if self.step % save_every == 0:
                        self.save()
            finally:
                self.save()
        if end < self.plan.steps:
            raise Paused

    def _one(self, loss_of: LossOf) -> dict[str, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = rate(self.step, self.plan.steps, self.peak)
        loss, log = loss_of(rng_of(self.plan.seed, self.step))
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        warm = min(self.decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for key, value in self.model.state_dict().items():
                average = self.average[key]
                if value.is_floating_point():
                    average.lerp_(value, 1 - warm)
                else:
                    average.copy_(value)
        log = {"loss": loss.item()} | log
        if self.step % 20 == 0:
            self._append(log)
        return log

    def _append(self, log: dict[str, float]) -> None:
        new = not self._curve.exists()
        with self._curve.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["step", *log])
            writer.writerow([self.step, *(f"{v:.6g}" for v in log.values())])
