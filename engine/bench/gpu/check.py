"""Whether kernels, graphs and rules hold on a device, and what a step of each rule of Table 1 costs there.

Rules run their papers' recipes with Stable Diffusion 2.1's architectures and random weights: the cost is theirs, the
pictures are nothing. Relative errors and shares of zeros are of those weights, too.
"""

from __future__ import annotations

import csv
import gc
import platform
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from engine.bench import kernels
from engine.bench.floor import floor
from engine.bench.gpu import captures
from engine.bench.gpu.page import Page, Row
from engine.bench.step import PLACES, Bench
from engine.bench.timing import seconds
from engine.job import Job
from engine.machine import Peak, be_deterministic, commit, version_of
from engine.prior import forget, open_prior
from engine.recipes.tables import recipe
from engine.training import Training
from files import ROOT
from methods.base import phi_of
from names import RANDOM
from priors.base import Prior
from scene.kernels.compiled import proven, serves
from scene.probes import PROBES, apart, errors
from suites.base import Suite
from suites.paper import PAPER
from suites.world import WORLD

PACKAGES = ("torch", "triton", "diffusers", "transformers", "peft", "numpy")
TABLE_1 = ROOT / "results/published/table1.csv"  # read without pandas, which may not be here
PROMPT, PROMPTS = "A ripe strawberry", 43  # that of every row, and the number in the paper's table
PROMISED = ("sdi", "vsd")  # resumed, equal bit by bit: of those with and without a student
HALVED = ("sds", "sdi", "hifa", "vsd", "esd")


Measure = Callable[[str, str, float, Callable[[], Row]], Row | None]


@dataclass(frozen=True)
class Size:
    """How much is measured: the suite whose paper track is run, on which prior; sizes of problems; steps until a rule
    is warm, and taken at each place of a job; updates of phi; rules in both precisions; whether rows are skipped where
    time is short."""

    suite: Suite
    prior: str
    points: tuple[int, ...]
    warm: int
    taken: int
    updates: int
    stopped: int  # steps after which a job is restored
    places: tuple[float, ...] = PLACES
    halved: tuple[str, ...] = HALVED
    resolution: int | None = None
    timed: bool = True


FULL = Size(PAPER, RANDOM, (0, 1, 127, 1000, 65_537, 300_001), warm=6, taken=3, updates=10, stopped=3)
SMALL = Size(
    WORLD, str(WORLD.prior), (0, 1, 129), warm=1, taken=1, updates=1, stopped=1,
    places=(0.0, 0.8), halved=("sds", "vsd"), resolution=16, timed=False,
)  # fmt: skip


def run(page: Page, device: str, size: Size) -> None:
    """All parts, the cheap and the decisive ones first. Rules with the network in half precision come first, so that
    either network is opened once."""
    be_deterministic()
    torch.set_num_threads(1)
    measure = page.measure if size.timed else page.measure_anyhow
    found = machine(device)
    measure("machine", found.pop("name"), 0, lambda: found)
    for kernel in PROBES:
        measure("kernels against their twins", kernel, 15, partial(of_kernel, kernel, device, size.points))
    for case in captures.CASES if device != "cpu" else ("good",):
        measure("CUDA graphs", case, 30, partial(captures.of_case, case, device))
    if (good := page.found("CUDA graphs", "good")) and good["graphs"]:
        captures.allow()  # in torch versions, too, in which only a capture that fails does harm
    jobs = jobs_of(size)
    for job in (job for job in jobs.values() if job.recipe.half):
        measure("rules", job.recipe.name, 50, partial(of_rule, job, device, size))
    _halves(measure, jobs, device, size)
    for job in (job for job in jobs.values() if not job.recipe.half):
        measure("rules", job.recipe.name, 50, partial(of_rule, job, device, size))
    for name in (*PROMISED, "sjc"):
        measure("resumed", name, 20, partial(resumed, jobs[name], device, size))
    measure("speed", "hash", 15, lambda: kernels.hash_encoding(device, max(size.points), 3, lambda: None))
    measure("speed", "others", 15, lambda: _others(device, 128 if size.timed else 16))
    forget()


def _others(device: str, side: int) -> Row:
    found = kernels.others(device, side, 3, lambda: None)
    return {name: {key: row[key] for key in ("speedup", "fast_ms", "error")} for name, row in found.items()}


def jobs_of(size: Size) -> dict[str, Job]:
    """A job of each rule of Table 1, by name."""
    recipes = {name: recipe(size.suite.name, "paper", name) for name in published()}
    (prompt,) = size.suite.select([PROMPT])
    return {name: Job(r.changed(resolution=size.resolution), prompt, seed=0) for name, r in recipes.items()}


def machine(device: str) -> Row:
    cuda = torch.device(device).type == "cuda"
    found: Row = {"name": Peak(device).device, "commit": commit(), "python": platform.python_version()}
    if cuda:
        card = torch.cuda.get_device_properties(device)
        found |= {"GB": card.total_memory / 1e9, "capability": f"{card.major}.{card.minor}", "cuda": torch.version.cuda}
    return found | {name: version_of(name) for name in PACKAGES}


def of_kernel(kernel: str, device: str, points: tuple[int, ...]) -> Row:
    """The worst error of each number of points and of what it is; and whether start-up lets the kernel serve, in single
    precision alone."""
    found = {n: dict(errors(kernel, device, n, seed=n)) for n in points if kernel != "march" or n < 100_000}
    place = torch.device("cuda", torch.cuda.current_device()) if device != "cpu" else torch.device("cpu")
    others = [torch.zeros(2, 2, device=place, dtype=dtype) for dtype in (torch.float64, torch.float16, torch.bfloat16)]
    worst = {what: max(by_name[what] for by_name in found.values()) for what in found[points[0]]}
    return {
        "worst error": worst,
        "of points": {str(n): max(by_name.values()) for n, by_name in found.items()},
        "serves": proven(kernel, place),
        "serves other dtypes": any(serves(kernel, v) for v in others),
    }


def published() -> dict[str, dict[str, float]]:
    """Minutes and GB of Table 1, by the names of our rules."""
    with TABLE_1.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {row["method"].lower(): {"min": float(row["time_min"]), "GB": float(row["vram_gb"])} for row in rows}


def of_rule(job: Job, device: str, size: Size) -> Row:
    """A young scene's step: its cost falls as the scene empties, so that hours are an upper bound."""
    made, prior = job.recipe, open_prior(size.prior, device, job.recipe.half)
    network = prior._traced  # type: ignore[attr-defined]
    network.forget()
    gc.collect()
    with Peak(device) as peak:
        bench = Bench(made, job.prompt, prior, device, size.warm, lambda: None)
        most = peak.bytes / 1e9
    step = {place: _step(bench, place, device, size.taken) for place in size.places}
    mean = statistics.mean(step.values())
    least, parts = floor(bench), bench.parts(1, size.places)
    total = sum(parts.values())
    hours, said = mean * made.steps / 3600, published()[made.name]
    return {
        "seconds a step": mean,
        "at progress": {str(place): value for place, value in step.items()},
        "peak GB": most,
        "published GB": said["GB"],
        "minutes a job": 60 * hours,
        "published minutes": said["min"],
        "hours a table": PROMPTS * hours,
        "steps": made.steps,
        "share by part": {part: value / total for part, value in parts.items()},
        "TFLOP": least["tflop"],
        "TFLOP/s of the device": least["tflop_per_s"],
        "share of the floor": least["share"],
        "half": made.half,
        "graphs": len(network._traces),
    }


def _step(bench: Bench, place: float, device: str, taken: int) -> float:
    training = bench.put(bench.training, place)
    return statistics.median(seconds(training.advance, device) for _ in range(taken))


def _halves(measure: Measure, jobs: dict[str, Job], device: str, size: Size) -> None:
    """Half precision beside single, of the same step; both networks are on the device meanwhile."""

    @cache
    def both() -> tuple[Prior, Prior]:
        return _in_half(size, device), open_prior(size.prior, device, False)

    def task(name: str) -> Row:
        return of_halves(jobs[name], *both(), device, size.updates)

    for name in size.halved:
        measure("half precision", name, 20, partial(task, name))


def _in_half(size: Size, device: str) -> Prior:
    """On a CPU, which has no faster half precision, in bfloat16."""
    if device != "cpu":
        return open_prior(size.prior, device, True)
    from priors import stable_diffusion

    return stable_diffusion.load(size.prior, device, torch.bfloat16)


def of_halves(job: Job, half: Prior, full: Prior, device: str, updates: int) -> Row:
    """How far the rule's first gradient is from single precision's; and of phi's adapters, after some updates, the
    share of gradients that are exactly zero, in either."""
    a, b = (first_gradient(job, prior, device).float() for prior in (half, full))
    row: Row = {"gradient's relative error": ((a - b).norm() / b.norm()).item(), "finite": bool(a.isfinite().all())}
    if phi_of(job.recipe.method) is not None:
        for name, prior in {"zeros in half": half, "zeros in single": full}.items():
            row[name] = zero_share(job, prior, device, updates)
    return row


def first_gradient(job: Job, prior: Prior, device: str) -> Tensor:
    """What the rule gives in the job's first step."""
    rule, seen = type(job.recipe.method), []
    training, call, own = Training(job, prior, device), rule.gradient, "gradient" in vars(rule)

    def kept(*arguments: Any) -> Any:
        guidance = call(*arguments)
        seen.append(guidance.latent.detach().clone())
        return guidance

    setattr(rule, "gradient", kept)  # noqa: B010 - a class's, put back below
    try:
        training.advance()
    finally:
        setattr(rule, "gradient", call) if own else delattr(rule, "gradient")
    return seen[0]


def zero_share(job: Job, prior: Prior, device: str, updates: int) -> float:
    """Of the gradients of phi's adapters after a number of steps: those that underflowed, as adapters start at zero on
    one side alone and have moved by then."""
    training = Training(job, prior, device)
    for _ in range(updates):
        training.advance()
    phi: Any = training.state
    found = [p.grad for name, p in phi.parameters.items() if "lora_" in name and p.grad is not None]
    return sum(int((g == 0).sum()) for g in found) / max(sum(g.numel() for g in found), 1)


def resumed(job: Job, device: str, size: Size) -> Row:
    """A job that was stopped half-way and restored, beside one that was not: equal bits, where they are promised."""
    prior = open_prior(size.prior, device, False)
    whole, first, again = (Training(job, prior, device) for _ in range(3))
    for _ in range(2 * size.stopped):
        whole.advance()
    for _ in range(size.stopped):
        first.advance()
    again.restore({name: tensor.clone() for name, tensor in first.tensors().items()}, first.facts())
    for _ in range(size.stopped):
        again.advance()
    pairs = [(again.tensors()[name], tensor) for name, tensor in whole.tensors().items() if tensor.is_floating_point()]
    return {
        "equal": all(torch.equal(a, b) for a, b in pairs),
        "promised": job.recipe.name in PROMISED,
        "largest difference": max(apart(a, b) for a, b in pairs),
    }
