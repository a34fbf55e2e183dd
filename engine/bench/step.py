"""A step: by kernels and by their twins, part by part, its memory, what settings make of SDI's, and how many scenes an
hour there are where several share a process.

A step's cost falls with progress (a view is inverted in int(10 t) calls), so that steps are taken from four places of a
job. Every time starts from the same scene: of a few steps' age, with the network traced.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from engine.bench.timing import Tick, in_turns, speedup
from engine.job import Job
from engine.machine import Peak
from engine.recipes.base import Recipe
from engine.together import Scene, Seat, Together
from engine.training import Training
from methods.base import Method
from methods.sdi import SDI
from priors.base import Prior
from prompts import Prompt
from scene.kernels.compiled import plain

PLACES = (0.0, 0.3, 0.55, 0.8)  # of progress: 10, 7, 5 and 3 steps of inversion


class Bench:
    """A young scene of a recipe, and steps of it at any place of the job."""

    def __init__(self, recipe: Recipe, prompt: Prompt, prior: Prior, device: str, age: int, tick: Tick):
        self.prior, self.device, self.tick = prior, device, tick
        self.job = Job(recipe, prompt, seed=0)
        self.training = Training(self.job, prior, device)
        for _ in range(age):
            self.training.advance()
            tick()
        self._open: list[tuple[str, float]] = []  # parts that run now, and the time of parts within them
        self.start = {name: tensor.clone() for name, tensor in self.training.tensors().items()}

    def put(self, training: Training, place: float) -> Training:
        """The training where the young scene was, at a place of its job."""
        facts = training.facts() | {"step": int(place * self.job.recipe.steps)}
        training.restore({name: tensor.clone() for name, tensor in self.start.items()}, facts)
        return training

    def of(self, recipe: Recipe) -> Training:
        """A training of another recipe, with the young scene in it."""
        return self.put(Training(replace(self.job, recipe=recipe), self.prior, self.device), 0.5)

    def against_twins(self, rounds: int) -> dict[str, Any]:
        """A mean step, of the four places. The twin has plain torch for a renderer, and the U-Net as it comes."""
        fast: list[list[float]] = []
        slow: list[list[float]] = []
        for place in PLACES:
            self.put(self.training, place)
            times = in_turns({"fast": self.training.advance, "plain": self._plain_step}, rounds, self.device, self.tick)
            fast.append(times["fast"])
            slow.append(times["plain"])
        sums = [[sum(column) for column in zip(*rows, strict=True)] for rows in (fast, slow)]
        mean = [[total / len(PLACES) for total in column] for column in sums]
        return speedup(*mean) | {"threads": torch.get_num_threads()}

    def _plain_step(self) -> None:
        with plain(), self.prior.untraced():
            self.training.advance()

    def parts(self, steps: int, places: tuple[float, ...] = PLACES) -> dict[str, float]:
        """Milliseconds of each part of a mean step; `harness` is the loop itself and all that is left."""
        rule, spent = type(self.job.recipe.method), dict.fromkeys(("render", "encode"), 0.0)
        for place in places:
            training = self.put(self.training, place)
            watched = [
                (training.scene, "render", "render"), (training.scene, "update", "render"),
                (self.prior, "encode", "encode"), (rule, "gradient", "guidance"),
                (torch.Tensor, "backward", "backward"), (training.optimizer, "step", "optimiser"),
                (training, "advance", "harness"),
            ]  # fmt: skip
            watched += [(rule, "noise_of", "inversion")] if hasattr(rule, "noise_of") else []
            watched += [(rule, "learn", "learning")] if rule.learn is not Method.learn else []
            with contextlib.ExitStack() as stack:
                for owner, name, part in watched:
                    stack.enter_context(self._timed(owner, name, part, spent))
                for _ in range(steps):
                    training.advance()
                    self.tick()
        return {part: 1e3 * value / (steps * len(places)) for part, value in spent.items()}

    @contextlib.contextmanager
    def _timed(self, owner: Any, name: str, part: str, spent: dict[str, float]) -> Iterator[None]:
        """Add the time of an object's or a class's function to a part's, without that of parts within it; what phi
        learns is one part."""
        own, call = name in vars(owner), getattr(owner, name)
        spent.setdefault(part, 0.0)

        def timed(*args: Any, **kwargs: Any) -> Any:
            if self._open and self._open[-1][0] == "learning":
                return call(*args, **kwargs)
            self._wait()
            start = time.perf_counter()
            self._open.append((part, 0.0))
            try:
                return call(*args, **kwargs)
            finally:
                self._wait()
                taken, (_, within) = time.perf_counter() - start, self._open.pop()
                spent[part] += taken - within
                if self._open:
                    outer, inner = self._open[-1]
                    self._open[-1] = outer, inner + taken

        setattr(owner, name, timed)
        try:
            yield
        finally:
            setattr(owner, name, call) if own else delattr(owner, name)

    def _wait(self) -> None:
        if torch.device(self.device).type == "cuda":
            torch.cuda.synchronize()

    def peak(self) -> dict[str, Any]:
        """Memory at its peak, over the first step, which has the most calls."""
        with Peak(self.device) as peak:
            self.put(self.training, 0.0).advance()
            self.tick()
            return {"peak_gb": peak.bytes / 1e9, "kind": peak.kind}

    def sweeps(self, rounds: int) -> dict[str, dict[str, float]]:
        """A step half-way, with one setting changed, as a multiple of one with none changed."""
        recipe = self.job.recipe
        assert isinstance(recipe.method, SDI)
        n, samples, steps = recipe.resolution, recipe.scene.samples, recipe.method.steps  # type: ignore[attr-defined]
        changes = {
            "resolution": {k: replace(recipe, resolution=k) for k in (n // 2, 2 * n)},
            "samples": {
                k: replace(recipe, scene=replace(recipe.scene, samples=k))  # type: ignore[arg-type, type-var]
                for k in (samples // 2, 2 * samples)
            },
            "inversion_steps": {
                k: replace(recipe, method=replace(recipe.method, steps=k)) for k in (steps // 2, 2 * steps)
            },
        }
        trainings = {"": self.of(recipe)} | {
            (name, value): self.of(changed) for name, values in changes.items() for value, changed in values.items()
        }
        times = in_turns({key: t.advance for key, t in trainings.items()}, rounds, self.device, self.tick)
        usual = statistics.median(times.pop(""))
        table: dict[str, dict[str, float]] = {name: {} for name in changes}
        for (name, value), taken in times.items():
            table[name][str(value)] = statistics.median(taken) / usual
        return table

    def together(self, rounds: int, counts: tuple[int, ...] = (1, 2, 4)) -> dict[str, dict[str, float]]:
        """Scenes an hour from one process, against how many it optimises together: of steps half-way."""
        steps, job = 2, self.job
        trainings = [self.of(job.recipe) for _ in range(max(counts))]

        def advance(training: Training, scene: Scene) -> None:
            training.prior = Seat(self.prior, scene)
            for _ in range(steps):
                training.advance()

        def run(n: int) -> None:
            scenes = Together()
            for k, training in enumerate(trainings[:n]):
                scenes.add(k, lambda scene, training=training: advance(self.put(training, 0.5), scene))  # type: ignore[misc]
            while scenes.live:
                for scene in scenes.round():
                    if scene.error:
                        raise scene.error

        for n in counts:
            run(n)  # so that every shape of the network's input has been seen
        times = in_turns({n: partial(run, n) for n in counts}, rounds, self.device, self.tick)
        step = {n: statistics.median(taken) / (n * steps) for n, taken in times.items()}
        hourly = {n: 3600 / (s * job.recipe.steps) for n, s in step.items()}
        return {str(n): {"scenes_per_hour": hourly[n], "speedup": step[counts[0]] / step[n]} for n in counts}
