"""The paper's ablations (2405.15891) as tables of recipes, which the ordinary loop carries out and scores.

A recipe's name is a folder of the run, its label what a figure calls it. In the known world, rows of a table differ in
what the label says and in nothing else, but for the weight of the gradient where rules change. In the paper's suite
each row has the published surroundings of the rule that it is made of.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track

from engine import machine, plan
from engine.job import Job, Setup
from engine.prior import identity, open_prior
from engine.queue import launch
from engine.recipes.base import Recipe
from engine.recipes.tables import recipe
from engine.remote.sharing import part_in
from engine.request import Request
from engine.scoring.judges import Judges
from engine.scoring.runs import at_once
from engine.store import Store
from engine.studies import canvas, kappa
from engine.studies.held import held
from engine.training import Training
from files import read_json, write_json
from methods.ism import ISM
from methods.sdi import SDI
from names import ABLATIONS, RECIPES, known
from priors.base import Prior
from prompts import Prompt
from say import say
from suites.base import Suite

Variants = dict[str, Recipe]  # by label
STRAWBERRY, TULIP, DRAGON = "A ripe strawberry", "A blue tulip", "A plush dragon toy"
WARM, TIMED = 8, 12  # steps before the clock starts, and while it runs; of a job at most a SHARE each
SHARE = 1 / 5
LENGTHS = (0.5, 1, 2, 5, 10)  # of a job's length
LONGER = ("sdi", "sds", "sds-cfg7.5", "sds-anneal", "vsd", "ism")
KAPPA_STEPS = 40  # of a canvas: SGD calls the network, forth and back, ten times a step

# 1 / RMS(g) in the controlled track, measured as the recipes' are (engine.calibrate), of the steps between ISM and SDI
BETWEEN_WEIGHTS = {"2-anneal": 6.51, "3-kappa": 0.76, "4-grid": 0.649}


@dataclass(frozen=True)
class Ground:
    """Where an ablation is made: on the recipes of a suite's first track, with an open prior; `steps` are those of the
    command line, for what multiplies them."""

    suite: Suite
    prior: Prior
    steps: int | None = None

    def recipe(self, name: str) -> Recipe:
        return recipe(self.suite.name, self.suite.track, name)


def _with(base: Recipe, name: str, **fields: object) -> Recipe:
    return replace(base, name=name, method=replace(base.method, **fields))  # type: ignore[arg-type]


def kappas(ground: Ground) -> Variants:
    """The five choices, on a canvas."""
    base = replace(canvas.on_canvas(ground.recipe("sdi"), ground.prior), steps=KAPPA_STEPS)
    sdi = base.method
    assert isinstance(sdi, SDI)
    return {
        label: replace(base, name=kappa.FOLDERS[label], method=kappa.with_kappa(sdi, choice))
        for label, choice in kappa.CHOICES.items()
    }


def canvases(ground: Ground) -> Variants:
    """DDIM and SDI with cached kappa, then every rule; SDI's two by the official 2D setting in the paper's track."""
    made = {name: canvas.on_canvas(ground.recipe(name), ground.prior) for name in RECIPES}
    sampled = replace(made["sdi"], steps=canvas.DDIM_STEPS)
    if ground.suite.track == "paper":
        made = {name: held(flat) for name, flat in made.items()}
    return {label: replace(sampled, name=name) for name, label in canvas.SAMPLES.items()} | made


def proposed(ground: Ground) -> Variants:
    """At SDI's guidance throughout. DreamFusion renders at the latents' size, SDI at the picture's."""
    sds, sdi = ground.recipe("sds-cfg7.5"), ground.recipe("sdi")
    return {
        "SDS": replace(sds, name="1-sds", resolution=ground.prior.latent_shape[-1]),
        "+ higher resolution": replace(sds, name="2-resolution", resolution=sdi.resolution),
        "+ t annealing": replace(ground.recipe("sds-anneal"), name="3-annealing"),
        "+ DDIM inversion": replace(sdi, name="4-inversion"),
    }


def inversion_cfg(ground: Ground) -> Variants:
    base = ground.recipe("sdi")
    return {
        f"inversion {inversion:g}, forward {forward:g}": _with(
            base, f"inversion{inversion:g}-forward{forward:g}", inversion_scale=inversion, scale=forward
        )
        for inversion in (-7.5, 0.0, 7.5)
        for forward in (1.0, 7.5, 15.0)
    }


def inversion_steps(ground: Ground) -> Variants:
    return {f"{n}": _with(ground.recipe("sdi"), f"steps{n:02d}", steps=n) for n in (3, 5, 10, 20, 30)}


def ism_to_sdi(ground: Ground) -> Variants:
    ism, sdi = ground.recipe("ism"), ground.recipe("sdi")
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
    if ground.suite.track == "controlled":
        between = {label: replace(r, guidance_weight=BETWEEN_WEIGHTS[r.name]) for label, r in between.items()}
    return {"ISM": replace(ism, name="1-ism"), **between, "+ inversion CFG -7.5 = SDI": replace(sdi, name="5-sdi")}


def diversity(ground: Ground) -> Variants:
    return {name: ground.recipe(name) for name in ("sdi", "sds-cfg7.5", "sds-anneal")}


def length(ground: Ground) -> Variants:
    """Schedules are fractions of a job, and keep their shape."""
    made: Variants = {}
    for name in LONGER:
        base = ground.recipe(name)
        for times in LENGTHS:
            steps = max(round(times * (ground.steps or base.steps)), 1)
            made[f"{name}, x{times:g}"] = replace(base, name=f"{name}-x{times:g}", steps=steps)
    return made


@dataclass(frozen=True)
class Ablation:
    """`rules`: those that its rows are made of; `own_steps`: rows differ in their length, which no command line
    overrides."""

    variants: Callable[[Ground], Variants]
    prompts: tuple[str, ...] = (STRAWBERRY, TULIP)
    seeds: tuple[int, ...] = (0,)
    rules: tuple[str, ...] = ("sdi",)
    own_steps: bool = False


TABLE = {
    "kappa": Ablation(kappas),
    "canvas": Ablation(canvases, rules=tuple(RECIPES)),
    "proposed": Ablation(proposed),
    "inversion-cfg": Ablation(inversion_cfg, (STRAWBERRY,)),
    "inversion-steps": Ablation(inversion_steps),
    "ism-to-sdi": Ablation(ism_to_sdi),
    "diversity": Ablation(diversity, (STRAWBERRY,), tuple(range(8))),
    "length": Ablation(length, (DRAGON,), rules=LONGER, own_steps=True),
}


def run(name: str, request: Request, chosen: Judges, console: Console) -> tuple[dict[str, str], bool]:
    """Do what is missing of an ablation, and score it. Returns the labels by recipe name, and whether no job crashed.
    Of a request without prompts or seeds, they are the ablation's own.

    Raises UserError for names nobody knows, priors that are not there, and folders of other settings."""
    ablation, suite = TABLE[known("ablation", name, ABLATIONS)], request.suite
    prompts = request.prompts or suite.select(ablation.prompts)
    seeds = request.seeds or ablation.seeds
    sdi = recipe(suite.name, suite.track, "sdi")
    every = [recipe(suite.name, suite.track, rule) for rule in ablation.rules]
    source, phi = plan.sources(request, every)
    device, folder = machine.device_of(request.device), request.out
    opened, checksum, prior = (
        plan.opened_by(suite, source, None),
        identity(source),
        open_prior(source, device, sdi.half),
    )
    made = ablation.variants(Ground(suite, prior, request.steps))
    asked = replace(request, steps=None) if ablation.own_steps else request
    variants = {label: changed(r, asked, sdi, phi) for label, r in made.items()}
    jobs = [Job(r, prompt, seed) for seed in seeds for prompt in prompts for r in variants.values()]
    setup = Setup(source, device, threads=1)
    missing = [
        job
        for job in jobs
        if not plan.is_done(folder, job, plan.decided(job.recipe, checksum, setup), request.overwrite)
    ]
    torch.set_num_threads(setup.threads)  # as in the processes of the jobs
    configs = {job.path: plan.config(job, source, checksum, setup, opened) for job in missing}
    say(console, f"{len(jobs)} jobs, {len(jobs) - len(missing)} of them done, in {folder}")
    sampled = [job for job in missing if job.recipe.name in canvas.SAMPLES]
    for job in track(sampled, "DDIM", console=console, disable=not sampled, transient=True):
        store = Store(folder, job)
        with store.opened(configs[job.path], wait=True) as found:
            if found is None:
                canvas.sample(job, prior, store, device)
    if name == "kappa":
        assert isinstance(sdi.method, SDI)
        kappa.measure_missing(folder, prior, checksum, sdi.method, prompts, seeds, console)
    optimised = [job for job in missing if job not in sampled]
    slots = machine.slots_of(request.jobs, device, len(optimised))
    records = launch(folder, optimised, configs, setup, slots, console, request.policy)
    part_in(folder).bring()
    scored, _ = at_once(folder, suite, chosen, request.where, console)
    for reason in scored.bad.values():
        say(console, reason, "red")
    if name == "inversion-steps":
        cost(folder, list(variants.values()), prompts[0], prior, device, console)
    labels = {r.name: label for label, r in variants.items()}
    return labels, not any(record["status"] == "crashed" for record in records.values())


def changed(made: Recipe, request: Request, sdi: Recipe, phi: str | None) -> Recipe:
    """A variant with what the request overrides. Of a resolution, rows keep their ratios to SDI's; a picture has its
    own, and one view; and what no optimiser makes its own steps."""
    steps = request.steps if made.name not in canvas.SAMPLES else None
    if made.orbit.views == 1:
        return made.changed(steps, phi=phi)
    asked = request.resolution
    small = max(asked * made.resolution // sdi.resolution, 1) if asked else None
    wide = made.changed(steps, asked, request.views, phi)
    return replace(wide, resolution=small) if small else wide


def cost(
    folder: Path, recipes: list[Recipe], prompt: Prompt, prior: Prior, device: str, console: Console
) -> dict[str, float]:
    """FOLDER/cost.json: seconds a job of each recipe takes by itself, from steps spread over its length. On a CPU
    in CPU time, which what else runs there does not lengthen."""
    path, clock = folder / "cost.json", time.process_time if device == "cpu" else time.perf_counter
    found: dict[str, float] = read_json(path) if path.exists() else {}
    missing = [made for made in recipes if made.name not in found]
    for made in track(missing, "cost", console=console, disable=not missing, transient=True):
        training = Training(Job(made, prompt, 0), prior, device)
        most = max(int(SHARE * made.steps), 1)
        warm, timed = min(WARM, most), min(TIMED, most)
        for _ in range(warm):
            training.advance()
        begin = clock()
        for k in range(timed):
            training.step = made.steps * k // timed
            training.advance()
        found[made.name] = (clock() - begin) / timed * made.steps
        write_json(path, found)
    return found
