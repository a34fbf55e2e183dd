"""From a request to jobs: what is to be done, where, with what, and what is done already."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine import calibrate
from engine.executors import executor_of
from engine.executors.base import Executor
from engine.job import Job, Setup
from engine.machine import commit, device_of, version_of
from engine.prior import forget, identity, parts_of, settings_of, variants, with_adapter
from engine.recipes import budget, tuned
from engine.recipes.base import Recipe
from engine.recipes.scenes import on_scene
from engine.recipes.variants import Variant, named, recipe_of
from engine.request import Policy, Request
from engine.store import FINAL, Store
from engine.weights import manifest as weights
from errors import UserError
from methods.base import phi_of
from names import TUNED
from say import Console, say
from scene.gaussians import GaussiansConfig
from scene.splatting import installed
from suites.base import Suite

PACKAGES = ("torch", "diffusers", "transformers", "safetensors", "numpy")


@dataclass(frozen=True)
class Plan:
    """A run: its folder, its jobs in order, those not done yet with what is written into their folders, and how."""

    run: Path
    jobs: list[Job]
    missing: list[Job]
    configs: dict[Path, dict[str, Any]]
    setup: Setup
    slots: int
    checksum: str  # of the prior
    policy: Policy
    executor: Executor
    here: str  # the device of what is done on this machine beside the jobs


def plan(request: Request, console: Console, rows: list[Variant] | None = None) -> Plan:
    """`rows` instead of those of the request's methods. Measures guidance weights that nobody knows.

    Raises UserError for names nobody knows, priors that are not there, and folders of other settings."""
    suite, track, run = request.suite, request.track, request.out
    executor = executor_of(request.executor, request.address)
    jobs_device = executor.device(request.device)
    rows = rows or named(request.methods, request.tuned, suite.name, track, request.scene)
    made = [(on_scene(r, request.scene), unknown) for r, unknown in (recipe_of(row, suite.name, track) for row in rows)]
    prior, phi = sources(request, [r for r, _ in made])
    opened = opened_by(suite, prior, request.lora)
    prior = with_adapter(prior, request.lora)
    device = device_of(request.where.here)
    refuse_tuned_on(request)
    checksum = identity(prior)
    if track == TUNED:
        tuned.refuse_other_prior(suite.name, request.methods, checksum)
    if device != "cpu" and not installed() and any(isinstance(r.scene, GaussiansConfig) for r, _ in made):
        say(
            console,
            "gsplat is not installed: Gaussians are drawn by plain torch, slowly (pip install gsplat)",
            "yellow",
        )
    recipes = [
        calibrate.measured(run, r, prior, weights_of(r, checksum), device, console) if unknown else r
        for r, unknown in made
    ]
    forget()  # the jobs' processes have their own
    recipes = [replace(r, lr=row.lr or r.lr) for r, row in zip(recipes, rows, strict=True)]
    recipes = [r.changed(request.steps, request.resolution, request.views, phi) for r in recipes]
    if request.budget:
        recipes = [within(request.budget, r, console) for r in recipes]
    jobs = [Job(r, prompt, seed) for seed in request.seeds for prompt in request.prompts for r in recipes]
    setup = Setup(prior, device=jobs_device, threads=1, together=request.together)
    missing = [job for job in jobs if not is_done(run, job, decided(job.recipe, checksum, setup), request.overwrite)]
    configs = {job.path: config(job, prior, checksum, setup, opened) for job in missing}
    slots = executor.room(request.jobs, setup.device, -(-len(missing) // request.together), (parts_of(prior)[0], phi))
    return Plan(run, jobs, missing, configs, setup, slots, checksum, request.policy, executor, device)


def sources(request: Request, recipes: list[Recipe]) -> tuple[str, str | None]:
    """The prior, and what the students of VSD and ESD start as where that is another. Those that `fetch` brought go
    together: a prior of one's own is its own student's start.

    Raises UserError where they are not there, or where one is not what it has to be."""
    suite, learns = request.suite, any(phi_of(r.method) is not None for r in recipes)
    prior, phi = request.prior, request.phi
    if not prior:
        prior = weights.needed(suite.prior, "--prior")
        phi = phi or (weights.needed(suite.phi, "--phi") if suite.phi and learns else None)
    if suite.phi and request.prior:
        weights.refuse_wrong_phi(phi)
    elif suite.phi:
        weights.refuse_wrong_variant(prior, phi)
    return prior, phi


def refuse_tuned_on(request: Request) -> None:
    """Raises UserError where a run with rows of tuned settings holds results of prompts that they were tuned on."""
    if (request.tuned or request.track == TUNED) and any(
        list(request.out.glob(f"[!.]*/{p.id}")) for p in request.suite.tuned_on
    ):
        raise UserError(f"{request.out} holds results of prompts that settings are tuned on: give another --out.")


def within(nfe: int, recipe: Recipe, console: Console) -> Recipe:
    """The recipe with the steps that the budget pays for, which are printed."""
    made, calls = budget.steps_for(recipe, nfe, console)
    say(console, f"{made.name}: {made.steps} steps, {calls} calls of the network")
    return made


def weights_of(recipe: Recipe, checksum: str) -> str:
    """What identifies all weights a job reads: the prior's, and those that its student starts as."""
    phi = phi_of(recipe.method)
    return f"{checksum} {identity(phi)}" if phi else checksum


def decided(recipe: Recipe, checksum: str, setup: Setup) -> str:
    """What decides a scene besides its job: all weights, and, on a GPU, that it is one and how many scenes share its
    calls, whose rows are rounded otherwise in a larger batch. On a CPU each has calls of its own."""
    kind = setup.device.partition(":")[0]
    return weights_of(recipe, checksum) + ("" if kind == "cpu" else f" {kind}, {setup.together} together")


def is_done(run: Path, job: Job, decides: str, overwrite: bool) -> bool:
    """Whether the job's folder holds its result; a folder of other settings is an error, or replaced."""
    store = Store(run, job)
    record = store.record()
    if record is None or record.get("status") not in FINAL:
        return False
    if store.key(record) == job.key(decides):
        return True
    if overwrite:
        return False
    raise UserError(
        f"{store.final} holds a result of other settings, or of another version of its rule: "
        "give another --out, or --overwrite to replace it."
    )


def opened_by(suite: Suite, prior: str, lora: str | None) -> str:
    """Why results of a suite with published figures are open, not to be compared with them; "" where they are not."""
    reasons = [f"predicts with the adapter {Path(lora).name}"] if lora else []
    reasons += [said] if (said := weights.unlike_base(settings_of(prior))) else []
    reasons += [said] if (said := weights.unlike_vae(settings_of(prior))) else []
    return " and ".join(reasons) if suite.phi else ""


def config(job: Job, prior: str, checksum: str, setup: Setup, opened: str = "") -> dict[str, Any]:
    """config.json: what the job is, and what it was made with. `opened`: why its results are open."""
    return {
        "key": job.key(decided(job.recipe, checksum, setup)),
        **job.settings,
        "prompt_id": job.prompt.id,
        "prior": {"name": prior, "checksum": checksum, "variants": variants(prior)}
        | ({"open": opened} if opened else {}),
        "device": setup.device,
        "threads": setup.threads,
        "commit": commit(),
        "python": platform.python_version(),
        "versions": {name: version_of(name) for name in PACKAGES},
    }
