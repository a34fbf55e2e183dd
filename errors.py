"""Errors that a user caused and can mend: one clear sentence, exit code 2, no traceback. And what errors say."""

import errno
import sys
from collections.abc import Callable

TOO_LITTLE = (  # in the words of torch on a CPU, CUDA, cuBLAS and cuDNN, Python's threads, and the system
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "ALLOC_FAILED",
    "ALLOCATION_FAILED",
    "can't start new thread",
    "Cannot allocate memory",
)


class UserError(Exception):
    """What is wrong and what to do, in one sentence."""


def exit_code(program: str, main: Callable[[], int | None]) -> int:
    """Of a program's `main`: what it returns, or 2 after the sentence of a UserError."""
    try:
        return main() or 0
    except UserError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2


class RuleError(Exception):
    """What a rule from a file outside the tree did wrong while it ran, in one sentence with its file and line."""


def words(error: BaseException) -> str:
    """What an error says; nothing where saying it fails, for it may be code of a user's."""
    try:
        return str(error)
    except Exception:
        return ""


def first_line(error: BaseException, most: int = 200) -> str:
    """The first line of what an error says, without a full stop; its class's name where it says nothing."""
    lines = words(error).strip().splitlines()
    return lines[0][:most].strip().rstrip(".") if lines else type(error).__name__


def cause(error: BaseException) -> str:
    """The error's class and its first line."""
    said, kind = first_line(error), type(error).__name__
    return kind if said == kind else f"{kind}: {said}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory, a device's or the machine's, was too little, or what the error was raised from says so. Few
    libraries have an exception for it."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    text = words(error)
    said = any(few in text for few in TOO_LITTLE) and kinds & {"RuntimeError", "OSError", "SafetensorError"}
    if said or kinds & {"MemoryError", "OutOfMemoryError"} or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    return error.__cause__ is not None and is_out_of_memory(error.__cause__)
