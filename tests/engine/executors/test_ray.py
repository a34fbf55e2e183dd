"""A cluster on this machine: nodes join and are lost, processes are killed, and every job ends once."""

import os
import signal
import threading
import time
from io import StringIO

import pytest
from rich.console import Console

from engine.bench.cluster.efficiency import Watched, await_nodes
from engine.bench.cluster.loopback import Loopback
from engine.bench.cluster.standin import ends, jobs_of
from engine.queue import launch
from engine.request import Policy
from engine.store import Store
from tests.engine import jobs
from tests.engine.executors.mixed import HOLD, Mixed

pytest.importorskip("ray", reason="Ray is not installed (the extra ray)")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="Ray's nodes on one machine need Linux or macOS")


class Struck(Watched):
    strikes = iter(())

    def events(self):
        yield from super().events()
        next(self.strikes, None)


@pytest.fixture(scope="module")
def nodes():
    import ray

    with Loopback() as nodes:
        yield nodes
        ray.shutdown()  # before its head ends: Ray ends a process that is left connected to nothing


@pytest.fixture
def executor(nodes):
    return Struck(nodes.address, Mixed(0.05, kept=0.0))


def start(run, which, executor, policy=None):
    configs = {job.path: {"key": job.key("none")} for job in which}
    console = Console(file=StringIO(), width=200)
    slots = executor.room("auto", "cpu", len(which), ())
    records = launch(run, which, configs, jobs.SETUP, slots, console, policy or Policy(), executor)
    return records, console.file.getvalue()


def until(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def aside(task, *arguments):
    thread = threading.Thread(target=task, args=arguments, daemon=True)
    thread.start()
    return thread


def test_nodes_and_processes_are_lost_and_one_node_joins_and_every_job_ends_once(tmp_path, nodes, executor):
    lost = nodes.add()
    await_nodes(executor, 2)
    head = executor.ray.get_runtime_context().get_node_id()
    which = [*jobs_of(8, 12), jobs.job(seed=20), jobs.job(seed=21)]
    (tmp_path / HOLD).touch()

    def waiting():
        return sum(Store(tmp_path, job).kept_step() > 2 for job in which)

    def strike():
        """What happens between two looks at the news."""
        while waiting() < 2:
            yield
        nodes.add()
        while waiting() < 3:  # at the node that has joined, too
            yield
        (pid,) = (it.who["pid"] for it in executor.places.values() if it.who["node"] == head)
        os.kill(pid, signal.SIGKILL)
        executor.killed = time.monotonic()
        nodes.kill(lost)
        (tmp_path / HOLD).unlink()

    executor.strikes = strike()
    records, said = start(tmp_path, which, executor, Policy(retries=1))
    assert [records[job.path]["status"] for job in which] == ["finished"] * 10
    assert ends(tmp_path) == dict.fromkeys(range(8), 1)
    assert said.count("is gone: it goes on elsewhere from step ") == 1
    assert said.count("is gone; it may have been out of memory") == 1
    assert sum(records[job.path].get("first", 0) > 2 for job in which) >= 2  # they went on, and did not begin anew
    assert [records[job.path]["tries"] for job in which].count(2) == 1
    for job in which[8:]:
        jobs.do(tmp_path / "here", job)
        scene = f"{job.path}/scene.safetensors"
        assert (tmp_path / scene).read_bytes() == (tmp_path / "here" / scene).read_bytes()
    assert not (tmp_path / ".unfinished").exists()
    assert not executor.places


def test_a_job_that_takes_too_long_is_ended_and_ctrl_c_writes_a_checkpoint(tmp_path, executor):
    slow, job = jobs_of(2, 10**6)
    (tmp_path / HOLD).touch()
    records, _ = start(tmp_path, [slow], executor, Policy(timeout=1.0))
    assert records[slow.path]["cause"] == "it took longer than 1 s"
    assert Store(tmp_path, slow).record()["status"] == "crashed"
    (tmp_path / HOLD).unlink()
    executor.task = Mixed(0.05, kept=1e6)
    stopping = aside(lambda: (until(lambda: executor.steps.get(job.path, 0) > 2), os.kill(os.getpid(), signal.SIGINT)))
    with pytest.raises(KeyboardInterrupt) as stop:
        start(tmp_path, [job], executor)
    stopping.join()
    assert str(stop.value) == ""  # nothing was lost
    assert Store(tmp_path, job).kept_step() >= executor.steps[job.path] > 2
    assert not Store(tmp_path, job).held


@pytest.fixture(scope="module", autouse=True)
def disconnected():
    yield
    import ray

    ray.shutdown()
