"""What a rule remembers elsewhere than in what `start` returned: in its file's variables, its classes, its functions'
closures and defaults, itself. Counters, averages and generators there change from step to step, and a checkpoint must
hold them, too.

A place is a container (a module, a class, an object, a function, a dict, a list) and a key in it, and has a path for
its name. A collection of plain values is kept whole, so that it comes back as long as it was.
"""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Iterator
from types import CellType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

PLAIN = (bool, int, float, str, type(None))
MOST = 1000  # items that are looked at of a dict or list that holds more than plain values
KINDS = {kind.__name__: kind for kind in (set, frozenset, deque)}  # kept as [name, items...]
Place = tuple[str, Any, Any, Any]  # path, container, key, value


class Memory:
    """What changed since the job began, of what the rule's modules and the rule itself hold."""

    def __init__(self, rule: Any, module: str):
        self.rule, self.module = rule, module
        self.holders: dict[str, Any] = {}  # containers by their paths
        self.first = {path: _mark(value) for path, _, _, value in self._places()}

    def state_dict(self) -> dict[str, Any]:
        """By path: what is another than at first, or was not there."""
        return {
            path: _kept(value)
            for path, _, _, value in self._places()
            if path not in self.first or self.first[path] != _mark(value)
        }

    def load_state_dict(self, kept: dict[str, Any]) -> None:
        places = {path: (holder, key, now) for path, holder, key, now in self._places()}
        for path, value in kept.items():
            above, _, name = path.rpartition("/")
            if path in places:
                _put(*places[path], value)
            elif above in self.holders:
                _set(self.holders[above], int(name[1:]) if name.startswith("#") else name, value)

    def _places(self) -> Iterator[Place]:
        known: set[int] = set()
        for name, module in list(sys.modules.items()):
            if name.split(".")[0] == self.module:
                yield from self._within(name, module, known)
        yield from self._within("self", self.rule, known)

    def _within(self, path: str, holder: Any, known: set[int]) -> Iterator[Place]:
        """The places in a container that is the rule's own, and in those in it."""
        if id(holder) in known:
            return
        known.add(id(holder))
        self.holders[path] = holder
        for key, value in _items(holder):
            inner = f"{path}/{f'#{key}' if isinstance(key, int) else key}"
            if _is_leaf(value):
                if isinstance(value, dict | list):
                    self.holders[inner] = value
                yield inner, holder, key, value
            elif isinstance(value, dict | list | CellType) or self._owns(value):
                yield from self._within(inner, value, known)

    def _owns(self, value: Any) -> bool:
        """Whether it is a class or a function of the rule's files, or an object of such a class."""
        cls = value if isinstance(value, type | FunctionType) else type(value)
        return cls.__module__.split(".")[0] == self.module


def _items(holder: Any) -> list[tuple[Any, Any]]:
    if isinstance(holder, list):
        return list(enumerate(holder[:MOST]))
    if isinstance(holder, dict):
        return [(k, v) for k, v in list(holder.items())[:MOST] if isinstance(k, str | int)]
    if isinstance(holder, CellType):
        return [("cell_contents", value) for value in _content(holder)]
    if isinstance(holder, FunctionType):
        cells = zip(holder.__code__.co_freevars, holder.__closure__ or (), strict=True)
        defaults = {"__defaults__": list(holder.__defaults__ or ()), "__kwdefaults__": holder.__kwdefaults__ or {}}
        return [*cells, *defaults.items(), *vars(holder).items()]
    slots = {name for cls in type(holder).__mro__ for name in _slots(cls) if hasattr(holder, name)}
    found = {name: getattr(holder, name) for name in sorted(slots)} | dict(getattr(holder, "__dict__", {}))
    return [(k, v) for k, v in found.items() if not k.startswith("__") and not isinstance(v, ModuleType)]


def _slots(cls: type) -> tuple[str, ...]:
    named = vars(cls).get("__slots__", ())
    return (named,) if isinstance(named, str) else tuple(named)


def _content(cell: CellType) -> list[Any]:
    """What is in a cell, which may be empty."""
    try:
        return [cell.cell_contents]
    except ValueError:
        return []


def _is_leaf(value: Any) -> bool:
    if type(value) in (list, dict, tuple, *KINDS.values()):
        items = [*value, *value.values()] if isinstance(value, dict) else value
        return all(isinstance(item, PLAIN) or (type(item) is tuple and _is_leaf(item)) for item in items) and (
            not isinstance(value, dict) or all(type(key) in (str, int) for key in value)
        )
    kinds = (*PLAIN, Tensor, np.ndarray, torch.Generator, np.random.Generator, random.Random, nn.Module)
    return isinstance(value, (*kinds, torch.optim.Optimizer))


def _mark(value: Any) -> Any:
    """Equal for what has not changed; an optimiser's may, for it changes with what it optimises."""
    if isinstance(value, Tensor):
        return id(value), value._version
    if isinstance(value, np.ndarray):
        return value.tobytes() if value.nbytes < 2**20 else id(value)
    if isinstance(value, nn.Module):
        return [(id(v), v._version) for v in (*value.parameters(), *value.buffers())]
    if isinstance(value, torch.optim.Optimizer):
        return id(value), len(value.state)
    if isinstance(value, torch.Generator):
        return value.get_state().tolist()
    return str(_kept(value))


def _kept(value: Any) -> Any:
    """As a checkpoint takes it."""
    if isinstance(value, torch.Generator):
        return value.get_state()
    if isinstance(value, np.random.Generator):
        return _listed(value.bit_generator.state)
    if isinstance(value, random.Random):
        version, words, gauss = value.getstate()
        return [version, list(words), gauss]
    if isinstance(value, nn.Module | torch.optim.Optimizer):
        return value.state_dict()
    if type(value) in KINDS.values():
        items = list(value) if isinstance(value, deque) else sorted(value, key=repr)
        return [f"@{type(value).__name__}", getattr(value, "maxlen", None), *items]
    if isinstance(value, list | dict):
        return value.copy()
    return torch.from_numpy(value.copy()) if isinstance(value, np.ndarray) else value


def _listed(state: Any) -> Any:
    if isinstance(state, dict):
        return {key: _listed(value) for key, value in state.items()}
    return state.tolist() if isinstance(state, np.ndarray | np.generic) else state


@torch.no_grad()
def _put(holder: Any, key: Any, now: Any, value: Any) -> None:
    """What was kept, in place of what is there now; in it, where others may hold it."""
    if isinstance(value, list) and value and (kind := KINDS.get(str(value[0]).removeprefix("@"))):
        value = deque(value[2:], value[1]) if kind is deque else kind(value[2:])
    if isinstance(now, torch.Generator):
        now.set_state(value)
    elif isinstance(now, np.random.Generator):
        now.bit_generator.state = value
    elif isinstance(now, random.Random):
        now.setstate((value[0], tuple(value[1]), value[2]))
    elif isinstance(now, nn.Module | torch.optim.Optimizer):
        now.load_state_dict(value)
    elif isinstance(now, Tensor) and isinstance(value, Tensor) and now.shape == value.shape:
        now.copy_(value)
    elif isinstance(now, np.ndarray) and isinstance(value, Tensor):
        now[...] = value.numpy()
    elif isinstance(now, list | deque) and type(now) is type(value):
        now.clear()
        now.extend(value)
    elif isinstance(now, dict | set) and type(now) is type(value):
        now.clear()
        now.update(value)
    else:
        _set(holder, key, value)


def _set(holder: Any, key: Any, value: Any) -> None:
    if isinstance(holder, dict):
        holder[key] = value
    elif isinstance(holder, list):
        holder[key : key + 1] = [value]
    elif isinstance(holder, type | ModuleType | FunctionType | CellType):
        setattr(holder, key, value)
    else:
        object.__setattr__(holder, key, value)  # a rule is frozen
