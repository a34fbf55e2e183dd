"""What an external engine is: a TOML file that says how its program is started, and where its renders lie.

    extends = "threestudio"             another spec, of this folder or a file; what is said here goes before it
    folder = "~/threestudio"            where the program is started; paths begin at the spec's own folder
    interpreter = ".venv/bin/python"    in the engine's folder; {python}
    command = ["{python}", "launch.py", "prompt={prompt}", "seed={seed}", "steps={steps}", "out={out}"]
    arguments = []                      after the command, and after those of the spec extended
    steps = 10000                       {steps}, where the command line names no others
    prior = "sd21-base"                 {prior}: a weight that fetch brings, or whatever the engine takes
    timeout_minutes = 600.0
    suite = "paper"                     the one suite that it is for
    [values]  [environment]  [files]    more of {...}; variables; files written into {out} before the start
    [renders]  layout, files, views, turn, orbit
    [log]      step, diverged

An argument is one argument, whatever is in the prompt: there is no shell. In {...:quoted} and in [files] a value stands
as JSON has it, which YAML reads, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter
from typing import Any

GIVEN = ("prompt", "seed", "steps", "prior", "phi", "views", "views_and_first", "out", "python")  # {...} of a command
LAYOUTS = ("threestudio", "views", "video", "mesh")
ORBIT = ("elevation", "distance", "fov")


@dataclass(frozen=True)
class Renders:
    """Where they lie: `files` are named by a pattern below {out}. `views` is how many there must be at least, or how
    many are taken of a `turn`, the share of a video's frames (from, to) that is one turn. `orbit`: elevation, distance
    and fov of the cameras, where they are known."""

    layout: str = "views"
    files: str = ""
    views: int = 50
    turn: tuple[float, float] = (0.0, 1.0)
    orbit: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Log:
    """Patterns for a line of what the program prints: `step`, whose first group is the number of the step, and
    `diverged`, whose first group is the loss."""

    step: str = ""
    diverged: str = r"(?i)\bloss\w*[\"']?\s*[:=]?\s*(?:tensor\()?([-+]?\w[\w.+-]*)"


@dataclass(frozen=True)
class Spec:
    """An engine, checked. `file` is where it was read, `name` that of its row."""

    name: str
    file: Path
    about: str = ""
    source: str = ""
    licence: str = ""
    suite: str = ""
    folder: Path = Path()
    interpreter: str = ""
    command: tuple[str, ...] = ()
    steps: int | None = None
    prior: str = ""
    phi: str = ""
    timeout_minutes: float = 24 * 60.0
    values: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    renders: Renders = field(default_factory=Renders)
    log: Log = field(default_factory=Log)

    def asks_for(self, name: str) -> bool:
        """Whether a job depends on what {name} is."""
        texts = (*self.command, *self.environment.values(), *self.files.values(), self.renders.files)
        return name in {key for text in texts for key, _ in asked(text)}

    def filled(self, text: str, given: Mapping[str, Any], quoted: bool = False) -> str:
        """A text with {...} in it. `quoted`: each stands as JSON has it."""
        values = {**self.values, **given}
        out = []
        for literal, name, how, _ in Formatter().parse(text):
            out.append(literal)
            if name is not None:
                value = values[name]
                as_json = how == "quoted" or (quoted and how != "plain")
                out.append(json.dumps(value, ensure_ascii=False) if as_json else str(value))
        return "".join(out)


def asked(text: str) -> list[tuple[str, str]]:
    """The names in {...} of a text, and how each is to stand there. Raises ValueError for braces that do not match."""
    return [(name, how or "") for _, name, how, _ in Formatter().parse(text) if name is not None]
