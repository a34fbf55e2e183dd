"""Machines that share a run in an object store: each a cache folder of its own."""

import json
import os
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from rich.console import Console

from engine.queue import launch
from engine.remote.mirror import place_of
from engine.remote.sharing import worked_on
from engine.store import Store
from records import RECORD
from tests.engine import jobs
from tests.engine.executors.here import Here

JOB = jobs.job()
NAME = JOB.path.as_posix()


def halt(server):
    server.stop()
    server._server.server_close()  # so that it can listen at the same port again


@dataclass
class Machine:
    """A machine's folder of a run, and what its command has said."""

    home: Path
    url: str

    def __post_init__(self):
        before = os.environ.get("XDG_CACHE_HOME")
        os.environ["XDG_CACHE_HOME"] = str(self.home)
        self.run = place_of(self.url)
        if before is None:
            del os.environ["XDG_CACHE_HOME"]
        else:
            os.environ["XDG_CACHE_HOME"] = before
        self.console = Console(file=StringIO(), width=300)

    def launched(self, which=(JOB,), executor=None):
        configs = {job.path: {"key": job.key("none")} for job in which}
        with worked_on(self.run, self.console) as part:
            missing = [job for job in which if not Store(self.run, job).found(configs[job.path]["key"])]
            records = launch(self.run, missing, configs, jobs.SETUP, 1, self.console, executor=executor or Here())
        assert part.whole
        return records

    @property
    def said(self):
        return self.console.file.getvalue()


class Cut(Here):
    """Ctrl-C after so many steps, as a terminal gives it: the job writes its checkpoint."""

    def __init__(self, steps):
        self.left = steps

    @property
    def cut(self):
        self.left -= 1
        return self.left <= 0

    def events(self):
        yield from super().events()
        raise KeyboardInterrupt


def tree(folder):
    """Contents by name; of records only what does not depend on time or memory."""
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    volatile = ("seconds", "peak_bytes")
    return {
        name: {k: v for k, v in json.loads(content).items() if k not in volatile} if name.endswith(RECORD) else content
        for name, content in found.items()
    }


def scene(run, job=JOB):
    return (run / job.path / "scene.safetensors").read_bytes()
