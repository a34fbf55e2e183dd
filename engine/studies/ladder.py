"""The ladder of diagnosis: where a shape breaks, from the field to the prior to the rule, as a table and a figure.

    python -m engine.studies.ladder "A ripe strawberry" [--methods sdi sds-anneal] [--out DIR]

1. field    the radiance field fitted to true views, 250 steps: PSNR on the orbit
2. prior    true views noised to t = .98, .7, .4 and denoised in one step, and DDIM samples: PSNR to the true view
3. canvas   each rule on one latent picture seen from the front and from the left: PSNR to the true view
4. volume   the job itself, where `--run` holds it
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from engine.job import Job
from engine.prior import open_prior
from engine.recipes.base import Orbit, Recipe
from engine.recipes.tables import TABLE, recipe
from engine.studies.canvas import on_canvas, psnr
from engine.training import Training
from engine.views import evaluate
from eval import views as pictures
from eval.truth import over
from names import known
from priors.base import Prior
from priors.guidance import guided_eps
from priors.sampling import ddim, falling_grid
from priors.text import make_text
from prompts import Prompt
from say import say
from scene.background import GREY
from scene.cameras import Cameras, look_at
from scene.nerf import NeRF, NeRFConfig
from suites.world import WORLD
from world import truth_views

TIMES = (0.98, 0.7, 0.4)
FIT, CANVAS, DDIM = 250, 200, 30  # steps


def truth(prompt: str, cameras: Cameras) -> Float[Tensor, "B 3 64 64"]:
    """True pictures over the grey of evaluation."""
    view = truth_views(prompt, cameras, 64)
    return over(view.rgb, view.opacity, GREY)


def field(prompt: str, base: Recipe, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Four views of a field that was fitted to true ones, and the truth."""
    assert isinstance(base.scene, NeRFConfig), "the controlled track's scene is a NeRF"
    scene = NeRF(base.scene, rng)
    optimizer = torch.optim.Adam(scene.parameter_groups(base.lr), betas=(0.9, 0.99), eps=1e-15)
    train = base.cameras.sample(60, rng)
    true = truth_views(prompt, train, 64)
    for k in track(range(FIT), description="field"):
        scene.update(k / FIT, rng)
        one = slice(k % 60, k % 60 + 1)
        render = scene.render(train[one], 64, progress=k / FIT)
        wanted = over(true.rgb[one], true.opacity[one], GREY)
        loss = F.mse_loss(render.rgb, wanted) + 0.1 * F.mse_loss(render.opacity, true.opacity[one])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    around = Orbit(views=4).cameras()
    with torch.no_grad():
        return scene.render(around, 64).rgb, truth(prompt, around)


@torch.no_grad()
def one_step(prior: Prior, prompt: str, rng: torch.Generator) -> dict[str, tuple[Tensor, Tensor]]:
    """x0^ of noised true views, without guidance, at TIMES."""
    around, text = Orbit(views=4).cameras(), make_text(prior, prompt)
    true = truth(prompt, around)
    x0, found = prior.encode(true, rng), {}
    for time in TIMES:
        t = torch.full((4,), round(1000 * time))
        x_t = prior.schedule.noised(x0, torch.randn(x0.shape, generator=rng), t)
        eps = guided_eps(prior, x_t, t, text, around, 1.0)
        found[f"x0 at t = {time:g}"] = (prior.decode(prior.schedule.x0_of(x_t, eps, t)), true)
    return found


def samples(prior: Prior, prompt: str, rng: torch.Generator, scale: float = 3.0) -> tuple[Tensor, Tensor]:
    """DDIM samples from the four sides."""
    around, x_T = Orbit(views=4).cameras(), torch.randn(4, *prior.latent_shape, generator=rng)
    *_, (_, x0, _) = ddim(prior, make_text(prior, prompt), around, x_T, falling_grid(prior, DDIM), scale)
    return prior.decode(x0), truth(prompt, around)


def canvas(prior: Prior, prompt: str, base: Recipe, seed: int) -> tuple[Tensor, Tensor]:
    """One latent a side, front and left, pulled by the rule with Adam: the rule without the third dimension."""
    sides, pictures = (0.0, 90.0), []
    for azimuth in sides:
        job = Job(on_canvas(base, prior, azimuth).changed(steps=CANVAS), Prompt("", prompt), seed)
        training = Training(job, prior, "cpu")
        for _ in track(range(CANVAS), description=f"canvas, {base.name}"):
            training.advance()
        pictures.append(evaluate(training).rgb)
    return torch.cat(pictures), truth(prompt, look_at(15.0, torch.tensor(sides), 2.0, 40.0))


def climb(prompt: str, prior: Prior, methods: list[str], seed: int = 0) -> dict[str, tuple[Tensor, Tensor]]:
    """Every rung's pictures beside the true ones."""
    bases = [recipe("world", "controlled", name) for name in methods]
    rungs = {"field": field(prompt, bases[0], torch.Generator().manual_seed(seed))}
    rungs |= one_step(prior, prompt, torch.Generator().manual_seed(seed))
    rungs["samples"] = samples(prior, prompt, torch.Generator().manual_seed(seed))
    for base in bases:
        rungs[f"canvas, {base.name}"] = canvas(prior, prompt, base, seed)
    return rungs


def volume(run: Path, prompt_id: str, prompt: str) -> dict[str, tuple[Tensor, Tensor]]:
    """Views 0, 1/4, 1/2, 3/4 of the orbit of the jobs of a run, for the prompt."""
    found = {}
    for job in pictures.jobs(run):
        if job.parent.name == prompt_id and pictures.has_pictures(job):
            rgb = pictures.read(job).rgb
            quarter = torch.arange(4) * len(rgb) // 4
            found[f"volume, {job.parent.parent.name}"] = (rgb[quarter], truth(prompt, Orbit(views=4).cameras()))
    return found


def figure(rungs: dict[str, tuple[Tensor, Tensor]], title: str, path: Path) -> None:
    import matplotlib.pyplot as plt

    shown, axes = plt.subplots(len(rungs), 4, figsize=(5.6, 1.35 * len(rungs)), squeeze=False)
    for row, (name, (image, true)) in zip(axes, rungs.items(), strict=True):
        for k, place in enumerate(row):
            place.axis("off")
            if k < len(image):
                place.imshow(image[k].permute(1, 2, 0).clamp(0, 1).numpy(), interpolation="nearest")
        row[0].set_title(f"{name}: {psnr(image, true):.1f} dB", fontsize=8, loc="left")
    shown.suptitle(title, fontsize=10)
    shown.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    shown.savefig(path, dpi=110)
    plt.close(shown)


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m engine.studies.ladder", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("prompts", nargs="+", metavar="PROMPT")
    parser.add_argument("--methods", nargs="+", default=["sdi", "sds-anneal"], metavar="NAME")
    parser.add_argument("--prior", default=str(WORLD.prior), metavar="PATH")
    parser.add_argument("--run", type=Path, help="a run whose jobs are the last rung")
    parser.add_argument("--out", type=Path, default=Path("results/runs/ladder"), metavar="DIR")
    options = parser.parse_args()
    for name in options.methods:
        known("method", name, TABLE)
    prior, table = open_prior(options.prior), Table("rung", title="PSNR to the true views, dB")
    columns: dict[str, dict[str, float]] = {}
    for prompt in WORLD.select(options.prompts):
        rungs = climb(prompt.text, prior, options.methods)
        rungs |= volume(options.run, prompt.id, prompt.text) if options.run else {}
        figure(rungs, prompt.text, options.out / f"{prompt.id}.png")
        columns[prompt.id] = {name: psnr(*pair) for name, pair in rungs.items()}
        table.add_column(prompt.id)
    for name in next(iter(columns.values())):
        table.add_row(name, *(f"{values[name]:.1f}" if name in values else "" for values in columns.values()))
    Console().print(table)
    say(Console(), options.out)


if __name__ == "__main__":
    main()
