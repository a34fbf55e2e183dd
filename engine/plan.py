"""From the command line's words to jobs: what is to be done, where, with what, and what is done already."""

from __future__ import annotations

import platform
from argparse import Namespace
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

import names
from engine import calibrate
from engine.job import Job, Setup
from engine.machine import commit, device_of, devices_of, slots_of, version_of
from engine.prior import WORLD, forget, identity, variants
from engine.recipes import budget
from engine.recipes.base import Recipe
from engine.recipes.outside import is_outside
from engine.recipes.variants import Variant, named, recipe_of
from engine.rehearsal import SIZES
from engine.store import FINAL, Store
from engine.weights import manifest as weights
from errors import UserError
from files import ROOT
from methods import ESD, VSD
from prompts import Prompt, held_out, select

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


def plan(options: Namespace, console: Console, rows: list[Variant] | None = None) -> Plan:
    """`rows` instead of those of `--methods` and `--tuned`. Measures guidance weights that nobody knows.

    Raises UserError for names nobody knows, priors that are not there, and folders of other settings."""
    track = track_of(options)
    rows = rows or named(options.methods, options.tuned, options.suite, track)
    made = [recipe_of(row, options.suite, track) for row in rows]
    prior, phi = sources(options, [r for r, _ in made])
    weights.refuse_wrong_variant(options.suite, prior, phi)
    device = device_of(options.device)
    run = Path(options.out) if options.out else ROOT / "results" / "runs" / default_name(options, track)
    chosen = prompts_of(options, run)
    checksum = identity(prior)
    recipes = [
        calibrate.measured(run, r, prior, weights_of(r, checksum), device, console) if unknown else r
        for r, unknown in made
    ]
    forget()  # the jobs' processes have their own
    recipes = [replace(r, lr=row.lr or r.lr) for r, row in zip(recipes, rows, strict=True)]
    recipes = [r.changed(options.steps, options.resolution, options.views, phi) for r in recipes]
    if options.budget:
        recipes = [within(options.budget, r, console) for r in recipes]
    jobs = [Job(r, prompt, seed) for seed in options.seeds for prompt in chosen for r in recipes]
    missing = [job for job in jobs if not is_done(run, job, weights_of(job.recipe, checksum), options.overwrite)]
    setup = Setup(prior, device=",".join(devices_of(options.device)), threads=1, together=options.together)
    configs = {job.path: config(job, prior, checksum, setup) for job in missing}
    return Plan(
        run,
        jobs,
        missing,
        configs,
        setup,
        slots_of(options.jobs, setup.device, -(-len(missing) // options.together), (prior, phi)),
        checksum,
    )


def sources(options: Namespace, recipes: list[Recipe]) -> tuple[str, str | None]:
    """The prior, and what the students of VSD and ESD start as where that is another. Those that `fetch` brought go
    together: a prior of one's own is its own student's start.

    Raises UserError where they are not there."""
    if options.prior or options.suite == "world":
        return options.prior or str(WORLD), options.phi
    prior = weights.needed("sd21-base", "--prior")
    learns = any(isinstance(r.method, VSD | ESD) for r in recipes)
    return prior, weights.needed("sd21", "--phi") if learns and not options.phi else options.phi


def track_of(options: Namespace) -> str:
    return options.track or ("controlled" if options.suite == "world" else "paper")


def prompts_of(options: Namespace, run: Path) -> tuple[Prompt, ...]:
    """The prompts asked for; those on which settings were tuned are left out beside tuned rows.

    Raises UserError where none is left, and where the run has results of such prompts."""
    chosen = select(options.suite, options.prompts)
    if options.tuned:
        apart = held_out(options.suite)
        if not set(chosen) - set(apart):
            raise UserError("All these prompts are those that settings are tuned on: give --tuned others.")
        if any(list(run.glob(f"[!.]*/{prompt.id}")) for prompt in apart):
            raise UserError(f"{run} holds results of prompts that settings are tuned on: give another --out.")
        chosen = tuple(prompt for prompt in chosen if prompt not in apart)
    return chosen[: options.limit]


def within(nfe: int, recipe: Recipe, console: Console) -> Recipe:
    """The recipe with the steps that the budget pays for, which are printed."""
    made, calls = budget.steps_for(recipe, nfe, console)
    console.print(f"{made.name}: {made.steps} steps, {calls} calls of the network", highlight=False, markup=False)
    return made


def default_name(options: Namespace, track: str) -> str:
    """A folder for each setting, so that the same command finds what it left."""
    usual: dict[str, int] = SIZES if options.rehearse else {"views": 50}

    def said(*names: str) -> list[str]:
        values = ((name, getattr(options, name)) for name in names)
        return [f"{name}{value}" for name, value in values if value not in (None, usual.get(name))]

    parts = [options.suite, track, *said("steps", "resolution")]
    parts += [f"nfe{options.budget}"] if options.budget else []
    parts += ["tuned"] if options.tuned else []
    parts += said("views")
    parts += [Path(options.prior).name.replace(":", "-")] if options.prior else []
    parts += [f"phi-{Path(options.phi).name}"] if options.phi else []
    parts += ["rehearse"] if options.rehearse else []
    return "-".join(parts)


def weights_of(recipe: Recipe, checksum: str) -> str:
    """What identifies all weights a job reads: the prior's, and those that its student starts as."""
    phi = getattr(recipe.method, "phi", "")
    return f"{checksum} {identity(phi)}" if phi else checksum


def is_done(run: Path, job: Job, checksum: str, overwrite: bool) -> bool:
    """Whether the job's folder holds its result; a folder of other settings is an error, or replaced."""
    store = Store(run, job)
    record = store.record()
    if record is None or record.get("status") not in FINAL:
        return False
    if store.key() == job.key(checksum):
        return True
    if overwrite:
        return False
    raise UserError(
        f"{store.final} holds a result of other settings: give another --out, or --overwrite to replace it."
    )


def config(job: Job, prior: str, checksum: str, setup: Setup) -> dict[str, Any]:
    """config.json: what the job is, and what it was made with."""
    return {
        "key": job.key(weights_of(job.recipe, checksum)),
        **job.settings,
        "prompt_id": job.prompt.id,
        "prior": {"name": prior, "checksum": checksum, "variants": variants(prior)},
        "device": setup.device,
        "threads": setup.threads,
        "commit": commit(),
        "python": platform.python_version(),
        "versions": {name: version_of(name) for name in PACKAGES},
    }


def check_names(options: Namespace) -> None:
    """All that can be refused before torch is imported."""
    names.known("suite", options.suite, names.SUITES)
    if options.track:
        names.known("track", options.track, names.TRACKS)
    for method in (m for m in options.methods if not is_outside(m)):
        names.known("method", method, names.RECIPES)
    select(options.suite, options.prompts)
