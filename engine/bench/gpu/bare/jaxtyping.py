"""In place of jaxtyping where it is not installed: the shapes in our signatures are never read there."""

from __future__ import annotations

from typing import Any


class _Shape:
    def __class_getitem__(cls, _: Any) -> type[_Shape]:
        return cls


def __getattr__(name: str) -> type[_Shape]:
    if name.startswith("__"):
        raise AttributeError(name)
    return _Shape
