"""What all jobs share and a rule from a file must leave as it is: the prior's weights, buffers, schedule, hooks, modes
and methods, the embedded prompts, the program's own code. A change is found and named, with the line where it can be.

A tensor that changes in place counts its changes: to compare the counts takes 0.1 ms, so that is done after every
call. Changes that pass by the counts (`p.data`, numpy) are found by sums over all contents: after the first calls, and
before each checkpoint, so that none is written that a changed prior made.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from types import FrameType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from priors.base import Prior

OWN = {"commands", "engine", "eval", "methods", "priors", "prompts", "reports", "scene", "suites", "world"}
SHARED = {"priors", "world"}  # where a prior's parts are defined
OWN |= {"errors", "files", "names", "say", "sources", "state"}
LIBRARIES = {"torch", "numpy", "numpy.random", "random", "math", "builtins"}
LIBRARIES |= {"torch.nn.functional", "torch.nn.init", "torch.autograd", "torch.autograd.grad_mode", "torch.linalg"}
FAMILIES = ("torch.nn.modules.", "torch.optim.", "diffusers.models.", "diffusers.schedulers.", "transformers.models.")
COUNTED = {"nfe", "rows"}  # of a prior, which every call changes
RAMP = 8191  # weights of a sum over a tensor's bytes: what changes places changes it, too


class Guard:
    """What was found at first of a prior, the texts embedded with it, and the code that is loaded."""

    def __init__(self, prior: Prior):
        self.seen = dict(_things("prior", prior))
        self.tensors = {name: thing for name, thing in self.seen.items() if isinstance(thing, Tensor)}
        self.marks = {name: _mark(tensor) for name, tensor in self.tensors.items()}
        self.sums = contents(self.tensors)
        self.facts = {name: _facts(thing) for name, thing in self.seen.items() if not isinstance(thing, Tensor)}
        self.code = code()

    def add(self, text: Any) -> None:
        """Watch the embeddings that the rule is given, too."""
        if "views.text" in self.seen:
            return
        self.seen["views.text"] = text
        new = {name: thing for name, thing in _things("views.text", text) if isinstance(thing, Tensor)}
        self.tensors |= new
        self.marks |= {name: _mark(tensor) for name, tensor in new.items()}
        self.sums |= contents(new)

    def counted(self) -> str | None:
        """The first tensor whose count of changes, place or mode is another, and whose content is."""
        found = [name for name, tensor in self.tensors.items() if _mark(tensor) != self.marks[name]]
        for name in found:
            tensor, mark = self.tensors[name], self.marks[name]
            if tensor.requires_grad != mark[2]:
                return f"requires_grad of {name}"
            if contents({name: tensor})[name] != self.sums[name]:
                return name
            self.marks[name] = _mark(tensor)  # changed, and changed back
        return None

    def structure(self) -> str | None:
        """The first attribute, hook, mode, module or function that is another than at first."""
        for name, before in self.facts.items():
            if what := _difference(before, _facts(self.seen[name])):
                return f"{what} of {name}"
        return changed_code(self.code)

    def content(self) -> str | None:
        """The first tensor of other content."""
        now = contents(self.tensors)
        return next((name for name, value in self.sums.items() if now[name] != value), None)


def _things(name: str, thing: Any, known: set[int] | None = None) -> Iterator[tuple[str, Any]]:
    """The tensors and the objects that a thing is made of, by where they are. Others' objects are taken as they are."""
    known = set() if known is None else known
    if id(thing) in known:
        return
    known.add(id(thing))
    if isinstance(thing, Tensor):
        yield name, thing
    elif isinstance(thing, dict):
        for key, value in list(thing.items()):
            yield from _things(f"{name}[{key!r}]", value, known)
    elif isinstance(thing, list | tuple):
        for k, value in enumerate(thing):
            yield from _things(f"{name}[{k}]", value, known)
    elif isinstance(thing, nn.Module):
        yield name, thing
        for part in ("_parameters", "_buffers", "_modules"):
            for key, value in vars(thing)[part].items():
                yield from _things(f"{name}.{key}", value, known)
    elif isinstance(thing, MethodType):
        yield from _things(name, thing.__self__, known)
    elif isinstance(thing, FunctionType):
        for cell in thing.__closure__ or ():
            yield from _things(name, cell.cell_contents, known)
    elif isinstance(thing, Prior) or (type(thing).__module__.split(".")[0] in SHARED and hasattr(thing, "__dict__")):
        yield name, thing
        for key, value in vars(thing).items():
            yield from _things(f"{name}.{key}", value, known)


def _facts(thing: Any) -> dict[str, Any]:
    """What an object consists of: its class, its attributes, and the hooks, parts and weights of a module by name."""
    facts: dict[str, Any] = {"the class": type(thing)}
    for key, value in vars(thing).items():
        if key in COUNTED and isinstance(thing, Prior):
            continue
        if isinstance(thing, nn.Module) and isinstance(value, dict) and key.startswith("_") and key not in _GROWING:
            facts |= {f"{_SAID.get(key, key)} {name}": part for name, part in value.items()}
        else:
            facts[f"the attribute {key}"] = value
    return facts


_GROWING = {"_calls", "_traces"}
_SAID = {"_parameters": "the weight", "_buffers": "the buffer", "_modules": "the module"}
_SAID |= {name: "a hook" for name in vars(nn.Module()) if name.endswith("hooks")}


def _difference(before: dict[str, Any], after: dict[str, Any]) -> str | None:
    """The first name whose value is another object, or another plain value."""
    for name in dict.fromkeys([*after, *before]):
        if name not in before or name not in after or not _same(before[name], after[name]):
            return name
    return None


def _same(a: Any, b: Any) -> bool:
    plain = (bool, int, float, str, type(None), tuple, torch.dtype, torch.device)
    return a is b or (type(a) is type(b) and isinstance(a, plain) and a == b)


def _mark(tensor: Tensor) -> tuple[int, int, bool]:
    """How often it was changed in place, where it lies, whether it learns."""
    version = 0 if tensor.is_inference() else tensor._version
    return version, tensor.data_ptr(), tensor.requires_grad


@torch.no_grad()
def contents(tensors: dict[str, Tensor]) -> dict[str, int]:
    """A checksum of the bits of each tensor."""
    return {name: _sum(tensor.detach()) for name, tensor in tensors.items()}


def _sum(tensor: Tensor) -> int:
    if tensor.layout != torch.strided or tensor.is_meta or not tensor.numel():
        return 0
    tensor = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    bits = tensor.contiguous().flatten().view(torch.uint8)
    if not bits.is_cuda:
        return zlib.crc32(bits.cpu().numpy())  # type: ignore[arg-type]
    total = torch.zeros((), dtype=torch.int64, device=bits.device)
    for part in bits.split(2**26):
        places = torch.arange(len(part), device=bits.device) % RAMP + 1
        total = 31 * total + (part * places).sum()
    return int(total)


def code() -> dict[str, tuple[Any, dict[str, Any]]]:
    """What the program's modules and classes, and those of the libraries that all rules use, hold."""
    found: dict[str, tuple[Any, dict[str, Any]]] = {}
    for name, module in list(sys.modules.items()):
        if not isinstance(module, ModuleType):
            continue
        own = name.split(".")[0] in OWN
        if own or name in LIBRARIES or name.startswith(FAMILIES):
            found[name] = module, _members(module, all_of_it=own)
            for key, value in list(vars(module).items()):
                if isinstance(value, type) and value.__module__ == name and name != "builtins":
                    found[f"{name}.{key}"] = value, _members(value, all_of_it=own)
    found["torch.Tensor"] = torch.Tensor, _members(torch.Tensor, all_of_it=False)
    return found


_UNTOLD = {"__warningregistry__", "__annotations__", "__builtins__", "__annotate_func__", "__annotations_cache__"}
_UNTOLD |= {"Storage", "_abc_impl", "__abstractmethods__", "__dict__", "__weakref__", "__doc__"}


def _members(place: Any, all_of_it: bool) -> dict[str, Any]:
    """Of a library, functions and classes alone: what else it keeps, it may change itself, and torch its Storage."""
    kinds = (FunctionType, type, staticmethod, classmethod, property, type(len), np.ufunc)
    found = dict(vars(place))
    return {k: v for k, v in found.items() if k not in _UNTOLD and (all_of_it or isinstance(v, kinds))}


def changed_code(before: dict[str, tuple[Any, dict[str, Any]]]) -> str | None:
    """The first member that was replaced, after all are put back."""
    first = None
    for name, (place, members) in before.items():
        if isinstance(place, ModuleType) and sys.modules.get(name) is not place:
            sys.modules[name], first = place, first or f"sys.modules[{name!r}]"
        now = vars(place)
        for key, value in members.items():
            if key in now and (now[key] is value or _by_torch(now[key], value)):
                continue
            setattr(place, key, value)
            first = first or f"{name}.{key}"
    return first


WRAPPED = torch.optim.Optimizer.profile_hook_step(lambda self: None).__code__


def _by_torch(now: Any, before: Any) -> bool:
    """Whether torch itself put `now` there: it wraps a class's step when its first optimiser is made."""
    return getattr(now, "__code__", None) is WRAPPED and getattr(now, "__wrapped__", None) is before


class Watch(TorchFunctionMode):
    """Remembers which line of a rule's files last changed each of the watched tensors in place."""

    def __init__(self, tensors: dict[str, Tensor], files: set[str]):
        super().__init__()
        self.watched = {_place(tensor) for tensor in tensors.values()}
        self.files, self.lines = files, dict[int, str]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = getattr(func, "__name__", ""), kwargs or {}
        inplace = name.startswith("__i") or name in ("__setitem__", "__set__")
        if inplace or "out" in kwargs or (name.endswith("_") and not name.endswith("__")):
            given = (*args[:1], kwargs.get("out"))
            for tensor in (v for a in given for v in (a if isinstance(a, list | tuple) else [a])):
                if isinstance(tensor, Tensor) and (place := _place(tensor)) in self.watched:
                    self.lines[place] = self.lines[id(tensor)] = here(self.files)
        return func(*args, **kwargs)

    def line(self, tensor: Tensor) -> str:
        """FILE:LINE, or nothing."""
        return self.lines.get(id(tensor)) or self.lines.get(_place(tensor), "")


def _place(tensor: Tensor) -> int:
    """The memory that a tensor shares with its views."""
    try:
        return tensor.untyped_storage().data_ptr() or id(tensor)
    except (RuntimeError, NotImplementedError):
        return id(tensor)


def here(files: set[str]) -> str:
    """FILE:LINE of the innermost frame that is in one of the files, or nothing."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename in files:
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return ""
