"""A researcher's own rule: `my_rule.py:MyRule`, a class in a file outside the tree (docs/your-own-rule.md).

It is a frozen dataclass with `gradient(views, prior, state) -> Guidance`, and, where it wants them, `start`, `learn`
and `negative` as methods.base.Method has them. What it returns is looked at before the loop uses it, and whatever goes
wrong in it is said with the file and line. Jobs carry the source to their processes: a file edited meanwhile changes
nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import math
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from errors import RuleError, UserError
from methods.base import Guidance, Method, Views
from names import known
from priors.base import Prior

SOURCES: dict[str, tuple[str, str]] = {}  # module: the file it was read from, and its text


def is_outside(name: str) -> bool:
    """Whether a method's name is that of a file."""
    return name.endswith(".py") or name.rpartition(":")[0].endswith(".py")


def load(name: str) -> Outside:
    """The rule of FILE.py:CLASS, with its fields' defaults. Raises UserError, with the line where there is one."""
    if name.endswith(".py"):
        raise UserError(f"Say which class of {name} is the rule, as in {name}:MyRule.")
    file, _, wanted = name.rpartition(":")
    try:
        source = Path(file).read_text("utf-8")
    except FileNotFoundError as error:
        raise UserError(f"There is no file {file} to take the rule {wanted} from.") from error
    except (OSError, ValueError) as error:
        raise UserError(f"The rule's file {file} cannot be read: {error}.") from error
    module = _module(file, source)
    classes = {c.__name__: c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__}
    if not classes:
        raise UserError(f"There is no class in {file}: a rule is a frozen dataclass, as in docs/my_rule.py.")
    return _made(classes[known(f"class in {file} named", wanted, classes)], file, source)


def _module(file: str, source: str) -> ModuleType:
    """The file as a module, from its text alone: no byte code of an older text is taken for it."""
    name = f"rule_{hashlib.sha256(f'{file} {source}'.encode()).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = file
    sys.modules[name], SOURCES[name] = module, (file, source)  # dataclasses look their module up
    try:
        exec(compile(source, file, "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        line = error.lineno if isinstance(error, SyntaxError) else _line(error, file)
        raise UserError(f"{file}:{line or 1}: {_said(error)}.") from error
    return module


def _made(cls: type, file: str, source: str) -> Outside:
    """An instance in its wrapping, after all that can be seen before it runs."""
    at = f"{file}:{_class_line(cls, source)}: {cls.__name__}"
    gradient = getattr(cls, "gradient", None)
    if not callable(gradient) or gradient is Method.gradient:
        raise UserError(f"{at} has no gradient(self, views, prior, state).")
    if not dataclasses.is_dataclass(cls) or not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise UserError(f"{at} is not a frozen dataclass: write @dataclass(frozen=True) above it.")
    try:
        rule = cls()
    except (Exception, SystemExit) as error:
        line = _line(error, file)
        raise UserError(f"{f'{file}:{line}: {cls.__name__}' if line else at}() failed: {_said(error)}.") from error
    try:
        inspect.signature(rule.gradient).bind(None, None, None)  # type: ignore[attr-defined]
    except TypeError as error:
        raise UserError(f"{at}.gradient takes other arguments than (self, views, prior, state).") from error
    try:
        json.dumps(dataclasses.asdict(rule))  # type: ignore[call-overload]
    except TypeError as error:
        raise UserError(f"{at} has a field that is no number, string, bool or tuple of these: {error}.") from error
    made = Outside(rule, cls.__name__, hashlib.sha256(source.encode()).hexdigest())
    weight = made.guidance_weight
    if weight is not None and not (isinstance(weight, float | int) and math.isfinite(weight) and weight > 0):
        raise UserError(f"{at}.guidance_weight is {weight!r}, not a number above 0.")
    return made


@dataclass(frozen=True)
class Outside(Method):
    """A rule from a file, its class's name, and the SHA-256 of the file's text: all are in a job's key, so that an
    edited rule is another result."""

    rule: Any
    name: str
    source: str

    @property
    def file(self) -> str:
        return SOURCES[type(self.rule).__module__][0]

    @property
    def negative(self) -> str:  # type: ignore[override]
        return getattr(self.rule, "negative", "")

    @property
    def guidance_weight(self) -> float | None:
        """The weight that the class states; None where it is to be measured."""
        return getattr(self.rule, "guidance_weight", None)

    def __reduce__(self) -> tuple[Any, ...]:
        values = {f.name: getattr(self.rule, f.name) for f in dataclasses.fields(self.rule) if f.init}
        return _rebuilt, (*SOURCES[type(self.rule).__module__], self.name, values, self.source)

    def start(self, prior: Prior) -> Any:
        state = self._call("start", prior)
        if state is not None and not (hasattr(state, "state_dict") and hasattr(state, "load_state_dict")):
            raise self._wrong("start", f"returned a {type(state).__name__} without state_dict and load_state_dict")
        return state

    def gradient(self, views: Views, prior: Prior, state: Any) -> Guidance:
        out = self._call("gradient", views, prior, state)
        if not isinstance(out, Guidance):
            raise self._wrong("gradient", f"returned a {type(out).__name__}, not a Guidance")
        latent = self._like("latent", out.latent, views.x0)
        image = None if out.image is None else self._like("image", out.image, views.image)
        return Guidance(latent, image, self._log("gradient", out.log))

    def learn(self, views: Views, prior: Prior, state: Any) -> dict[str, float]:
        return self._log("learn", self._call("learn", views, prior, state) or {})

    def _call(self, name: str, *arguments: Any) -> Any:
        """What the rule's function returns; None where the rule has none."""
        function = getattr(self.rule, name, None)
        if function is None:
            return None
        try:
            return function(*arguments)
        except torch.OutOfMemoryError:
            raise  # a status of its own
        except Exception as error:
            if "can't allocate memory" in str(error):
                raise
            line = _line(error, self.file) or self._def_line(name)
            raise RuleError(f"{self.file}:{line}: {_said(error)}") from error

    def _like(self, name: str, given: Any, wanted: torch.Tensor) -> torch.Tensor:
        """The tensor, detached, in the dtype of what it is the gradient of."""
        if not isinstance(given, torch.Tensor) or not given.is_floating_point():
            what = f"of {given.dtype}" if isinstance(given, torch.Tensor) else f"a {type(given).__name__}"
            raise self._wrong("gradient", f"returned a Guidance whose {name} is {what}, not a tensor of floats")
        if given.shape != wanted.shape or given.device != wanted.device:
            shape, device = tuple(given.shape), given.device
            raise self._wrong(
                "gradient",
                f"returned a Guidance whose {name} has shape {shape} on {device}, "
                f"not {tuple(wanted.shape)} on {wanted.device}",
            )
        return given.detach().to(wanted.dtype)

    def _log(self, name: str, log: Any) -> dict[str, float]:
        """Numbers by name, as log.jsonl takes them; `step` is the loop's."""
        try:
            return {str(key): float(value) for key, value in log.items() if key != "step"}
        except (AttributeError, TypeError, ValueError, RuntimeError) as error:
            raise self._wrong(name, f"returned a log that is not a dict of numbers: {_said(error)}") from error

    def _wrong(self, name: str, what: str) -> RuleError:
        return RuleError(f"{self.file}:{self._def_line(name)}: {self.name}.{name} {what}")

    def _def_line(self, name: str) -> int:
        code = getattr(inspect.unwrap(getattr(type(self.rule), name)), "__code__", None)
        return code.co_firstlineno if code and code.co_filename == self.file else 1


def _rebuilt(file: str, source: str, name: str, values: dict[str, Any], digest: str) -> Outside:
    return Outside(vars(_module(file, source))[name](**values), name, digest)


def _line(error: BaseException, file: str) -> int | None:
    """The innermost line of the file that the error passed through."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return lines[-1] if lines else None


def _class_line(cls: type, source: str) -> int:
    starts = [n for n, line in enumerate(source.splitlines(), 1) if line.lstrip().startswith(f"class {cls.__name__}")]
    return starts[0] if starts else 1


def _said(error: BaseException) -> str:
    """The error's class and the first line of what it says, without a full stop."""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    first = text.strip().splitlines()[0].rstrip(".") if text.strip() else ""
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
