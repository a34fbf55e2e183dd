"""The views of a scene that is finished: rendered from an orbit, and written beside it. Nothing here trains."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image
from rich.progress import track
from torch import Tensor

from engine.prior import identity, open_prior
from engine.recipes.base import Orbit
from engine.store import SCENE, damaged, read_tensors, write_tensors
from errors import UserError, first_line, is_out_of_memory
from eval.truth import depths
from eval.views import (
    ORBIT,
    SUM,
    Depths,
    are_whole,
    checksum,
    depth_beside,
    has_pictures,
    job_json,
    numbered,
    orbit_of,
)
from files import digest, read_json, sha256, write_json
from locks import held
from priors.base import Prior
from records import RECORD
from say import Console
from scene.base import Scene
from scene.cameras import Cameras, Render
from scene.scenes import config_of
from sources import digest_of_module

if TYPE_CHECKING:
    from engine.training import Training

CHUNK = 5  # views rendered together


@torch.no_grad()
def render(scene: Scene, orbit: Orbit, prior: Prior | None = None) -> Render:
    """The views of an orbit: albedo for every rule, on the background of evaluation. `prior` decodes the views of a
    scene of latents, which are rendered `finer` than the pictures wanted and averaged down, as SJC's are."""
    device, cameras = next(scene.parameters()).device, orbit.cameras()
    return seen(scene, cameras.to(device), orbit.resolution, prior)


@torch.no_grad()
def seen(scene: Scene, cameras: Cameras, size: int, prior: Prior | None = None) -> Render:
    """The same from any cameras, on the scene's device."""
    chunks = [cameras[k : k + CHUNK] for k in range(0, len(cameras), CHUNK)]
    renders = [_decoded(scene, c, size, prior) if prior else _rendered(scene, c, size) for c in chunks]
    rgb, opacity, depth = (torch.cat([getattr(r, name) for r in renders]) for name in ("rgb", "opacity", "depth"))
    return Render(rgb, opacity, depth)


def _rendered(scene: Scene, cameras: Cameras, size: int) -> Render:
    return scene.render(cameras, size, progress=1.0)


def _decoded(scene: Scene, cameras: Cameras, size: int, prior: Prior) -> Render:
    """One view after another through the decoder: at 1024^2 it takes 3 GB for each."""
    latents = max(scene.finer * size * prior.latent_shape[-1] // prior.image_size, 1)
    render = scene.render(cameras, latents, progress=1.0)
    rgb, opacity, depth = (
        F.interpolate(image, (size, size), mode="bilinear", antialias=True)
        for image in (torch.cat([prior.decode(one) for one in render.rgb.split(1)]), render.opacity, render.depth)
    )
    return Render(rgb, opacity, depth)


class Unseen(Exception):
    """A scene that was trained to its end, and could not be rendered."""


def evaluate(training: Training) -> Render:
    """The views that a job is scored from. Raises Unseen where memory is too little for them: the rule trained within
    it, so that this is no divergence of the rule, and the job is tried again from its last checkpoint."""
    try:
        return render(training.scene, training.job.recipe.orbit, training.prior if training.latent else None)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        said = f"memory was too little to render its views ({first_line(error)}): run the same command again"
    raise Unseen(said)  # not from the error, which would count as the rule's


def write_result(folder: Path, scene: Scene, views: Render | None, orbit: Orbit) -> None:
    """FOLDER/scene.safetensors, and the views where there are any."""
    write_tensors(folder / SCENE, scene.state_dict())
    if views is not None:
        write(folder, views, orbit)


def write(folder: Path, views: Render, orbit: Orbit) -> None:
    """FOLDER/views/rgb_000.png, opacity_000.png, ... in 8 bits, and orbit.json: from where they are seen."""
    into = folder / "views"
    into.mkdir()
    for k, (rgb, opacity) in enumerate(zip(eight_bits(views.rgb), eight_bits(views.opacity), strict=True)):
        Image.fromarray(rgb.numpy()).save(into / f"rgb_{k:03d}.png")
        Image.fromarray(opacity[..., 0].numpy()).save(into / f"opacity_{k:03d}.png")
    write_json(into / ORBIT, asdict(orbit) | {SUM: checksum(folder)})


def eight_bits(image: Float[Tensor, "V C H W"]) -> Tensor:
    """(V,H,W,C) in 0 ... 255, rounded."""
    return (image.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).contiguous().cpu()


def reopened(job: Path, device: str) -> tuple[Scene, dict[str, Any]]:
    """The scene of a finished job's folder, and the job's settings. Raises UserError where it cannot be read."""
    settings = read_json(job / "config.json", "only folders of this benchmark's own jobs can be rendered")
    if job_json(job / RECORD).get("scene") not in (None, sha256(job / SCENE)):
        raise damaged(job / SCENE)
    try:
        sizes = config_of(settings["recipe"]["scene"])
        scene = sizes.build(torch.Generator()).to(device)
        tensors, _ = read_tensors(job / SCENE)
        scene.restore({name: tensor.to(device) for name, tensor in tensors.items()})
    except (KeyError, TypeError, RuntimeError) as error:
        raise UserError(f"The scene of {job} cannot be read ({type(error).__name__}: {error}).") from error
    return scene, settings


def again(job: Path, orbit: Orbit, scene: Scene, prior: Prior | None) -> None:
    """Put other views in place of a finished job's: the old ones stand until the new ones are whole. A kill between the
    two renames leaves none, and `renew` makes them again."""
    aside = Path(tempfile.mkdtemp(prefix=".views-", dir=job))
    try:
        write(aside, render(scene, orbit, prior), orbit)
        if (job / "views").exists():
            (job / "views").rename(aside / "old")
        (aside / "views").rename(job / "views")
    finally:
        shutil.rmtree(aside)


def renew(wanted: dict[Path, Orbit], device: str, console: Console, thorough: bool = False) -> list[Path]:
    """Render the scenes of finished jobs again whose views are not those of the orbit wanted, or, where it is to be
    `thorough`, not whole; returns their folders. Other kinds of jobs (failed ones, pictures made elsewhere) are passed
    over. Raises UserError where a scene cannot be read, and where the prior that decodes it has other weights by
    now."""

    def is_stale(job: Path) -> bool:
        return orbit_of(job) != asdict(wanted[job]) or (thorough and not are_whole(job))

    for job in wanted:
        _tidy(job)
    stale = [job for job in wanted if has_scene(job) and is_stale(job)]
    for job in track(stale, "rendering", console=console, disable=not stale, transient=True):
        with held(job):  # nobody scores these views now
            if not is_stale(job):
                continue  # another command has made them
            scene, settings = reopened(job, device)
            again(job, wanted[job], scene, decoder_of(job, settings, device))
    return stale


def _tidy(job: Path) -> None:
    """Remove what a command left that was killed while it put views in place, unless another does so now."""
    if left := list(job.glob(".views-*")):
        with held(job, wait=False) as ours:
            for folder in left if ours else []:
                shutil.rmtree(folder, ignore_errors=True)


def decoder_of(job: Path, settings: dict[str, Any], device: str) -> Prior | None:
    """The prior of a scene of latents, with the weights that the job had; None for other scenes."""
    if not config_of(settings["recipe"]["scene"]).latent:
        return None
    name, checksum = settings["prior"]["name"], settings["prior"].get("checksum")
    if checksum and identity(name) != checksum:
        raise UserError(
            f"The scene of {job} cannot be decoded: the prior {name} has other weights than it was made with."
        )
    return open_prior(name, device)


def has_scene(job: Path) -> bool:
    """Whether a job ended with a scene that can be looked at."""
    return (job / SCENE).is_file() and job_json(job / RECORD).get("status") == "finished"


def depths_of(job: Path) -> Depths | None:
    """What gives the depth of a job's views: its scene, or, of a mesh that was handed in, files beside its views. None
    where there is neither, and of a flat scene.

    On a CPU, whatever made the scene, so that scores do not depend on where they are computed."""
    if not has_pictures(job):
        return None
    try:
        recipe = job_json(job / "config.json")["recipe"]
        orbit = Orbit(**(orbit_of(job) or recipe["orbit"]))
        seen_from = " ".join(map(str, asdict(orbit).values()))
        if files := numbered(job, "depth"):
            return Depths(f"{digest(files)[:16]} {seen_from}", orbit.cameras(), partial(_depth_beside, job))
        if not has_scene(job) or config_of(recipe["scene"]).flat:
            return None
    except (KeyError, TypeError):
        return None  # pictures alone, or a scene of a kind that is known no more
    drawn = digest_of_module("scene.scenes", ("scene",))[:16]
    fingerprint = f"{sha256(job / SCENE)[:16]} {drawn} {seen_from}"
    return Depths(fingerprint, orbit.cameras(), partial(_depth, job, orbit.cameras()))


@torch.no_grad()
def _depth(job: Path, cameras: Cameras, side: int) -> Float[Tensor, "V 1 side side"]:
    """Of a job's views; a scene of latents is as sharp as its pictures."""
    scene, _ = reopened(job, "cpu")
    chunks = [_rendered(scene, cameras[k : k + CHUNK], side) for k in range(0, len(cameras), CHUNK)]
    return torch.cat([depths(r.depth, r.opacity) for r in chunks])


def _depth_beside(job: Path, side: int) -> Float[Tensor, "V 1 side side"]:
    """The same from files, averaged down where they are larger."""
    depth, opacity = depth_beside(job)
    opacity = opacity * (depth > 0)
    smaller = partial(F.interpolate, size=(side, side), mode="area")
    return depths(smaller(depth * opacity), smaller(opacity))


def turned(job: Path, **asked: Any) -> Orbit:
    """The orbit of a job's views, with what is asked for otherwise."""
    settings = read_json(job / "config.json", "only folders of this benchmark's own jobs can be rendered")
    known = orbit_of(job) or settings["recipe"]["orbit"]
    return Orbit(**(known | {key: value for key, value in asked.items() if value is not None}))
