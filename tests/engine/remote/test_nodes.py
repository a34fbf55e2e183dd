"""A run in S3 whose jobs and scores the nodes of a cluster make: each has a folder of its own, nothing is shared."""

import gc
import json
import os
import re

import psutil
import pytest

from engine import claims
from engine.bench.cluster.efficiency import Watched
from engine.bench.cluster.loopback import Loopback
from engine.bench.cluster.standin import jobs_of
from engine.executors import ray as cluster
from engine.job import Job
from engine.remote.objects import Objects
from prompts import Prompt
from run_benchmark import main
from tests.engine import jobs
from tests.engine.remote.machines import Machine
from tests.eval.clip import write_clip

pytest.importorskip("ray", reason="Ray is not installed (the extra ray)")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="Ray's nodes on one machine need Linux or macOS")
(LONG,), SHORT, REAL = jobs_of(1, 60), jobs_of(3, 5)[1:], jobs.job(seed=20)
SCORED = Job(jobs.recipe(steps=4), Prompt("07-a-ripe-strawberry", jobs.PROMPT.text), 20)


@pytest.fixture(scope="module")
def nodes(s3, tmp_path_factory):
    """Two nodes of one place, each with a cache folder of its own."""
    import ray

    gc.freeze()  # see tests/engine/executors/test_ray.py
    with pytest.MonkeyPatch.context() as patch, Loopback(head=0) as nodes:
        patch.setattr(cluster, "LOOK", 0.2)
        for name in ("a", "b"):
            patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp(name)))
            nodes.add()
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("command")))
        yield nodes
        ray.shutdown()
    gc.unfreeze()


class Struck(Watched):
    """The executor, which loses the node of the long job once a checkpoint of it is in the store."""

    def lose(self, nodes, path):
        self.nodes, self.path, self.lost_at = nodes, path, 0

    def events(self):
        yield from super().events()
        if not self.lost_at and (step := self.part.kept_step(self.path)) > 3:
            self.lost_at = step
            pid = next(it.who["pid"] for it in self.places.values() if self.path in it.jobs)
            node = next(k for k, it in enumerate(self.nodes.nodes) if pid in _below(it.pid))
            self.nodes.kill(node)


def _below(pid):
    return {process.pid for process in psutil.Process(pid).children(recursive=True)}


def test_a_lost_node_leaves_its_steps_in_the_store_and_results_are_those_of_a_folder(tmp_path, nodes, url, monkeypatch):
    from tests.engine.remote.quick import Quick

    executor, command = Struck(nodes.address, Quick(0.1, kept=0.0)), Machine(tmp_path / "command", url)
    executor.lose(nodes, LONG.path)
    which = [LONG, *SHORT, REAL]
    executor.room("auto", "cpu", len(which), ())
    monkeypatch.setattr(claims, "BEAT", 0.2)
    records = command.launched(which, executor)
    assert {record["status"] for record in records.values()} == {"finished"}
    # its node may die between a checkpoint and its word of it
    (said,) = re.findall(r"is gone: it goes on elsewhere from step (\d+)", command.said)
    assert 3 < executor.lost_at <= int(said) <= records[LONG.path]["first"]
    there = Objects(url)
    names = there.find("")
    assert all(f"{job.path.as_posix()}/record.json" in names for job in which)
    assert not [name for name in names if name.startswith(".unfinished")]
    last = {name.rpartition("/")[0]: name for name in sorted(names) if name.startswith(".claims/sds")}
    assert all(json.loads(content)["over"] for content in there.read(last.values()).values())
    jobs.do(tmp_path / "alone", REAL)
    scene = f"{REAL.path.as_posix()}/scene.safetensors"
    assert there.read([scene])[scene] == (tmp_path / "alone" / scene).read_bytes()
    assert (command.run / REAL.path / "record.json").exists()
    assert not (command.run / scene).exists()  # nobody here has asked for it


def test_scores_go_from_the_nodes_to_the_store(tmp_path, nodes, url, monkeypatch):
    monkeypatch.setattr("engine.prior.open_prior", lambda *_: jobs.prior())
    first, clip = Machine(tmp_path / "first", url), write_clip(tmp_path / "clip")
    first.launched([SCORED])
    score = ["--suite", "world", "--clip", str(clip), "--device", "cpu"]
    assert main(["score", url, *score, "--executor", "ray", "--address", nodes.address]) == 0
    jobs.do(tmp_path / "alone", SCORED)
    (tmp_path / "alone" / SCORED.path / "config.json").write_text(json.dumps({"key": SCORED.key("none")}))
    assert main(["score", str(tmp_path / "alone"), *score]) == 0
    for name in ("scores.csv", "scores.json", "turntable.gif"):
        name = f"{SCORED.path.as_posix()}/{name}"
        assert Objects(url).read([name])[name] == (tmp_path / "alone" / name).read_bytes()
