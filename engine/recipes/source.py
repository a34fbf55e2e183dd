"""A rule's file and the modules beside it: read once, carried to other processes as texts, told apart by what they say.

Whatever the rule's file imports, anywhere in it, and lies in its folder is a module of the rule's own. It is loaded
under a name of its own (`rule_<checksum>.helper`): two rules may each have a helper.py, and neither the program nor a
library ever gets one for a module of its own. Libraries and the program's packages go before what lies beside the file.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

from files import ROOT, read_text
from sources import digest_of_code, digest_of_module

ROOMS = ("methods", "priors")  # where the algebra is that rules share


@dataclass(frozen=True)
class Source:
    """The texts of a rule's files, by their paths in its folder. The first is the rule's own, `file` as it was
    named."""

    file: str
    texts: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """Of its module: other texts are another module."""
        return f"rule_{hashlib.sha256(repr(self).encode()).hexdigest()[:16]}"

    @property
    def paths(self) -> dict[str, str]:
        """The files, as errors name them, and their texts."""
        return {self.path(within): text for within, text in self.texts}

    def path(self, within: str) -> str:
        return self.file if within == self.texts[0][0] else str(Path(self.file).parent / within)

    @property
    def digest(self) -> str:
        """SHA-256, as hex, over what all files say, and what they use of the rooms of rules. Raises SyntaxError."""
        used = {name for _, text in self.texts for name, _ in _imports(text) if name.split(".")[0] in ROOMS}
        algebra = [digest_of_module(name, ROOMS) for name in sorted(used)]
        code = digest_of_code(text for _, text in (self.texts[0], *sorted(self.texts[1:])))
        return hashlib.sha256(repr([code, algebra]).encode()).hexdigest()


LOADED: dict[str, Source] = {}  # by the name of the module


def read(file: str) -> Source:
    """The file and what it imports from its folder, and that in turn. Raises OSError or ValueError for one that is no
    text in UTF-8."""
    folder, own = Path(file).parent, Path(file).name
    texts, waiting = {own: read_text(Path(file))}, [own]
    while waiting:
        within = waiting.pop()
        for asked in _asked(texts[within], PurePosixPath(within).parent, folder):
            if asked not in texts and (folder / asked).is_file():
                texts[asked] = read_text(folder / asked)
                waiting.append(asked)
    return Source(file, tuple(texts.items()))


def load(source: Source) -> ModuleType:
    """The rule's module, made from the texts alone: no byte code of an older text is taken for it. Passes on what the
    file raises."""
    LOADED[source.name] = source
    module = ModuleType(source.name)
    module.__package__, module.__path__ = source.name, []
    sys.modules[source.name] = module  # dataclasses look their module up
    try:
        _run(module, source, *source.texts[0])
    except BaseException:
        for name in [n for n in sys.modules if n.split(".")[0] == source.name]:
            del sys.modules[name]
        raise
    return module


def of_the_house(source: Source) -> set[str]:
    """Names that the files import from the program's own folders; some are of what is in a module."""
    names = {name for _, text in source.texts for name, level in _imports(text) if not level}
    return {name for name in names if (ROOT / name.split(".")[0]).is_dir() or (ROOT / f"{name}.py").is_file()}


def _run(module: ModuleType, source: Source, within: str, text: str) -> None:
    path = source.path(within)
    tops = {PurePosixPath(p).parts[0].removesuffix(".py") for p, _ in source.texts}
    module.__file__ = path
    vars(module)["__builtins__"] = vars(builtins) | {"__import__": partial(_import, source.name, tops)}
    exec(compile(text, path, "exec"), vars(module))


def _import(
    rule: str, tops: set[str], name: str, space: Any = None, local: Any = None, given=(), level: int = 0
) -> Any:
    """Python's `__import__` as the rule's files see it: what lies beside them is a part of the rule."""
    top = name.partition(".")[0]
    if level or top not in tops:
        return builtins.__import__(name, space, local, given, level)
    if given:
        return builtins.__import__(f"{rule}.{name}", space, local, given)
    importlib.import_module(f"{rule}.{name}")
    return sys.modules[f"{rule}.{top}"]


class _Beside(MetaPathFinder, Loader):
    """Finds `rule_<checksum>.helper` among the texts of its rule."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        rule, _, rest = name.partition(".")
        if rule not in LOADED or not rest:
            return None
        inner, texts = rest.replace(".", "/"), dict(LOADED[rule].texts)
        found = next((p for p in (f"{inner}/__init__.py", f"{inner}.py") if p in texts), None)
        if found is None and not any(p.startswith(f"{inner}/") for p in texts):
            return None
        whole = found is None or found.endswith("/__init__.py")
        return ModuleSpec(name, self, loader_state=found, is_package=whole)

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        if spec is not None and spec.loader_state is not None:  # a folder without __init__.py has nothing to run
            source = LOADED[spec.name.partition(".")[0]]
            _run(module, source, spec.loader_state, dict(source.texts)[spec.loader_state])


sys.meta_path.insert(0, _Beside())


def _asked(text: str, package: PurePosixPath, folder: Path) -> Iterator[str]:
    """Paths in the folder where modules may lie that a text imports; many are not there."""
    for name, level in _imports(text):
        base = PurePosixPath()
        if level:
            base = PurePosixPath(*package.parts[: len(package.parts) - level + 1])
        elif not _beside(name.partition(".")[0], folder):
            continue
        parts = name.split(".") if name else []
        for n in range(len(parts) + 1):
            inner = base.joinpath(*parts[:n])
            if inner.parts:
                yield from (f"{inner}.py", f"{inner}/__init__.py")


def _imports(text: str) -> Iterator[tuple[str, int]]:
    """Names of modules, and perhaps of what is in them, with the dots before them. None of a text that is no Python."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", node.level
            yield from ((".".join(filter(None, (node.module, alias.name))), node.level) for alias in node.names)


def _beside(top: str, folder: Path) -> bool:
    """Whether a name may be a module beside the file: no library has it, and no package of the program."""
    if top in sys.stdlib_module_names or folder.resolve() == ROOT:
        return False
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return True
    if spec is None or spec.origin is None:  # a folder without modules of its own is found everywhere
        return True
    origin = Path(spec.origin).resolve()
    return origin.parent == ROOT or folder.resolve() in origin.parents
