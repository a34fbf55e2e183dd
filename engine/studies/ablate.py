"""The paper's ablations (2405.15891) as tables of recipes, which the ordinary loop carries out and scores.

A recipe's name is a folder of the run, its label what a figure calls it. Rows of a table differ in what the label says
and in nothing else, but for the weight of the gradient where rules change.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track

from engine import judges, machine, plan
from engine.job import Job, Setup
from engine.prior import identity, open_prior
from engine.queue import launch
from engine.recipes.base import Recipe
from engine.recipes.tables import recipe
from engine.request import Request
from engine.store import Store
from engine.studies import canvas, kappa
from engine.training import Training
from eval.score import score_run
from files import read_json, write_json
from methods.ism import ISM
from methods.sdi import SDI
from names import ABLATIONS, RECIPES, known
from priors.base import Prior
from prompts import Prompt
from say import plain, say
from suites.world import WORLD

Variants = dict[str, Recipe]  # by label
STRAWBERRY, TULIP = "A ripe strawberry", "A blue tulip"
WARM, TIMED = 8, 12  # steps before the clock starts, and while it runs
KAPPA_STEPS = 40  # of a canvas: SGD calls the network, forth and back, ten times a step

# 1 / RMS(g), measured as the recipes' are (engine.calibrate), of the steps between ISM and SDI
BETWEEN_WEIGHTS = {"2-anneal": 2.2, "3-kappa": 0.214, "4-grid": 0.223}


def controlled(name: str) -> Recipe:
    return recipe("world", "controlled", name)


def _with(base: Recipe, name: str, **fields: object) -> Recipe:
    return replace(base, name=name, method=replace(base.method, **fields))  # type: ignore[arg-type]


def kappas(prior: Prior) -> Variants:
    """The five choices, on a canvas."""
    base = replace(canvas.on_canvas(controlled("sdi"), prior), steps=KAPPA_STEPS)
    sdi = base.method
    assert isinstance(sdi, SDI)
    return {
        label: replace(base, name=kappa.FOLDERS[label], method=kappa.with_kappa(sdi, choice))
        for label, choice in kappa.CHOICES.items()
    }


def canvases(prior: Prior) -> Variants:
    """DDIM and SDI with cached kappa, then every rule."""
    made = {name: canvas.on_canvas(controlled(name), prior) for name in RECIPES}
    sampled = replace(made["sdi"], steps=canvas.DDIM_STEPS)
    return {label: replace(sampled, name=name) for name, label in canvas.SAMPLES.items()} | made


def proposed(prior: Prior) -> Variants:
    """At SDI's guidance throughout. DreamFusion renders at the latents' size, SDI at the picture's."""
    sds = controlled("sds-cfg7.5")
    small = replace(sds, name="1-sds", resolution=prior.latent_shape[-1])
    return {
        "SDS": small,
        "+ higher resolution": replace(sds, name="2-resolution"),
        "+ t annealing": replace(controlled("sds-anneal"), name="3-annealing"),
        "+ DDIM inversion": replace(controlled("sdi"), name="4-inversion"),
    }


def inversion_cfg(prior: Prior) -> Variants:
    base = controlled("sdi")
    return {
        f"inversion {inversion:g}, forward {forward:g}": _with(
            base, f"inversion{inversion:g}-forward{forward:g}", inversion_scale=inversion, scale=forward
        )
        for inversion in (-7.5, 0.0, 7.5)
        for forward in (1.0, 7.5, 15.0)
    }


def inversion_steps(prior: Prior) -> Variants:
    return {f"{n}": _with(controlled("sdi"), f"steps{n:02d}", steps=n) for n in (3, 5, 10, 20, 30)}


def ism_to_sdi(prior: Prior) -> Variants:
    ism, sdi = controlled("ism"), controlled("sdi")
    assert isinstance(ism.method, ISM)
    assert isinstance(sdi.method, SDI)
    annealed = _with(ism, "2-anneal", anneal=True, t_max_early=sdi.method.t_range[0], t_range=sdi.method.t_range[::-1])
    whole = _with(sdi, "3-kappa", steps=5, inversion_scale=0.0, eta=0.0, tau=0.0)
    finer = _with(sdi, "4-grid", inversion_scale=0.0)
    between = {
        "+ t annealing": annealed,
        "+ κ from the render": whole,
        "+ 10 steps, extra noise": finer,
    }
    weighted = {label: replace(r, guidance_weight=BETWEEN_WEIGHTS[r.name]) for label, r in between.items()}
    return {"ISM": replace(ism, name="1-ism"), **weighted, "+ inversion CFG -7.5 = SDI": replace(sdi, name="5-sdi")}


def diversity(prior: Prior) -> Variants:
    return {name: controlled(name) for name in ("sdi", "sds-cfg7.5", "sds-anneal")}


@dataclass(frozen=True)
class Ablation:
    variants: Callable[[Prior], Variants]
    prompts: tuple[str, ...] = (STRAWBERRY, TULIP)
    seeds: tuple[int, ...] = (0,)


TABLE = {
    "kappa": Ablation(kappas),
    "canvas": Ablation(canvases),
    "proposed": Ablation(proposed),
    "inversion-cfg": Ablation(inversion_cfg, (STRAWBERRY,)),
    "inversion-steps": Ablation(inversion_steps),
    "ism-to-sdi": Ablation(ism_to_sdi),
    "diversity": Ablation(diversity, (STRAWBERRY,), tuple(range(8))),
}


def run(name: str, request: Request, console: Console) -> tuple[dict[str, str], bool]:
    """Do what is missing of an ablation, and score it. Returns the labels by recipe name, and whether no job crashed.
    Of a request without prompts or seeds, they are the ablation's own.

    Raises UserError for names nobody knows, priors that are not there, and folders of other settings."""
    ablation = TABLE[known("ablation", name, ABLATIONS)]
    chosen = request.prompts or WORLD.select(ablation.prompts)
    seeds = request.seeds or ablation.seeds
    source, device, folder = request.prior or str(WORLD.prior), machine.device_of(request.device), request.out
    checksum, prior = identity(source), open_prior(source, device)
    variants = {
        label: r.changed(request.steps if r.name not in canvas.SAMPLES else None, views=_views(request, r))
        for label, r in ablation.variants(prior).items()
    }
    jobs = [Job(r, prompt, seed) for seed in seeds for prompt in chosen for r in variants.values()]
    setup = Setup(source, device, threads=1)
    missing = [
        job
        for job in jobs
        if not plan.is_done(folder, job, plan.decided(job.recipe, checksum, setup), request.overwrite)
    ]
    torch.set_num_threads(setup.threads)  # as in the processes of the jobs
    configs = {job.path: plan.config(job, source, checksum, setup) for job in missing}
    say(console, f"{len(jobs)} jobs, {len(jobs) - len(missing)} of them done, in {folder}")
    sampled = [job for job in missing if job.recipe.name in canvas.SAMPLES]
    for job in track(sampled, "DDIM", console=console, disable=not sampled, transient=True):
        store = Store(folder, job)
        with store.opened(configs[job.path]) as found:
            if found is None:
                canvas.sample(job, prior, store, device)
    if name == "kappa":
        kappa.measure_missing(folder, prior, checksum, chosen, seeds, console)
    optimised = [job for job in missing if job not in sampled]
    slots = machine.slots_of(request.jobs, device, len(optimised))
    records = launch(folder, optimised, configs, setup, slots, console)
    score(folder, console)
    if name == "inversion-steps":
        cost(folder, list(variants.values()), chosen[0], prior, device, console)
    labels = {r.name: label for label, r in variants.items()}
    return labels, not any(record["status"] == "crashed" for record in records.values())


def score(folder: Path, console: Console) -> None:
    scorer = judges.scorer_of(WORLD, judges.judges_of(WORLD))
    with console.status("Scoring") as status:

        def told(job: Path, new: bool) -> None:
            status.update(plain(f"Scored {job.relative_to(folder)}"))

        scored = score_run(folder, scorer, told, judges.truths_of(WORLD))
    for reason in scored.bad.values():
        say(console, reason, "red")


def cost(
    folder: Path, recipes: list[Recipe], prompt: Prompt, prior: Prior, device: str, console: Console
) -> dict[str, float]:
    """FOLDER/cost.json: seconds a job of each recipe takes by itself, from TIMED steps spread over its length. On a CPU
    in CPU time, which what else runs there does not lengthen."""
    path, clock = folder / "cost.json", time.process_time if device == "cpu" else time.perf_counter
    found: dict[str, float] = read_json(path) if path.exists() else {}
    missing = [made for made in recipes if made.name not in found]
    for made in track(missing, "cost", console=console, disable=not missing, transient=True):
        training = Training(Job(made, prompt, 0), prior, device)
        for _ in range(WARM):
            training.advance()
        begin = clock()
        for k in range(TIMED):
            training.step = made.steps * k // TIMED
            training.advance()
        found[made.name] = (clock() - begin) / TIMED * made.steps
        write_json(path, found)
    return found


def _views(request: Request, made: Recipe) -> int | None:
    """A canvas has one view."""
    return None if made.orbit.views == 1 else request.views
