"""What a terminal and a log are told of jobs."""

from io import StringIO
from types import SimpleNamespace

from rich.console import Console

from engine import progress
from engine.progress import Bars
from tests.engine import jobs


def told(monkeypatch, terminal, steps=200, seconds=1.0):
    """The output over a job that takes `steps` steps of `seconds` each."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock.now)
    console = Console(file=StringIO(), width=160, force_terminal=terminal)
    job = jobs.job(steps=steps)
    with Bars([job], console) as bars:
        monkeypatch.setattr(bars._bars, "get_time", lambda: clock.now)
        bars.begin(job.path)
        for step in range(1, steps + 1):
            clock.now += seconds
            bars.step(job.path, step, "  |g| 1.2  0.5 GB")
        if terminal:
            bars._bars.refresh()
        bars.end(job.path, {"status": "finished", "seconds": steps * seconds})
    return console.file.getvalue()


def test_a_log_has_a_line_a_start_an_end_and_a_minute(monkeypatch):
    lines = told(monkeypatch, terminal=False).splitlines()
    assert len(lines) == 2 + 3
    assert lines[0].endswith("[begins]")
    assert "60 of 200 steps, 1.0 it/s, 0:02:20 left, 1 running" in lines[1]
    assert "[finished]  200 s" in lines[-1]
    assert not any("\x1b" in line or "\u2501" in line for line in lines)


def test_a_terminal_shows_job_step_pace_and_memory(monkeypatch):
    text = told(monkeypatch, terminal=True, steps=20)
    assert "|g| 1.2" in text
    assert "0.5 GB" in text
    assert "20/20" in text
    assert "it/s" in text
    assert "begins" not in text
