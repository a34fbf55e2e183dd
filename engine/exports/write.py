"""What is exported of a job, and where it lies: in the job's own folder, which the page of a run looks into, or in one
of the same name elsewhere.

    mesh.glb  turntable.mp4  export.json      and views/normal_000.png ...; elsewhere normals/normal_000.png ...

export.json says of what scene and by which settings each was made. Every file is written aside and renamed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from socket import gethostname
from typing import Any

from PIL import Image

from engine.exports import glb, pictures
from engine.exports.fields import field_of
from engine.exports.mesh import mesh_of
from engine.recipes.base import Orbit
from engine.store import SCENE
from engine.views import decoder_of, reopened, turned
from errors import UserError
from eval.views import numbers
from files import replaced, sha256, write_json
from locks import held
from priors.base import Prior
from scene.base import Scene

GLB, MP4, NORMALS, ABOUT = "mesh.glb", "turntable.mp4", "normals", "export.json"
FORMATS = {"glb": GLB, "mp4": MP4, "normals": NORMALS}
NEEDED = {"glb": ("skimage", "fast_simplification", "trimesh"), "mp4": ("av",), "normals": ()}


@dataclass(frozen=True)
class Wanted:
    """`formats` of FORMATS; `resolution` cells along the longest edge, at most `faces` of a mesh; `size` pixels of a
    turntable; `out` a folder instead of the run's."""

    formats: tuple[str, ...]
    resolution: int
    faces: int
    size: int
    out: Path | None = None

    def settings(self, form: str) -> dict[str, Any]:
        """That decide one of the formats, beside the scene."""
        return {"glb": {"resolution": self.resolution, "faces": self.faces}, "mp4": {"size": self.size}}.get(form, {})

    def folder(self, job: Path) -> Path:
        return self.out.joinpath(*job.parts[-3:]) if self.out else job


@dataclass(frozen=True)
class Task:
    """A job, the formats that are to be made of it, and those that others made, or with other settings."""

    job: Path
    todo: tuple[str, ...]
    others: tuple[str, ...]


def refuse_missing(formats: Sequence[str]) -> None:
    """Raise UserError where a library is not here."""
    lacking = [form for form in formats if not all(map(find_spec, NEEDED[form]))]
    if lacking:
        raise UserError(
            f"{' and '.join(lacking)} need libraries that are not here: uv sync --extra export, or leave them out of "
            "--formats."
        )


def task_of(job: Path, wanted: Wanted) -> Task:
    """Raises UserError where a job cannot be read."""
    folder, known = wanted.folder(job), _about(wanted.folder(job))
    there = [form for form in wanted.formats if _is_there(job, folder, form)]
    kept = [form for form in there if known.get(form) == _made_of(job, wanted, form)]
    others = tuple(form for form in there if form not in kept)
    return Task(job, tuple(form for form in wanted.formats if form not in kept), others)


def _is_there(job: Path, folder: Path, form: str) -> bool:
    if form != "normals":
        return (folder / FORMATS[form]).exists()
    into = _normals(job, folder)
    return into.is_dir() and len(list(into.glob("normal_*.png"))) >= len(numbers(job, "rgb")) > 0


def _made_of(job: Path, wanted: Wanted, form: str) -> dict[str, Any]:
    orbit = turned(job)
    said = {"scene": sha256(job / SCENE)[:16], **wanted.settings(form)}
    return json.loads(json.dumps(said if form == "glb" else said | {"orbit": vars(orbit)}))


def _normals(job: Path, folder: Path) -> Path:
    return folder / ("views" if folder == job else NORMALS)


def _about(folder: Path) -> dict[str, Any]:
    """{} where nothing was exported yet, or that cannot be read."""
    try:
        said = json.loads((folder / ABOUT).read_text("utf-8"))
        return said if isinstance(said, dict) else {}
    except (OSError, ValueError):
        return {}


def carried_out(task: Task, wanted: Wanted, device: str) -> list[str]:
    """Make what is to be made of a job; returns in words what there is not, and why. Raises UserError where its scene
    cannot be read."""
    scene, settings = reopened(task.job, device)
    folder, orbit, lacks = wanted.folder(task.job), turned(task.job), []
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with held(task.job):  # nobody renders or replaces it now
            prior = decoder_of(task.job, settings, device) if {"glb", "mp4"} & set(task.todo) else None
            for form in task.todo:
                if form == "glb":
                    facts: dict[str, Any] = {key: settings[key] for key in ("prompt", "seed") if key in settings}
                    why = _mesh(scene, orbit, prior, wanted, folder / GLB, facts)
                elif form == "mp4":
                    pictures.turntable(scene, orbit, prior, wanted.size, folder / MP4)
                    why = None
                else:
                    why = _pictures(scene, orbit, _normals(task.job, folder))
                if why:
                    lacks.append(why)
                else:
                    write_json(folder / ABOUT, _about(folder) | {form: _made_of(task.job, wanted, form)})
    finally:
        with suppress(OSError):
            folder.rmdir()  # of which nothing could be made: else it is not empty
    return lacks


def unit(job: Path, asked: tuple[tuple[str, ...], Wanted], device: str) -> list[str]:
    """The same of a job's folder, with the formats that are to be made."""
    todo, wanted = asked
    if wanted.out and not wanted.out.is_dir():
        raise UserError(f"The node {gethostname()} does not see {wanted.out}: --out must lie where all nodes see it.")
    return carried_out(Task(job, todo, ()), wanted, device)


def _mesh(
    scene: Scene, orbit: Orbit, prior: Prior | None, wanted: Wanted, file: Path, facts: dict[str, Any]
) -> str | None:
    """What is wrong, where there is no mesh."""
    if (field := field_of(scene, wanted.resolution)) is None:
        return f"no mesh, as a {type(scene).__name__.lower()} has no density in space"
    if (mesh := mesh_of(scene, field, orbit, wanted.resolution, wanted.faces, prior)) is None:
        return "no mesh, as its surface is empty: nothing in it is solid from all around"
    glb.write(mesh, file, facts)
    return None


def _pictures(scene: Scene, orbit: Orbit, into: Path) -> str | None:
    if (found := pictures.normals(scene, orbit)) is None:
        return f"no normals, as its kind of scene, {type(scene).__name__.lower()}, has none"
    into.mkdir(exist_ok=True)
    for k, picture in enumerate(found.numpy()):
        replaced(into / f"normal_{k:03d}.png", partial(Image.fromarray(picture).save, format="PNG"))
    return None
