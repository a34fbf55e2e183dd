#!/usr/bin/env python
"""The command line: which command is meant, and how its errors are told."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from importlib import import_module

import say
from errors import UserError, first_line, is_out_of_memory
from names import COMMANDS, COMMANDS_OF_RUNS, known

REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
NO_FOLDERS = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EEXIST)  # what is named cannot be one
ENDS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def main(arguments: list[str] | None = None) -> int:
    """The exit code of a command; without one's name, of `run`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    command, rest = "run", arguments
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # the bars here are of jobs, not of files
    for library in ("DIFFUSERS", "TRANSFORMERS"):  # what is wrong with a model is said here, in one sentence
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    say.prepare()
    told = answered()
    try:
        if arguments and not arguments[0].startswith("-"):
            command, rest = known("command", arguments[0], COMMANDS), arguments[1:]
        return import_module(module_of(command)).main(rest)
    except UserError as error:
        print(f"run_benchmark.py: {say.one_line(error)}", file=sys.stderr)
        return 2
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (*REFUSALS, *NO_FOLDERS):
            return refused(error)
        if not is_out_of_memory(error):
            raise
        said = f"There is too little memory ({first_line(error)}): nothing finished is lost; free some, or take less."
        print(f"run_benchmark.py: {say.one_line(said)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        number = told[0] if told else signal.SIGINT
        by = "" if number == signal.SIGINT else f"Told to stop by {signal.Signals(number).name}. "
        said = str(stop) or "Stopped. Nothing is lost: the same command goes on from here."
        print(f"\n{by}{said}", file=sys.stderr)
        return 128 + number


def module_of(command: str) -> str:
    """The module of a command's name, imported only if it is meant."""
    return f"commands.runs.{command}" if command in COMMANDS_OF_RUNS else f"commands.{command}"


def refused(error: OSError) -> int:
    """The system could not write: where, and why."""
    try:
        sys.stdout.flush()
    except OSError:  # what is printed goes nowhere, at the end of the program, too
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    where = f"{error.filename} cannot be written" if error.filename else "Output cannot be written"
    said = f"{where}: {error.strerror}. Nothing finished is lost: mend that, and give the same command again."
    print(f"run_benchmark.py: {say.one_line(said)}", file=sys.stderr)
    return 2


def answered() -> list[int]:
    """From here on, what tells a program to end (a machine that is wanted back, a terminal that was closed) is answered
    like the first Ctrl-C, and once; returns where its number will stand."""
    told: list[int] = []

    def stop(number: int, _: object) -> None:
        for other in ENDS:
            signal.signal(other, signal.SIG_IGN)  # a terminal's end is told twice
        if number != signal.SIGTERM and sys.stdout.isatty():
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for stream in (1, 2):
                os.dup2(nowhere, stream)  # nobody reads what is printed to a closed terminal
        told.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        for number in ENDS:
            if signal.getsignal(number) == signal.SIG_DFL:  # else, as by nohup, it is not to be heard
                signal.signal(number, stop)
    return told


if __name__ == "__main__":
    ended = main()
    say.leave(ended)
    sys.exit(ended)
