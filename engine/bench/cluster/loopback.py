"""A Ray cluster on one machine: nodes with processes, resources and temporary folders of their own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

import psutil

from files import ROOT

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # else jobs are behind whatever else this machine has to do
    "RAY_health_check_initial_delay_ms": "1000",  # a node that is gone is known in seconds, not in half a minute
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_failure_threshold": "3",
}
PATIENCE = 240.0  # seconds for a head to listen, on a machine that has other things to do


class Loopback:
    """A context with a head, to which nodes are added, each with `cpus` cores, whether there are as many or not, and
    the head with as many, or with `head`. All end with it. Who connects before there are others is connected by way of
    the head."""

    def __init__(self, cpus: int = 1, head: int | None = None):
        self.cpus, self.head = cpus, cpus if head is None else head
        self.folder = Path(tempfile.mkdtemp(prefix="ray-"))  # short: a socket's path has at most 107 characters
        self.nodes: list[subprocess.Popen[bytes]] = []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"

    def __enter__(self) -> Loopback:
        try:
            self._start(
                self.head,
                "--head",
                f"--port={self.address.rpartition(':')[2]}",
                "--include-dashboard=false",
                "--no-monitor",
            )
            self._listens()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for node in range(len(self.nodes)):
            self.kill(node)
        shutil.rmtree(self.folder, ignore_errors=True)

    def add(self) -> int:
        """Start another node; returns its number. It joins in its own time."""
        return self._start(self.cpus, f"--address={self.address}")

    def kill(self, node: int) -> None:
        """As when its power fails: all its processes at once."""
        try:
            it = psutil.Process(self.nodes[node].pid)
            processes = [it, *it.children(recursive=True)]
        except psutil.NoSuchProcess:
            processes = []
        for process in processes:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self.nodes[node].wait()

    def _start(self, cpus: int, *where: str) -> int:
        options = (
            f"--num-cpus={cpus}",
            "--num-gpus=0",
            "--memory=8000000000",
            "--object-store-memory=80000000",
            "--include-log-monitor=false",
            "--disable-usage-stats",
            "--node-ip-address=127.0.0.1",
            f"--temp-dir={self.folder / str(len(self.nodes))}",
            "--block",
        )
        command = [str(Path(sys.executable).with_name("ray")), "start", *where, *options]
        with (self.folder / f"{len(self.nodes)}.log").open("wb") as log:
            environment = {**os.environ, **SETTINGS, "PYTHONPATH": str(ROOT)}
            self.nodes.append(
                subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
            )
        return len(self.nodes) - 1

    def _listens(self) -> None:
        host, _, port = self.address.rpartition(":")
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
                return
            except OSError:
                if self.nodes[0].poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self.folder / "0.log").read_text("utf-8", "replace")[-2000:]) from None
            time.sleep(0.1)
