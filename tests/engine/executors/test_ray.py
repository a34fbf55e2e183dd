"""A cluster on this machine and what may happen to it: a node joins, another is lost, a process is killed, a job takes
too long, Ctrl-C. All in one run: a node that starts, and a process at it, takes seconds of a core."""

import gc
import os
import shutil
import signal
import socket
import threading
import time
from collections import defaultdict
from io import StringIO
from itertools import chain, repeat
from types import SimpleNamespace

import pytest
from rich.console import Console

from engine.bench.cluster.efficiency import Watched
from engine.bench.cluster.loopback import Loopback
from engine.bench.cluster.standin import ends, jobs_of
from engine.executors import Where
from engine.executors import ray as cluster
from engine.executors.base import Over, Step
from engine.executors.units import Unit, done
from engine.job import Job
from engine.queue import launch
from engine.store import Store
from files import write_json
from prompts import Prompt
from run_benchmark import main
from tests.engine import jobs
from tests.engine.executors.mixed import BEGUN, HOLD, Mixed, held_up
from tests.eval.clip import write_clip

pytest.importorskip("ray", reason="Ray is not installed (the extra ray)")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="Ray's nodes on one machine need Linux or macOS")


class Struck(Watched):
    """The executor, with all steps that were told, and what happens between two looks at the news."""

    strikes = iter(())

    def __init__(self, address, task):
        super().__init__(address, task)
        self.all_steps = defaultdict(list)

    def events(self):
        for event in super().events():
            if isinstance(event, Step):
                self.all_steps[event.path].append(event.step)
            yield event
        next(self.strikes, None)


@pytest.fixture(scope="module")
def nodes():
    """A head that does no jobs; each node has one place."""
    import ray

    # Ray has garbage collected while places wait for room, over and over, and its end waits for that: of what all tests
    # of a process have left, half a minute
    gc.freeze()
    with pytest.MonkeyPatch.context() as patch, Loopback(head=0) as nodes:
        patch.setattr(cluster, "LOOK", 0.2)  # seconds between two looks for nodes that have joined
        yield nodes
        ray.shutdown()  # before its head ends: Ray ends a process that is left connected to nothing
    gc.unfreeze()


def test_whatever_happens_to_nodes_and_processes_every_job_ends_once_or_keeps_its_steps(tmp_path, nodes):
    executor = Struck(nodes.address, Mixed(0.05, kept=0.0))
    lost = nodes.add()
    while not (first := [node["NodeID"] for node in executor.ray.nodes() if node["Resources"].get("CPU")]):
        time.sleep(0.05)
    endless, short, real = jobs_of(2, 10**6), jobs_of(8, 12)[2:], jobs.job(seed=20)
    policy = SimpleNamespace(retries=1, timeout=None, is_over=lambda *_: False)
    console = Console(file=StringIO(), width=200)
    (tmp_path / HOLD).touch()

    def late(job):
        record = Store(tmp_path, job).record()
        return record is not None and record["cause"] == "it took longer than 1 s"

    def came_on():
        return [job for job in endless if executor.steps.get(job.path, 0) > 3 and not late(job)]

    def strikes():
        """The endless jobs are struck first, and so come last again."""
        nodes.add()
        while any(Store(tmp_path, job).kept_step() < 3 for job in endless):
            yield
        (pid,) = (it.who["pid"] for it in executor.places.values() if it.who["node"] not in first)
        os.kill(pid, signal.SIGKILL)
        nodes.kill(lost)
        (tmp_path / HOLD).unlink()
        while not came_on():
            yield
        policy.timeout = 1.0
        while not any(late(job) for job in endless):
            yield
        policy.timeout = None
        while not came_on():
            yield
        os.kill(os.getpid(), signal.SIGINT)

    executor.strikes = strikes()
    which = [*endless, *short, real]
    configs = {job.path: {"key": job.key("none")} for job in which}
    slots = executor.room("auto", "cpu", len(which), ())
    with pytest.raises(KeyboardInterrupt) as stop:
        launch(tmp_path, which, configs, jobs.SETUP, slots, console, policy, executor)
    said = console.file.getvalue()
    assert str(stop.value) == ""  # nothing was lost
    assert said.count("is gone: it goes on elsewhere from step 3") == 1
    assert said.count("is gone; it may have been out of memory") == 1
    assert [Store(tmp_path, job).record()["status"] for job in [*short, real]] == ["finished"] * 7
    assert ends(tmp_path) == dict.fromkeys(range(2, 8), 1)
    (last,) = came_on()
    for job in endless:  # they went on, and did not begin anew
        steps = executor.all_steps[job.path]
        assert steps == sorted(set(steps))
        assert steps[-1] > 3
        assert not Store(tmp_path, job).held
    assert Store(tmp_path, last).kept_step() >= executor.steps[last.path]
    jobs.do(tmp_path / "here", real)
    scene = f"{real.path}/scene.safetensors"
    assert (tmp_path / scene).read_bytes() == (tmp_path / "here" / scene).read_bytes()
    assert {path.parent for path in tmp_path.rglob("checkpoint.safetensors")} == {
        Store(tmp_path, job).work for job in endless
    }
    assert not executor.places


def test_scores_exports_and_pictures_by_nodes_are_those_that_are_made_here(tmp_path, nodes):
    clip, here, there = write_clip(tmp_path / "clip"), tmp_path / "a" / "run", tmp_path / "b" / "run"
    for seed in range(3):
        job = Job(jobs.recipe(steps=4), Prompt("07-a-ripe-strawberry", jobs.PROMPT.text), seed)
        jobs.do(here, job)
        write_json(here / job.path / "config.json", {"prompt": job.prompt.text, "seed": seed, **job.settings})
    (here / job.path / "views" / "rgb_001.png").write_bytes(b"")  # which is said alike
    shutil.copytree(here, there)
    if len(nodes.nodes) < 2:
        nodes.add()
    for run, where in ((here, []), (there, ["--executor", "ray", "--address", nodes.address])):
        score = ["score", str(run), "--suite", "world", "--clip", str(clip), "--device", "cpu"]
        assert main([*score, *where]) == 1
        export = ["export", str(run), "--formats", "glb", "normals", "--resolution", "16", "--device", "cpu"]
        assert main([*export, *where]) == 0
        assert main(["report", str(run), "--pictures", "all", *where]) == 0
    made = {path.relative_to(here): path.read_bytes() for path in here.rglob("*") if path.is_file()}
    assert {path.relative_to(there): path.read_bytes() for path in there.rglob("*") if path.is_file()} == made
    for name in ("scores.csv", "turntable.gif", "views/normal_000.png", "page/turntables/*.webp", "page/index.html"):
        assert list(here.rglob(name)), name


def test_what_a_lost_node_had_is_done_by_another(tmp_path, nodes):
    units = [Unit(jobs.job(seed=seed).path, seed) for seed in range(4)]
    for unit in units:
        (tmp_path / unit.path).mkdir(parents=True)
    (tmp_path / HOLD).touch()
    lost = nodes.add()

    def strike():
        while len(list(tmp_path.rglob(BEGUN))) < 2:
            time.sleep(0.05)
        nodes.kill(lost)
        (tmp_path / HOLD).unlink()

    if lost < 2:
        nodes.add()
    striking = threading.Thread(target=strike, daemon=True)
    striking.start()
    where = Where("ray", nodes.address, "cpu")
    found = [(unit, more) for unit, more in done(tmp_path, units, held_up, where, Console(quiet=True), "")]
    striking.join()
    assert sorted((unit.more, more) for unit, more in found) == [(seed, seed) for seed in range(4)]
    assert sum(path.stat().st_size for path in tmp_path.rglob(BEGUN)) == 5  # of one, twice


def test_a_head_that_does_not_answer_for_a_while_is_gone_and_is_asked_for_nothing(monkeypatch):
    """Ray would wait for it, and then end this process without a word."""
    it, looks = object.__new__(cluster.Cluster), chain([False, True], repeat(False))
    it.head, it.headless, it.looked, it.ray = "10.0.0.1:6379", False, 0.0, None
    monkeypatch.setattr(cluster, "_listens", lambda address: next(looks))
    monkeypatch.setattr(cluster, "GONE", 1.0)
    assert not it._is_headless()  # it came back
    assert list(it._joined()) == [Over("The cluster's head at 10.0.0.1:6379 is gone")]
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.undo()
        assert not cluster._listens(address)
        server.listen()
        assert cluster._listens(address)
