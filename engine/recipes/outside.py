"""A researcher's own rule: `my_rule.py:MyRule`, a class in a file outside the tree (docs/your-own-rule.md).

It is a frozen dataclass with `gradient(views, prior, state) -> Guidance`, and, where it wants them, `start`, `learn`
and `negative` as methods.base.Method has them. What it returns is looked at before the loop uses it, what it shares
with other jobs is looked after (started.py), and whatever goes wrong in it is said with the file and line. Jobs carry
the source to their processes: a file edited meanwhile changes nothing.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch

from engine.recipes import source as sources_of_rules
from engine.recipes.source import ROOMS, Source
from engine.recipes.started import Started, imported, line_in, said
from engine.recipes.started import made as sheltered
from errors import RuleError, UserError
from methods.base import Guidance, Method, Views
from names import known
from priors.base import Prior
from sources import digest_of_module


def source_of(method: Method) -> str:
    """SHA-256, as hex, over what a rule's code says: its file and those beside it that it imports, or its module of
    the house, and the algebra it shares with other rules. Comments do not count."""
    return method.source if isinstance(method, Outside) else digest_of_module(type(method).__module__, ROOMS)


def load(name: str) -> Outside:
    """The rule of FILE.py:CLASS, with its fields' defaults. Raises UserError, with the line where there is one."""
    if name.endswith(".py"):
        raise UserError(f"Say which class of {name} is the rule, as in {name}:MyRule.")
    file, _, wanted = name.rpartition(":")
    try:
        source = sources_of_rules.read(file)
    except FileNotFoundError as error:
        raise UserError(f"There is no file {file} to take the rule {wanted} from.") from error
    except (OSError, ValueError) as error:
        raise UserError(f"The rule's file {file} cannot be read: {error}.") from error
    module = _module(source)
    classes = {c.__name__: c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__}
    if not classes:
        raise UserError(f"There is no class in {file}: a rule is a frozen dataclass, as in docs/my_rule.py.")
    return _made(classes[known(f"class in {file} named", wanted, classes)], source)


def _module(source: Source) -> ModuleType:
    """The file as a module. Raises UserError, with the line of the rule's files where they go wrong."""
    try:
        for path, text in source.paths.items():
            compile(text, path, "exec")
        return imported(source)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise UserError(f"{line_in(source, error) or f'{source.file}:1'}: {said(error)}.") from error


def _made(cls: type, source: Source) -> Outside:
    """An instance in its wrapping, after all that can be seen before it runs."""
    at = f"{source.file}:{_class_line(cls, source.texts[0][1])}: {cls.__name__}"
    gradient = getattr(cls, "gradient", None)
    if not callable(gradient) or gradient is Method.gradient:
        raise UserError(f"{at} has no gradient(self, views, prior, state).")
    if not dataclasses.is_dataclass(cls) or not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise UserError(f"{at} is not a frozen dataclass: write @dataclass(frozen=True) above it.")
    try:
        with sheltered(source):
            rule = cls()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        line = line_in(source, error)
        raise UserError(f"{f'{line}: {cls.__name__}' if line else at}() failed: {said(error)}.") from error
    try:
        inspect.signature(rule.gradient).bind(None, None, None)  # type: ignore[attr-defined]
    except TypeError as error:
        raise UserError(f"{at}.gradient takes other arguments than (self, views, prior, state).") from error
    try:
        json.dumps(dataclasses.asdict(rule))  # type: ignore[call-overload]
    except TypeError as error:
        raise UserError(f"{at} has a field that is no number, string, bool or tuple of these: {error}.") from error
    made = Outside(rule, cls.__name__, source.digest)
    weight = made.guidance_weight
    if weight is not None and not (isinstance(weight, float | int) and math.isfinite(weight) and weight > 0):
        raise UserError(f"{at}.guidance_weight is {weight!r}, not a number above 0.")
    return made


@dataclass(frozen=True)
class Outside(Method):
    """A rule from a file, its class's name, and the SHA-256 of what its files say (`source_of`): all are in a job's
    key, so that an edited rule is another result. What belongs to one job of it is in its state, a `Started`."""

    rule: Any
    name: str
    source: str

    @property
    def files(self) -> Source:
        return sources_of_rules.LOADED[type(self.rule).__module__]

    @property
    def file(self) -> str:
        return self.files.file

    @property
    def negative(self) -> str:  # type: ignore[override]
        return getattr(self.rule, "negative", "")

    @property
    def guidance_weight(self) -> float | None:
        """The weight that the class states; None where it is to be measured."""
        return getattr(self.rule, "guidance_weight", None)

    def with_fields(self, **values: Any) -> Outside:
        """The rule with other settings."""
        with sheltered(self.files):
            return dataclasses.replace(self, rule=dataclasses.replace(self.rule, **values))

    def __reduce__(self) -> tuple[Any, ...]:
        values = {f.name: getattr(self.rule, f.name) for f in dataclasses.fields(self.rule) if f.init}
        return _rebuilt, (self.files, self.name, values, self.source)

    def start(self, prior: Prior, seed: int = 0) -> Started:
        """The state of a job, its own random numbers among it, which start from the seed. Raises RuleError for what a
        checkpoint could not keep."""
        if isinstance(self.rule, Unread):
            raise RuleError(self.rule.said)
        job = Started(self.rule, self.name, self.files, prior, seed)
        job.start(prior)
        return job

    def gradient(self, views: Views, prior: Prior, state: Started) -> Guidance:
        own = _copied(views)
        out = state.call("gradient", own, prior, state.state)
        if not isinstance(out, Guidance):
            raise state.wrong("gradient", f"returned a {type(out).__name__}, not a Guidance")
        latent = _like(state, "latent", out.latent, views.x0)
        image = None if out.image is None else _like(state, "image", out.image, views.image)
        return Guidance(latent, image, _log(state, "gradient", out.log))

    def learn(self, views: Views, prior: Prior, state: Started) -> dict[str, float]:
        return _log(state, "learn", state.call("learn", _copied(views), prior, state.state) or {})


@dataclass(frozen=True)
class Unread:
    """A rule whose file cannot be read in this process, though it could where its job was planned."""

    said: str


def _rebuilt(source: Source, name: str, values: dict[str, Any], digest: str) -> Outside:
    try:
        cls = vars(_module(source))[name]
        with sheltered(source):
            return Outside(cls(**values), name, digest)
    except UserError as error:
        return Outside(Unread(str(error)), name, digest)


def _copied(views: Views) -> Views:
    """The views, for the rule to change as it likes: the loop goes on with its own."""
    cameras = type(views.cameras)(*(getattr(views.cameras, f.name).clone() for f in dataclasses.fields(views.cameras)))
    return dataclasses.replace(views, x0=views.x0.clone(), image=views.image.clone(), cameras=cameras)


def _like(state: Started, name: str, given: Any, wanted: torch.Tensor) -> torch.Tensor:
    """The tensor, detached, in the dtype of what it is the gradient of."""
    if not isinstance(given, torch.Tensor) or not given.is_floating_point():
        what = f"of {given.dtype}" if isinstance(given, torch.Tensor) else f"a {type(given).__name__}"
        raise state.wrong("gradient", f"returned a Guidance whose {name} is {what}, not a tensor of floats")
    if given.shape != wanted.shape or given.device != wanted.device:
        shape, device = tuple(given.shape), given.device
        raise state.wrong(
            "gradient",
            f"returned a Guidance whose {name} has shape {shape} on {device}, not {tuple(wanted.shape)} on "
            f"{wanted.device}",
        )
    return given.detach().to(wanted.dtype)


def _log(state: Started, name: str, log: Any) -> dict[str, float]:
    """Numbers by name, as log.jsonl takes them; `step` is the loop's."""
    try:
        return {str(key): float(value) for key, value in log.items() if key != "step"}
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise state.wrong(name, f"returned a log that is not a dict of numbers: {said(error)}") from error


def _class_line(cls: type, source: str) -> int:
    starts = [n for n, line in enumerate(source.splitlines(), 1) if line.lstrip().startswith(f"class {cls.__name__}")]
    return starts[0] if starts else 1
