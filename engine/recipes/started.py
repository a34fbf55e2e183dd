"""One job of a rule from a file: what `start` returned, the rule's own random numbers and settings, and the guard of
what it shares with other jobs. Every call of the rule's functions passes here."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import re
import signal
import sys
import traceback
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import torch

from engine.recipes import guard, shelter, source
from engine.recipes.guard import Guard, Watch
from engine.recipes.memory import Memory
from engine.recipes.shelter import Numbers, Shelter
from engine.recipes.source import LOADED, Source
from errors import RuleError, cause, is_out_of_memory
from priors.base import Prior
from state import flatten, unflatten

EVERY = 25  # calls of `gradient` between two looks at the parts that change no count; each takes 0.02 s
IMPORTED: dict[str, tuple[dict[str, Any], str | None]] = {}  # of a rule's module: flags it set, code it changed
# how changes that pass by torch's counts are written
HINTS = {
    "requires_grad": r"requires_grad",
    "hook": r"\bregister_|hooks",
    "training": r"\.(train|eval)\(",
    "sys.modules": r"\bmodules\b|\breload\(",
}
PAST_THE_COUNTS = r"\.data\b|\.numpy\(|\.set_\(|from_dlpack"


def imported(files: Source) -> ModuleType:
    """The rule's module. The flags its files set as they are read are the rule's own; the program's code is put back,
    and a rule that changed it is refused when it starts."""
    if files.name in sys.modules:
        return sys.modules[files.name]
    for name in source.of_the_house(files):
        with contextlib.suppress(Exception):  # the rule's own import says it better
            importlib.import_module(name)
    with made(files):
        return source.load(files)


@contextlib.contextmanager
def made(files: Source) -> Iterator[None]:
    """While the rule's files are read, or an instance is made: flags that are set then are the rule's own, and the
    caller finds all as it was."""
    own, refused = IMPORTED.get(files.name, ({}, None))
    code, before, numbers = guard.code(), shelter.flags(), Numbers.now()
    Numbers.seeded(files.digest).put()
    shelter.put(own)
    try:
        yield
    finally:
        after, changed = shelter.flags(), guard.changed_code(code)
        numbers.put()
        shelter.put(before)
        IMPORTED[files.name] = shelter.changed(before, after), refused or changed


class Started:
    """`state` is what the rule's `start` returned; the rest is the job's. Saved and loaded as any state is."""

    def __init__(self, rule: Any, name: str, files: Source, prior: Prior, seed: int):
        self.rule, self.name, self.files, self.state = rule, name, files, None
        own, self.refused = IMPORTED.get(files.name, ({}, None))
        self.shelter, self.guard = Shelter(Numbers.seeded(seed), own), Guard(prior)
        self.called: dict[str, int] = {}
        self.memory = Memory(rule, files.name)

    def start(self, prior: Prior) -> None:
        if self.refused:
            line = self._searched(self.refused) or f"{self.files.file}:1"
            raise RuleError(f"{line}: {self.name}'s file changed {self.refused}, which all jobs share: {_MEND}")
        state = self.call("start", prior)
        if state is not None and not (hasattr(state, "state_dict") and hasattr(state, "load_state_dict")):
            raise self.wrong("start", f"returned a {type(state).__name__} without state_dict and load_state_dict")
        self.state, self.memory = state, Memory(self.rule, self.files.name)  # what `start` did, it does again
        if state is not None:
            self.load_state_dict(unflatten(*flatten(self.state_dict())))  # as a job that goes on will

    def call(self, name: str, *arguments: Any) -> Any:
        """What the rule's function returns; None where the rule has none."""
        function = getattr(self.rule, name, None)
        if function is None:
            return None
        count = self.called[name] = self.called.get(name, 0) + 1
        if name != "start":
            self.guard.add(arguments[0].text)
        watch = Watch(self.guard.tensors, set(self.files.paths)) if count == 1 else None
        try:
            with self.shelter.inside(keep=name == "start"), watch or contextlib.nullcontext():
                out = function(*arguments)
        except BaseException as error:
            self.guard.structure()  # puts the code back
            if is_users(error) or is_out_of_memory(error):
                raise  # a status of its own
            raise RuleError(f"{line_in(self.files, error) or self._def(name)}: {said(error)}") from error
        self._look(name, watch, whole=count == 1 or count % EVERY == 0, content=count == 1)
        return out

    def _look(self, name: str, watch: Watch | None, whole: bool, content: bool) -> None:
        """Raise RuleError where the rule changed what it shares."""
        what = self.guard.counted() or (self.guard.structure() if whole else None)
        past = what is None and content
        what = self.guard.content() if past else what
        if what is None:
            return
        self.guard.structure()  # puts the code back
        tensor = self.guard.tensors.get(what.removeprefix("requires_grad of "))
        line = watch.line(tensor) if watch and tensor is not None else ""
        line = line or self._searched(what) or (self._searched(PAST_THE_COUNTS) if past else "") or self._def(name)
        what = what.replace("prior._prior", "prior")  # of scenes side by side, each has a seat before the shared one
        raise RuleError(f"{line}: {self.name}.{name} changed {what}, which {_whose(what)}: {_MEND}")

    def state_dict(self) -> dict[str, Any]:
        """Raises RuleError where a checkpoint cannot keep it, and where what made it was changed by the rule."""
        if self.called:
            self._look(list(self.called)[-1], None, whole=True, content=True)
        kept, memory = self._kept(), self.memory.state_dict()
        return {"rule": kept, "memory": memory, "numbers": self.shelter.numbers.state_dict()}

    def _kept(self) -> Any:
        if self.state is None:
            return None
        try:
            with self.shelter.inside():
                kept = self.state.state_dict()
            tensors, _ = flatten(kept, "state_dict()")
            odd = next((k for k, v in tensors.items() if v.layout != torch.strided or v.is_meta), None)
            if odd:
                raise TypeError(f"{odd} is a sparse or empty tensor, which a checkpoint cannot keep")
            return kept
        except BaseException as error:
            if is_users(error):
                raise
            raise self._state("state_dict", error) from error

    def load_state_dict(self, kept: dict[str, Any]) -> None:
        try:
            with self.shelter.inside():
                self.memory.load_state_dict(kept["memory"])
                if self.state is not None:
                    self.state.load_state_dict(kept["rule"])
        except BaseException as error:
            if is_users(error):
                raise
            raise self._state("load_state_dict", error) from error
        self.shelter.numbers = Numbers.of(kept["numbers"])  # whatever loading drew

    def _state(self, name: str, error: BaseException) -> RuleError:
        """What is wrong with the state, at the line that went wrong, or at its class's function, or at `start`."""
        line = line_in(self.files, error) or _defined(type(self.state), name, self.files) or self._def("start")
        return RuleError(f"{line}: what {self.name}.start returned cannot be kept in a checkpoint: {said(error)}")

    def wrong(self, name: str, what: str) -> RuleError:
        return RuleError(f"{self._def(name)}: {self.name}.{name} {what}")

    def _def(self, name: str) -> str:
        return _defined(type(self.rule), name, self.files) or f"{self.files.file}:1"

    def _searched(self, what: str) -> str:
        """FILE:LINE where the rule's files seem to change an attribute."""
        name = re.escape(re.split(r"[ .]", what.split(" of ")[0])[-1])
        exact = rf"\.{name}\b(\[.*\])?\s*[^\w\s=(]*=(?!=)|(setattr|patch|register_).*\b{name}\b"
        hint = next((pattern for word, pattern in HINTS.items() if word in what), exact)
        for pattern in (PAST_THE_COUNTS,) if what == PAST_THE_COUNTS else (hint, rf"\.{name}\b"):
            for path, text in self.files.paths.items():
                for number, line in enumerate(text.splitlines(), 1):
                    if re.search(pattern, line):
                        return f"{path}:{number}"
        return ""


_MEND = "work on a copy, and keep what is trained in what start() returns"


def _whose(what: str) -> str:
    return "later steps read again" if "views.text" in what else "all jobs share"


def _defined(cls: type, name: str, files: Source) -> str:
    """FILE:LINE of a class's function, where it is in the rule's files."""
    code = getattr(inspect.unwrap(getattr(cls, name, cls)), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code and code.co_filename in files.paths else ""


def line_in(files: Source, error: BaseException) -> str:
    """FILE:LINE, the innermost of the rule's files that the error passed through; nothing where it passed through
    none."""
    if isinstance(error, SyntaxError) and error.filename in files.paths:
        return f"{error.filename}:{error.lineno or 1}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename in files.paths]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def is_users(error: BaseException) -> bool:
    """Whether it is Ctrl-C, which jobs' processes leave to their parent: what is raised there is the rule's."""
    return isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


def said(error: BaseException) -> str:
    """`errors.cause`, in the words of the rule's own file."""
    text = type(error).__name__
    with contextlib.suppress(Exception):  # an error of the rule's own, whose words are code of the rule's own
        text = f"{text}: {error.msg}" if isinstance(error, SyntaxError) else cause(error)
    for name in LOADED:
        text = text.replace(f"{name}.", "")  # the rule's own modules, as its file calls them
    return text
