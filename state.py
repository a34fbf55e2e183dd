"""What training changes, as a checkpoint keeps it: nested dicts and lists of tensors and plain values, as torch's own
`state_dict`s are, become flat tensors and JSON, and come back the same.

    {"adam": {"state": {0: {"step": tensor}}}, "seen": 3}  <->  {"adam/state/#0/step": tensor}, {"seen": 3}
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote

from torch import Tensor

PLAIN = (bool, int, float, str, type(None))
LIST, TUPLE, EMPTY = "@list", "@tuple", "@dict"  # a container without items of its own keeps its kind so


def flatten(state: Any, at: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors by path, and the plain values by path. Raises TypeError, which names the place, for what cannot be
    kept: anything but tensors, numbers, strings, bools and None in dicts, lists and tuples."""
    tensors: dict[str, Tensor] = {}
    facts: dict[str, Any] = {}
    if isinstance(state, Tensor):
        return {at: state}, {}
    if isinstance(state, PLAIN):
        return {}, {at: state}
    if not isinstance(state, (dict, list, tuple)):
        raise TypeError(f"{at or 'the state'} is a {type(state).__name__}, which a checkpoint cannot keep")
    items = state.items() if isinstance(state, dict) else enumerate(state)
    if not isinstance(state, dict) or not state:
        facts[f"{at}/{LIST if isinstance(state, list) else TUPLE if isinstance(state, tuple) else EMPTY}"] = len(state)
    for key, value in items:
        if not isinstance(key, (str, int)) or isinstance(key, bool):
            raise TypeError(f"{at or 'the state'} has a key {key!r}: keys are strings or whole numbers")
        place = f"{at}/{_named(key)}" if at else _named(key)
        for kept, found in zip((tensors, facts), flatten(value, place), strict=True):
            kept.update(found)
    return tensors, facts


def unflatten(tensors: dict[str, Tensor], facts: dict[str, Any]) -> Any:
    """What `flatten` was given."""
    if set(tensors) | set(facts) == {""}:
        return tensors.get("", facts.get(""))
    tree: dict[str, Any] = {}
    for path, value in {**facts, **tensors}.items():
        *parents, leaf = path.split("/")
        place = tree
        for parent in parents:
            place = place.setdefault(parent, {}) if parent else place
        place[leaf] = value
    return _grown(tree)


def _named(key: str | int) -> str:
    """A part of a path: a number by its sign, and a string in which no sign has a meaning."""
    return f"#{key}" if isinstance(key, int) else quote(key, safe=" .") or "%"


def _key(name: str) -> str | int:
    return int(name[1:]) if name.startswith("#") else "" if name == "%" else unquote(name)


def _grown(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    kinds = {LIST, TUPLE, EMPTY} & tree.keys()
    kept = {_key(name): _grown(value) for name, value in tree.items() if name not in kinds}
    if LIST in kinds or TUPLE in kinds:
        values = [kept[k] for k in range(len(kept))]
        return values if LIST in kinds else tuple(values)
    return kept
