"""What code computes, as a checksum: of a rule for the keys of its jobs, of a metric for the stamps of its scores.

Comments, docstrings and layout do not count, and neither does the version of Python that reads the file.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from files import ROOT, read_text


def digest_of_code(texts: Iterable[str]) -> str:
    """SHA-256, as hex, over what the texts of Python files say. Raises SyntaxError for one that says nothing."""
    return hashlib.sha256(repr([_said(ast.parse(text)) for text in texts]).encode()).hexdigest()


@cache
def digest_of_module(module: str, rooms: tuple[str, ...]) -> str:
    """Of a module of the house (`methods.sdi`) and of all modules in `rooms` that it reaches by imports at the top."""
    return digest_of_code(read_text(file_of(name)) for name in sorted(reached(module, rooms)))


def reached(module: str, rooms: tuple[str, ...], root: Path = ROOT) -> set[str]:
    """The module, and those in `rooms` that it and they import at their top level."""
    found, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name not in found and (file := file_of(name, root)).is_file():
            found.add(name)
            waiting += [used for used in _imported(read_text(file)) if used.split(".")[0] in rooms]
    return found


def file_of(module: str, root: Path = ROOT) -> Path:
    """The file of a module; a package has none."""
    return root.joinpath(*module.split(".")).with_suffix(".py")


def _imported(text: str) -> Iterator[str]:
    for node in ast.parse(text).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _said(node: Any) -> Any:
    """A syntax tree as nested tuples. What is not there is left out: later versions of Python add fields."""
    if isinstance(node, list):
        return tuple(_said(item) for item in node)
    if not isinstance(node, ast.AST):
        return (type(node).__name__, repr(node))
    fields = dict(ast.iter_fields(node))
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        fields["body"] = [line for line in node.body if not _is_text(line)]
    return type(node).__name__, tuple((k, _said(v)) for k, v in fields.items() if v not in (None, []) and k != "kind")


def _is_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)
