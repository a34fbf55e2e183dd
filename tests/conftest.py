"""Before any test imports transformers: as the command line has it, bars are of jobs, not of files. After each, the
process answers signals as before: some tests call what only a process of its own calls otherwise."""

import os
import signal

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # pytest's own processes share the cores: threads would only wait
os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"  # read where Ray is imported first, which tests do, too
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")


@pytest.fixture(autouse=True)
def signals():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background of a shell
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
