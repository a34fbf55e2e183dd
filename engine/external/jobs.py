"""Jobs of external engines, in the folders of a run like all others: what each is, and which are done."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.external.reading import read
from engine.external.spec import Spec
from engine.machine import commit
from engine.prior import identity
from engine.request import Request
from engine.store import FINAL, Store
from engine.weights import manifest as weights
from errors import UserError
from files import digest_once
from prompts import Prompt

OPEN = "renders of another program"
UNDECIDING = ("name", "file", "about", "source", "licence", "suite", "folder", "interpreter", "timeout_minutes", "log")
PYTHONS = (".venv/bin/python", "venv/bin/python", ".venv/Scripts/python.exe")  # where a checkout may have its own


@dataclass(frozen=True)
class Engine:
    """What stands in a job where others have their recipe."""

    name: str
    steps: int


@dataclass(frozen=True)
class ExternalJob:
    """A spec, a prompt, a seed, and what is filled in besides: `given` has all of engine.external.spec.GIVEN but the
    places on this machine, `interpreter` and the folder written to. `weights` identifies the prior, `program` the code
    of the engine."""

    spec: Spec
    prompt: Prompt
    seed: int
    given: dict[str, Any]
    interpreter: str
    weights: str
    program: str

    @property
    def recipe(self) -> Engine:
        return Engine(self.spec.name, self.given["steps"] or 1)

    @property
    def path(self) -> Path:
        """`<spec>/<NN-slug>/<seed>`, relative to the run."""
        return Path(self.spec.name, self.prompt.id, str(self.seed))

    def command(self, out: Path) -> list[str]:
        return [self.spec.filled(part, self.filled(out)) for part in self.spec.command]

    def filled(self, out: Path) -> dict[str, Any]:
        return {**self.given, "out": str(out), "python": self.interpreter}

    @property
    def key(self) -> str:
        """Twelve hex digits of all that decides the renders: the spec but for its words and places, the prompt, the
        seed, the weights, and the engine's code as far as it can be known."""
        told = {name: value for name, value in asdict(self.spec).items() if name not in UNDECIDING}
        given = {k: v for k, v in self.given.items() if k not in ("prior", "phi")}
        text = json.dumps([told, given, self.weights, self.program], sort_keys=True, default=list)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def config(self, request: Request) -> dict[str, Any]:
        """config.json."""
        spec = self.spec
        recipe = {"name": spec.name, "suite": request.suite.name, "steps": self.given["steps"]}
        engine = {"about": spec.about, "source": spec.source, "licence": spec.licence, "program": self.program}
        return {
            "key": self.key,
            "recipe": recipe,
            "prompt": self.prompt.text,
            "prompt_id": self.prompt.id,
            "seed": self.seed,
            "prior": {"name": self.given["prior"], "checksum": self.weights or None},
            "open": OPEN,
            "engine": engine | {"command": list(spec.command)},
            "commit": commit(),
        }


def planned(request: Request) -> list[ExternalJob]:
    """The jobs of a request's external engines, in order. Raises UserError for a spec that cannot be run here, and for
    an option that it does not take."""
    specs = [read(named) for named in request.external]
    names = [spec.name.lower() for spec in specs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"Two external engines have the name {twice[0]}, and would share a row: give one another name.")
    made = [_made(spec, request) for spec in specs]
    return [
        ExternalJob(spec, prompt, seed, {**given, "prompt": prompt.text, "seed": seed}, *rest)
        for seed in request.seeds
        for prompt in request.prompts
        for spec, given, *rest in made
    ]


def left(run: Path, jobs: Sequence[ExternalJob], overwrite: bool) -> list[ExternalJob]:
    """Those that are not done. Raises UserError where a folder holds a result of other settings."""
    return [job for job in jobs if not _is_done(run, job, overwrite)]


def _is_done(run: Path, job: ExternalJob, overwrite: bool) -> bool:
    store = Store(run, job)  # type: ignore[arg-type]
    record = store.record()
    if record is None or record.get("status") not in FINAL:
        return False
    if store.key() == job.key:
        return True
    if overwrite:
        return False
    raise UserError(
        f"{store.final} holds a result of other settings, or of another version of {job.spec.name}: "
        "give another --out, or --overwrite to replace it."
    )


def _made(spec: Spec, request: Request) -> tuple[Spec, dict[str, Any], str, str, str]:
    """The spec with what all its jobs share: values, the interpreter, what identifies the weights and the program."""
    _refused(spec, request)
    sources = {name: _source(spec, name, getattr(request, name)) for name in ("prior", "phi")}
    views = request.views or spec.renders.views
    given = {"steps": request.steps or spec.steps, "views": views, "views_and_first": views + 1, **sources}
    interpreter = _interpreter(spec)
    _startable(spec, {**given, "python": interpreter, "out": "", "prompt": "", "seed": 0})
    identified = " ".join(_identity(name) for name in sources.values() if name)
    return spec, given, interpreter, identified, _program(spec)


def _refused(spec: Spec, request: Request) -> None:
    """Raises UserError for what is asked of an engine that does not take it, and where it is not there."""
    where = f"The external engine {spec.name}"
    if spec.suite not in ("", request.suite.name):
        raise UserError(f"{where} is for the {spec.suite} suite: give --suite {spec.suite}, or a spec of your own.")
    for name in ("steps", "prior", "phi"):
        if getattr(request, name) and not spec.asks_for(name):
            raise UserError(f"{where} takes no --{name}: nothing in its spec has {{{name}}}.")
    if others := [name for name in ("budget", "lora", "scene") if getattr(request, name)]:
        raise UserError(f"{where} takes no --{others[0]}: leave it out, or the engine.")
    if len(request.seeds) > 1 and not spec.asks_for("seed"):
        raise UserError(f"{where} takes no seed: nothing in its spec has {{seed}}, and all seeds would be one.")
    if spec.asks_for("steps") and not (request.steps or spec.steps):
        raise UserError(f"{where} has to be told how long: give --steps N, or say steps in its spec.")
    if not spec.folder.is_dir() or spec.folder == Path():
        said = "where its program lies is not said" if spec.folder == Path() else f"there is no folder {spec.folder}"
        raise UserError(f"{where} cannot be started, {said}: give --external {spec.name}=FOLDER, or folder in a spec.")


def _startable(spec: Spec, given: dict[str, Any]) -> None:
    """Raises UserError where the program of the command is not there."""
    first = spec.filled(spec.command[0], given)
    if not _found(first, spec.folder):
        raise UserError(
            f"The external engine {spec.name} cannot be started: there is no program {first!r} in {spec.folder} or on "
            "the PATH."
        )


def _source(spec: Spec, name: str, asked: str | None) -> str:
    """{prior} or {phi}: as asked for, or as the spec says; of what `fetch` brings, the folder."""
    if not spec.asks_for(name):
        return ""
    said = asked or getattr(spec, name)
    if not said:
        raise UserError(
            f"The external engine {spec.name} needs a {name}: give --{name} PATH, or say {name} in its spec."
        )
    if asked or said not in weights.manifest():
        return str(Path(said).absolute()) if Path(said).exists() else said
    return str(weights.needed(said, f"--{name}"))


def _identity(name: str) -> str:
    """What tells weights from others: a checksum where they are here, else what they are called."""
    path = Path(name)
    if not path.exists():
        return name
    with suppress(UserError):
        return identity(name)
    return digest_once([path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()])


def _interpreter(spec: Spec) -> str:
    """{python}: the spec's, or that of a virtual environment in the engine's folder. Raises UserError for neither, and
    where it is not there: with this program's own the engine would find other libraries than it needs."""
    if not spec.asks_for("python"):
        return ""
    said = spec.interpreter
    if not said and (own := next((p for p in PYTHONS if (spec.folder / p).exists()), None)):
        return str(spec.folder / own)
    if not said:
        raise UserError(
            f"The external engine {spec.name} has no virtual environment in {spec.folder}: say interpreter in a spec "
            "(the python of its conda environment, say)."
        )
    found = _found(str(Path(said).expanduser()), spec.folder)
    if not found:
        raise UserError(f"The external engine {spec.name} has no interpreter {said}: say in its spec where that lies.")
    return found


def _found(program: str, folder: Path) -> str | None:
    """A program by its path, in the engine's folder or elsewhere, or by its name on PATH."""
    beside = folder / program
    if beside.is_file():
        return shutil.which(beside)
    return shutil.which(program)


def _program(spec: Spec) -> str:
    """What tells versions of an engine apart: the commit of its folder with what differs from it, and the files of it
    that the command names; "" where nothing is known."""
    said = []
    if head := _git(spec.folder, "rev-parse", "--short=12", "HEAD"):
        changed = _git(spec.folder, "diff", "HEAD")
        said.append(head.strip() + (f"+{hashlib.sha256(changed.encode()).hexdigest()[:8]}" if changed else ""))
    words = [word for part in spec.command for word in (part, part.rpartition("=")[2])]
    named = {spec.folder / word for word in words if word and "{" not in word}
    if files := [file for file in named if file.is_file()]:
        said.append(digest_once(files)[:12])
    return " ".join(said)


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, errors="replace")
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""
