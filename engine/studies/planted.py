"""Faults planted one at a time, each in a process of its own: does the gate see them, and as what?

    python -m engine.studies.planted CLEAN --baseline REF --out DIR --page docs/planted-defects.md

CLEAN is a run that the reference was made of; its jobs of the first seed are done again with each fault (of a fault in
how views are made or scored, only that), method after method, the cheapest first, until the gate fails: what more
methods would show cannot mend it. The jobs of methods not done so are CLEAN's, as if the fault left them alone. The
same command again does what is missing. The gate knows nothing of this list.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch as put

import torch
import torch.nn.functional as F
from rich.progress import track
from torch import Tensor

import engine.training
import engine.views
import eval.score
import methods.sdi
import methods.sds
import methods.target
import priors.guidance
from engine import judges, optimize
from engine import prior as priors_of
from engine.machine import be_deterministic, device_of
from engine.plan import plan
from engine.recipes.base import Orbit
from engine.request import Request
from engine.store import Store
from errors import UserError
from eval.score import score_run
from files import ROOT, read_json, write_json, write_text
from methods.timesteps import linear
from priors.guidance import guided_eps
from priors.schedule import Schedule
from priors.stable_diffusion import StableDiffusion
from reports import gate
from reports.gate.judge import BAD
from reports.gate.reference import read
from reports.markdown import pipes
from say import Console, say
from scene.cameras import Render
from scene.nerf import NeRF
from suites import suite_named

TRAINING, VIEWS, SCORING = "training", "views", "scoring"
ALL, SDI = ("sds", "sdi"), ("sdi",)
SCALE = 0.18215  # of Stable Diffusion's latents
LEAK = 0.2  # of the background that shows through what is solid
SWAPPED = "A ripe strawberry"


@dataclass(frozen=True)
class Defect:
    """`plant` puts the fault in place of what is right, in this process; what it touches is done again."""

    name: str
    where: str
    plant: Callable[[], None]
    methods: tuple[str, ...] = ALL
    prompts: int | None = None  # how many of the prompts it touches; None: all


def _stays(target: Any, name: str, made: Any) -> None:
    put.object(target, name, made).start()


def _guided(change: Callable[[float], float]) -> Callable[[], None]:
    """CFG of another scale, wherever a rule asks for it."""

    def changed(prior: Any, x_t: Tensor, t: Tensor, text: Any, cameras: Any, scale: float, perp_neg: bool = False):
        return guided_eps(prior, x_t, t, text, cameras, change(scale), perp_neg)

    def plant() -> None:
        for module in (methods.sds, methods.target):
            _stays(module, "guided_eps", changed)

    return plant


def _alpha_off() -> None:
    right = Schedule.at
    _stays(Schedule, "at", lambda self, t: right(self, (t + 100).clamp(max=len(self) - 1)))


def _not_inverted() -> None:
    from priors.schedule import randn_like

    _stays(methods.sdi, "inverted", lambda views, *rest, **more: randn_like(views.x0, views.rng))


def _no_eta() -> None:
    right = methods.sdi.randn_like
    _stays(methods.sdi, "randn_like", lambda x, rng: 0 * right(x, rng))


def _inverted_the_other_way() -> None:
    right = methods.sdi.inverted
    _stays(methods.sdi, "inverted", lambda views, prior, grid, scale, *rest: right(views, prior, grid, -scale, *rest))


def _time(change: Callable[[Any, float, float], float]) -> Callable[[], None]:
    """SDI's t by another schedule, of views, start and end."""

    def falling(views: Any, t_range: tuple[float, float]) -> Tensor:
        return torch.full((len(views.x0),), change(views, *t_range), dtype=torch.float64)

    return lambda: _stays(methods.sdi, "falling_time", falling)


def _any_time(views: Any, start: float, end: float) -> float:
    return end + (start - end) * float(torch.rand((), generator=views.rng))


def _rate(factor: float) -> Callable[[], None]:
    right = NeRF.parameter_groups
    return lambda: _stays(NeRF, "parameter_groups", lambda self, lr: right(self, factor * lr))


def _condition(made: Callable[[Any, Any], Tensor]) -> Callable[[], None]:
    return lambda: _stays(priors.guidance, "condition", made)


def _turned(text: Any, cameras: Any) -> Tensor:
    from priors.text import condition

    return condition(text, replace(cameras, azimuth=cameras.azimuth + 180))


def _unscaled() -> None:
    """The latents of Stable Diffusion are scaled by .18215, the shipped prior's by 1: without it they are 1 / .18215
    of what they should be."""
    right = StableDiffusion.encode
    _stays(StableDiffusion, "encode", lambda self, image, rng: right(self, image, rng) / SCALE)


def _leaking() -> None:
    behind, render, seen = NeRF._behind, NeRF.render, {}

    def kept(self: NeRF, *rest: Any) -> Any:
        seen["behind"] = behind(self, *rest)
        return seen["behind"]

    def leaking(self: NeRF, *rest: Any, **more: Any) -> Render:
        made = render(self, *rest, **more)
        rgb = made.rgb + LEAK * made.opacity * (seen["behind"] - made.rgb)
        return replace(made, rgb=rgb)

    _stays(NeRF, "_behind", kept)
    _stays(NeRF, "render", leaking)


def _unregularised() -> None:
    for name in ("sparsity", "opaque"):
        engine.training.REGULARIZERS[name] = lambda render, cameras: render.opacity.sum() * 0.0


def _stale_occupancy() -> None:
    right = NeRF.update
    _stays(NeRF, "update", lambda self, *rest: right(self, *rest) if int(self.updates) == 0 else self.updates.add_(1))


def _swapped() -> None:
    right = engine.training.make_text
    _stays(engine.training, "make_text", lambda prior, prompt, *rest: right(prior, SWAPPED, *rest))


def _pictures(change: Callable[[Tensor], Tensor], opacity: bool = False) -> Callable[[], None]:
    """The views that are scored, as if rendered otherwise."""

    def plant() -> None:
        right = engine.views.render

        def changed(*rest: Any, **more: Any) -> Render:
            made = right(*rest, **more)
            alpha = change(made.opacity) if opacity else made.opacity
            return Render(change(made.rgb), alpha, made.depth)

        _stays(engine.views, "render", changed)

    return plant


def _blurred(image: Tensor) -> Tensor:
    """A Gaussian of one pixel."""
    x = torch.arange(-3.0, 4.0)
    line = torch.exp(-(x**2) / 2)
    kernel = (line[:, None] * line) / line.sum() ** 2
    channels = image.shape[1]
    padded = F.pad(image, (3, 3, 3, 3), mode="replicate")
    return F.conv2d(padded, kernel.expand(channels, 1, 7, 7), groups=channels)


def _resized_twice(image: Tensor) -> Tensor:
    size = image.shape[-2:]
    half = F.interpolate(image, scale_factor=0.5, mode="bilinear", antialias=True)
    return F.interpolate(half, size, mode="bilinear")


def _another_prompt() -> None:
    right = eval.score.Scorer.number
    _stays(eval.score.Scorer, "number", lambda self, prompt_id: (right(self, prompt_id) + 1) % len(self.prompts))


DEFECTS = (
    Defect("CFG's sign flipped", TRAINING, _guided(lambda s: -s)),
    Defect("CFG off", TRAINING, _guided(lambda s: 1.0)),
    Defect("CFG halved", TRAINING, _guided(lambda s: s / 2)),
    Defect("alpha's index off by 100", TRAINING, _alpha_off),
    Defect("noise not inverted", TRAINING, _not_inverted, SDI),
    Defect("inversion's sign flipped", TRAINING, _inverted_the_other_way, SDI),
    Defect("eta 0", TRAINING, _no_eta, SDI),
    Defect("t not annealed", TRAINING, _time(_any_time), SDI),
    Defect("t upwards", TRAINING, _time(lambda views, start, end: linear(views.progress, end, start)), SDI),
    Defect("learning rate halved", TRAINING, _rate(0.5)),
    Defect("learning rate tenfold", TRAINING, _rate(10.0)),
    Defect("view prompts off", TRAINING, _condition(lambda text, cameras: text.plain.expand(len(cameras), -1, -1))),
    Defect("view prompts turned by 180", TRAINING, _condition(_turned)),
    Defect("VAE's scale missing", TRAINING, _unscaled),
    Defect("background leaks into the object", TRAINING, _leaking),
    Defect("opacity's regularisers dropped", TRAINING, _unregularised),
    Defect("occupancy never refreshed", TRAINING, _stale_occupancy),
    Defect("views blurred by 1", VIEWS, _pictures(_blurred)),
    Defect("views mirrored", VIEWS, _pictures(lambda x: x.flip(-1), opacity=True)),
    Defect("images resized twice", VIEWS, _pictures(_resized_twice)),
    Defect("wrong prompt scored", SCORING, _another_prompt),
    Defect("one prompt replaced", TRAINING, _swapped, ALL, 1),
    Defect("contrast .8", VIEWS, _pictures(lambda x: 0.5 + 0.8 * (x - 0.5))),
    Defect("shift by 2 pixels", VIEWS, _pictures(lambda x: x.roll(2, -1), opacity=True)),
)
SLUG = {"".join(c if c.isalnum() else "-" for c in d.name).replace("--", "-").strip("-").lower(): d for d in DEFECTS}


class Quiet:
    """Who is told nothing."""

    cut = False

    def send(self, event: object) -> None:
        pass


def one(clean: Path, out: Path, defect: Defect, method: str, seed: str) -> None:
    """Plant a fault, here, and do again what it touches of one method; then score it all."""
    torch.set_num_threads(1)
    be_deterministic()
    configs = [read_json(f) for f in sorted(clean.glob(f"{method}/*/{seed}/config.json"))][: defect.prompts]
    suite = suite_named(configs[0]["recipe"]["suite"])
    defect.plant()
    if defect.where == TRAINING:
        _train(out, method, seed, configs)
    if defect.where == VIEWS:
        for config in configs:
            job = out / method / config["prompt_id"] / seed
            scene, settings = engine.views.reopened(job, "cpu")
            engine.views.again(job, Orbit(**settings["recipe"]["orbit"]), scene, None)
    score_run(out, judges.scorer_of(suite, judges.judges_of(suite)), truth=judges.truths_of(suite))


def _train(out: Path, method: str, seed: str, configs: list[dict[str, Any]]) -> None:
    """Jobs as they were, but for the fault; those that are there are not done again."""
    first = configs[0]["recipe"]
    suite = suite_named(first["suite"])
    prompts = suite.select([c["prompt"] for c in configs])
    request = Request(
        suite, first["track"], prompts, out, (method,), seeds=(int(seed),), steps=first["steps"], device="cpu"
    )
    todo = plan(request, Console(quiet=True))
    for job in todo.missing:
        store = Store(out, job)
        with store.opened(todo.configs[job.path]) as found:
            if found is None:
                prior = priors_of.open_prior(todo.setup.prior, device_of("cpu"), job.recipe.half)
                optimize.run(job, prior, store, replace(todo.setup, device="cpu"), Quiet())


def copied(clean: Path, out: Path, seed: str) -> None:
    for job in clean.glob(f"*/*/{seed}"):
        shutil.copytree(job, out / job.relative_to(clean), dirs_exist_ok=True)


def tried(clean: Path, baseline: Path, out: Path, slug: str, seed: str) -> dict[str, Any]:
    """What the gate says of a fault, kept in OUT/SLUG.json."""
    path, defect, run = out / f"{slug}.json", SLUG[slug], out / slug
    done: dict[str, Any] = read_json(path) if path.exists() else {"methods": []}
    if not run.exists():
        copied(clean, run, seed)
    for method in defect.methods:
        if method in done["methods"]:
            continue
        if done.get("verdicts"):
            break
        for job in run.glob(f"{method}/*/{seed}"):
            if defect.where == TRAINING and not (run / ".planted" / method / job.parent.name).exists():
                _emptied(run, job, defect, clean, method, seed)
        command = [sys.executable, "-m", "engine.studies.planted", str(clean), "--baseline", str(baseline)]
        subprocess.run([*command, "--out", str(run), "--one", slug, "--method", method], cwd=ROOT, check=True)
        done = _judged(run, baseline, [*done["methods"], method])
        write_json(path, done)
    return done


def _emptied(run: Path, job: Path, defect: Defect, clean: Path, method: str, seed: str) -> None:
    """Remove a copied job that the fault touches, once: a mark says that what stands there is the fault's own."""
    touched = [f.parent.parent.name for f in sorted(clean.glob(f"{method}/*/{seed}/config.json"))][: defect.prompts]
    if job.parent.name in touched:
        shutil.rmtree(job)
    mark = run / ".planted" / method / job.parent.name
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()


def _judged(run: Path, baseline: Path, done: list[str]) -> dict[str, Any]:
    try:
        found = gate.check(run, baseline)
    except UserError as error:
        return {"methods": done, "verdicts": [f"cannot judge: {error}"], "reproduced": False, "better": []}
    rows = found.rows
    failed = rows[rows["verdict"].isin(BAD)]
    said = [f"{r['method']}: {r['metric']} {r['verdict']} by {abs(r['change']):.3g}" for _, r in failed.iterrows()]
    better = [f"{r['method']}: {r['metric']}" for _, r in rows[rows["verdict"] == "better"].iterrows()]
    return {"methods": done, "verdicts": said, "reproduced": found.reproduced, "better": better}


def alarms(clean: Path, baseline: Path) -> list[tuple[str, list[str]]]:
    """Each seed of CLEAN as a run of its own, though nothing has changed, held against a reference of all the others:
    what fails."""
    found, seeds = [], read(baseline).seeds
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            others, alone = Path(folder) / f"without-{seed}", Path(folder) / f"only-{seed}"
            for other in seeds:
                copied(clean, alone if other == seed else others, other)
            gate.save(others, Path(folder) / "reference.json")
            rows = gate.check(alone, Path(folder) / "reference.json").rows
            failed = rows[rows["verdict"].isin(BAD)]
            found.append((seed, [f"{r['method']} {r['metric']} {r['verdict']}" for _, r in failed.iterrows()]))
            shutil.rmtree(others)
    return found


TEXT = """# Planted defects: does the gate see them?

Made by `uv run python -m engine.studies.planted CLEAN --baseline results/reference/ci.json --page FILE`, at the
size of `.ci/run`: {prompts} prompts, {methods}, {steps} steps, one seed, against a reference of {seeds} seeds. Each
fault is patched in, in a process of its own; methods are done one after another until the gate fails, and the others'
jobs are unchanged.

**Caught: {caught} of {run} planted**{unrun}; {alarms}.

{table}

Caught: exit code 1, with something worse or moved. "Reproduced" is the other question, answered by a warning: it says
no of every fault that changes a number, caught or not (`check --strict` makes that a failure, too).
"""


def page(results: dict[str, dict[str, Any]], baseline: Path, wrong: list[tuple[str, list[str]]]) -> str:
    reference = read(baseline)
    body = []
    for slug, defect in SLUG.items():
        done = results.get(slug)
        if done is None:
            body.append([defect.name, defect.where, "not run", "", "", ""])
            continue
        most = "; ".join(done["verdicts"][:3]) + (
            f"; {len(done['verdicts']) - 3} more" if len(done["verdicts"]) > 3 else ""
        )
        body.append([defect.name, defect.where, "yes" if done["verdicts"] else "**no**", most,
                     "yes" if done["reproduced"] else "no", ", ".join(done["methods"])])  # fmt: skip
    caught = sum(bool(done["verdicts"]) for done in results.values())
    alarm = [f"seed {seed}: {', '.join(failed)}" for seed, failed in wrong if failed]
    return TEXT.format(
        prompts=len(reference.protocol["prompts"]),
        methods=" and ".join(reference.methods),
        steps=next(iter(reference.protocol["steps"].values())),
        seeds=len(reference.seeds),
        caught=caught,
        run=len(results),
        unrun=f" ({len(DEFECTS) - len(results)} were not run)" if len(results) < len(DEFECTS) else "",
        alarms=f"false alarms on {len(wrong)} unchanged runs with another seed than the reference's: {len(alarm)}"
        + (f" ({'; '.join(alarm)})" if alarm else ""),
        table="\n".join(pipes(["Fault", "In", "Caught", "As what", "Reproduced", "Methods done"], body)),
    )


def main() -> None:
    parser = argparse.ArgumentParser("python -m engine.studies.planted", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("clean", type=Path, metavar="CLEAN")
    parser.add_argument("--baseline", type=Path, required=True, metavar="REF")
    parser.add_argument("--out", type=Path, default=Path("results/runs/planted"), metavar="DIR")
    parser.add_argument("--only", nargs="+", choices=[*SLUG], metavar="NAME", help=f"of {', '.join(SLUG)}")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the table as Markdown")
    parser.add_argument("--seed", default="0", help="of CLEAN's jobs that are done again; default: 0")
    for name in ("--one", "--method"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    options, console = parser.parse_args(), Console()
    if options.one:
        one(options.clean, options.out, SLUG[options.one], options.method, options.seed)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    for slug in track(options.only or [*SLUG], "planting", console=console, transient=True):
        done = tried(options.clean, options.baseline, options.out, slug, options.seed)
        say(console, f"{SLUG[slug].name}: {'; '.join(done['verdicts']) or 'not caught'}")
    if options.page:
        results = {slug: json.loads(p.read_text()) for slug in SLUG if (p := options.out / f"{slug}.json").exists()}
        text = page(results, options.baseline, alarms(options.clean, options.baseline))
        say(console, write_text(options.page, text))


if __name__ == "__main__":
    main()
