"""Errors that a user caused and can mend: one clear sentence, exit code 2, no traceback."""


class UserError(Exception):
    """What is wrong and what to do, in one sentence."""


class RuleError(Exception):
    """What a rule from a file outside the tree did wrong while it ran, in one sentence with its file and line."""
