"""Errors that a user caused and can mend: one clear sentence, exit code 2, no traceback."""


class UserError(Exception):
    """What is wrong and what to do, in one sentence."""


class RuleError(Exception):
    """What a rule from a file outside the tree did wrong while it ran, in one sentence with its file and line."""


def first_line(error: BaseException, most: int = 200) -> str:
    """The first line of what an error says, without a full stop; its class's name where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0][:most].strip().rstrip(".") if lines else type(error).__name__


def cause(error: BaseException) -> str:
    """The error's class and its first line."""
    said, kind = first_line(error), type(error).__name__
    return kind if said == kind else f"{kind}: {said}"
