"""Work in a process of its own, for code from outside the tree, which may leave anything behind, or end its process."""

from __future__ import annotations

import signal
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import say
from engine.executors.starting import started
from engine.training import NonFinite
from errors import RuleError, UserError, cause

PATIENCE = 5.0  # seconds a process has to end by itself after its last word


def apart(task: Callable[..., Any], *arguments: Any, each: Callable[[], object] = lambda: None) -> Any:
    """What `task(*arguments, each=...)` returns or raises. `each` is called here whenever it is there. Raises RuleError
    where the process ends without a word."""
    here, there = Pipe()
    process = started(_work, (there, task, arguments), threads=1)
    try:
        there.close()  # so that the end of the process is the end of the pipe
        while True:
            kind, value = here.recv()
            if kind == "step":
                each()
                continue
            process.join(PATIENCE)
            if kind == "raised":
                raise value
            return value
    except EOFError:
        process.join()
        raise RuleError(f"its process ended with code {process.exitcode}") from None
    finally:
        process.kill()
        process.join()


def _work(pipe: Connection, task: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group, and the parent ends this process
    try:
        news = "returned", task(*arguments, each=lambda: pipe.send(("step", None)))
    except (RuleError, UserError, NonFinite, ArithmeticError) as error:
        news = "raised", error
    except BaseException as error:
        news = "raised", RuleError(cause(error))
    pipe.send(news)
    say.leave(0)
