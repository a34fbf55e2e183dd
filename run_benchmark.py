#!/usr/bin/env python
"""The command line: which command is meant, and how its errors are told."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import say
from errors import UserError
from names import COMMANDS, known


def main(arguments: list[str] | None = None) -> int:
    """The exit code of a command; without one's name, of `run`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    command, rest = "run", arguments
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # the bars here are of jobs, not of files
    for library in ("DIFFUSERS", "TRANSFORMERS"):  # what is wrong with a model is said here, in one sentence
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    say.prepare()
    try:
        if arguments and not arguments[0].startswith("-"):
            command, rest = known("command", arguments[0], COMMANDS), arguments[1:]
        return import_module(f"commands.{command}").main(rest)
    except UserError as error:
        print(f"run_benchmark.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        said = str(stop) or "Stopped. Nothing is lost: the same command goes on from here."
        print(f"\n{said}", file=sys.stderr)
        return 130


if __name__ == "__main__":
    ended = main()
    say.leave(ended)
    sys.exit(ended)
