"""Processes that start as forks of one with the libraries: what they have of it, and what of the process that asks."""

import os
import signal
import sys
from multiprocessing import Pipe, forkserver

import psutil
import pytest
import torch

from engine.executors.starting import LIBRARIES, started
from errors import UserError

forked = pytest.mark.skipif(
    sys.platform != "linux" or torch.cuda.is_available(), reason="each process imports for itself"
)


def tell(pipe):
    stops = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    pipe.send((dict(os.environ), [name for name in LIBRARIES if name in sys.modules], stops, os.getppid()))


def told(threads=1):
    here, there = Pipe()
    process = started(tell, (there,), threads)
    there.close()
    told = here.recv()
    process.join()
    assert process.exitcode == 0
    return told


def test_each_has_the_variables_of_now(monkeypatch):
    monkeypatch.setenv("OF_NOW", "first")
    first, *_ = told(threads=1)
    monkeypatch.setenv("OF_NOW", "second")
    monkeypatch.delenv("HOME", raising=False)
    second, *_ = told(threads=2)
    assert [(e["OF_NOW"], e["OMP_NUM_THREADS"]) for e in (first, second)] == [("first", "1"), ("second", "2")]
    assert "HOME" in first
    assert "HOME" not in second


@forked
def test_they_find_the_libraries_imported_and_outlive_what_ends_others():
    _, found, stops, server = told()
    assert found == LIBRARIES
    assert stops  # though what they are forked from does not
    for number in (signal.SIGINT, signal.SIGTERM):
        psutil.Process(server).send_signal(number)
    *_, again = told()
    assert again == server


def test_too_little_memory_to_start_is_one_sentence(monkeypatch):
    def full(_):
        raise EOFError  # what its end looks like from here

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(forkserver, "connect_to_new_process", full)
    with pytest.raises(UserError, match="too little memory"):
        started(tell, (None,), 1)
