import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from io import StringIO
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from rich.console import Console

from engine import queue, worker
from engine.executors import local, starting
from engine.executors.base import Fatal, Lost, Started
from engine.job import Setup
from engine.queue import launch
from engine.store import Store
from engine.worker import is_full
from errors import UserError
from methods.base import Method
from methods.sds import SDS
from tests.engine import jobs
from tests.engine.test_optimize import Constant
from tests.tiny import PROMPT, write_prior

ROOT = Path(__file__).parents[3]
CALM = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}


@dataclass(frozen=True)
class Buggy(Method):
    def gradient(self, views, prior, state):
        raise ValueError("a bug in a rule")


@dataclass(frozen=True)
class Numbered(SDS):
    """SDS that logs its process's number."""

    def gradient(self, views, prior, state):
        guidance = super().gradient(views, prior, state)
        return replace(guidance, log={"pid": os.getpid()})


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    prior = write_prior(tmp_path_factory.mktemp("prior"))
    return Setup(prior=str(prior), device="cpu", threads=1, checkpoint_seconds=0.0)


def start(run, which, setup, slots):
    configs = {job.path: {"key": job.key("none")} for job in which}
    return launch(run, which, configs, setup, slots, Console(file=StringIO()))


def until(condition, seconds=240):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def workers():
    """The processes that do jobs, by age: children where each is started anew, else forks of a child."""
    children = psutil.Process().children(recursive=True)
    forked = [p for p in children if p.ppid() != os.getpid()]
    begun = [p for p in children if "spawn_main" in " ".join(p.cmdline())]
    return sorted((p for p in forked + begun if p.status() != psutil.STATUS_ZOMBIE), key=lambda p: p.create_time())


def spawn(run):
    environment = {**os.environ, **CALM, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-m", "tests.engine.jobs", str(run)], cwd=ROOT, env=environment)


def test_killed_twice_and_resumed_is_bit_identical(tmp_path):
    """SIGKILL at whatever moment, the same command again: the same bits as an undisturbed run's."""
    job = jobs.job(steps=40)
    log = tmp_path / "killed" / ".unfinished" / job.path / "log.jsonl"
    for lines in (7, 23):
        process = spawn(tmp_path / "killed")
        until(lambda: log.exists() and len(log.read_text().splitlines()) >= lines)  # noqa: B023
        process.kill()
        process.wait()
    assert not (tmp_path / "killed" / job.path).exists()
    for run in ("killed", "whole"):
        assert spawn(tmp_path / run).wait() == 0
    left = sorted(p.relative_to(tmp_path / "whole") for p in (tmp_path / "whole").rglob("*") if p.is_file())
    assert len(left) == 4 + 2 * 3 + 1  # config, record, log, scene; two pictures a view; their orbit
    for path in (p for p in left if p.name != "record.json"):  # the record has the time it took
        assert (tmp_path / "killed" / path).read_bytes() == (tmp_path / "whole" / path).read_bytes(), path


def test_one_job_killed_one_broken_one_diverging_and_the_others_go_on(tmp_path, setup):
    victim, other = jobs.job(SDS(), seed=0, steps=10**6), jobs.job(SDS(), seed=1)
    nan, bug = jobs.job(Constant(late=float("nan")), seed=2), jobs.job(Buggy(), seed=3)
    checkpoint = Store(tmp_path, victim).work / "checkpoint.safetensors"

    def kill():
        until(checkpoint.exists)
        workers()[0].kill()  # the first took the first job

    thread = threading.Thread(target=kill)
    thread.start()
    records = start(tmp_path, [victim, other, nan, bug], setup, slots=2)
    thread.join()
    assert [records[j.path]["status"] for j in (victim, other, nan, bug)] == [
        "crashed", "finished", "non-finite", "crashed",
    ]  # fmt: skip
    assert "SIGKILL" in records[victim.path]["cause"]
    assert records[bug.path]["cause"] == "ValueError: a bug in a rule"
    assert Store(tmp_path, victim).record()["status"] == "crashed"
    assert checkpoint.exists()  # the next try goes on from there
    assert not workers()


def test_ctrl_c_writes_checkpoints_and_leaves_no_process(tmp_path, setup, monkeypatch):
    monkeypatch.setattr(local, "PATIENCE", 600)  # for a machine that has other things to do
    job = jobs.job(SDS(), steps=10**6)
    work = Store(tmp_path, job).work
    rare = replace(setup, checkpoint_seconds=1e6)

    def interrupt():
        until((work / "log.jsonl").exists)  # so that the job has begun, and not a step is saved yet
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path, [job], rare, slots=1)
    thread.join()
    assert not workers()
    assert (work / "checkpoint.safetensors").exists()


def test_a_prior_that_is_not_there_stops_all(tmp_path, setup):
    with pytest.raises(UserError, match="no prior at"):
        start(tmp_path, [jobs.job()], replace(setup, prior=str(tmp_path / "nowhere")), slots=1)


def test_nothing_to_do_starts_nothing(tmp_path, setup):
    assert start(tmp_path, [], setup, slots=2) == {}


def pid_of(run, job):
    (pid,) = {json.loads(line)["pid"] for line in (run / job.path / "log.jsonl").read_text().splitlines()}
    return pid


def test_a_job_that_must_be_alone_has_a_process_of_its_own(tmp_path, setup, monkeypatch):
    monkeypatch.setattr(queue, "isolated", lambda job: job.seed == 1)
    before, environment = [jobs.job(Numbered(), seed=k, steps=3) for k in range(3)], dict(os.environ)
    start(tmp_path, before, replace(setup, together=2), slots=1)
    pids = [pid_of(tmp_path, job) for job in before]
    assert pids[0] == pids[2]
    assert len(set(pids)) == 2
    assert os.getpid() not in pids
    assert os.environ == environment  # what processes are given is theirs alone


def test_rules_from_files_must_be_alone():
    from engine.recipes.outside import load

    assert not queue.isolated(jobs.job(SDS()))
    assert queue.isolated(jobs.job(load(f"{ROOT / 'docs/my_rule.py'}:MyRule")))


class Begun:
    """A process that is not there, and ends when told to."""

    def __init__(self, target, args):
        (*_, (_, _, self.setup, _)), self.exitcode = args, 0

    def start(self):
        self.environment = dict(os.environ)

    def is_alive(self):
        return False

    def join(self, seconds=None):
        pass

    kill = join


@pytest.fixture
def begun(monkeypatch):
    """Processes that are not there, by place."""
    monkeypatch.setattr(starting.multiprocessing, "get_context", lambda _: SimpleNamespace(Process=Begun))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)

    def begun(device, places):
        executor = local.Processes()
        executor.start(Path("run"), Setup("none", device, threads=3), places)
        for place in range(places):
            executor.submit(place, [(jobs.job(seed=place), {})])
        return executor

    return begun


def test_each_gpu_has_its_process_by_turns(begun):
    def devices(name, places):
        return [it.process.setup.device for it in begun(name, places).places.values()]

    assert devices("cuda", 8) == [f"cuda:{k}" for k in range(8)]
    assert devices("cuda", 10)[8:] == ["cuda:0", "cuda:1"]
    assert devices("cuda:3,cuda:5", 3) == ["cuda:3", "cuda:5", "cuda:3"]
    assert devices("cuda:6", 2) == ["cuda:6"] * 2
    assert devices("cpu", 2) == ["cpu"] * 2


def test_processes_get_their_variables_and_the_caller_keeps_its_own(begun, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = dict(os.environ)
    (it,) = begun("cpu", 1).places.values()
    assert it.process.environment["OMP_NUM_THREADS"] == "3"
    assert it.process.environment["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert os.environ == before


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (-9, "its process was killed by SIGKILL; the system may have been out of memory: try fewer --jobs"),
        (-11, "its process was killed by SIGSEGV"),
        (1, "its process was ended with code 1"),
        (worker.TOO_LITTLE_MEMORY, "its process had too little memory to begin: try fewer --jobs"),
    ],
)
def test_how_a_process_ended_is_told(begun, code, cause):
    executor = begun("cpu", 1)
    it = executor.places[0]
    it.process.exitcode = code
    assert executor.events() == [Lost(0, cause)]  # nobody has the other end of the pipe
    assert executor.stop()


def test_stopping_tells_whether_all_ended_by_themselves(begun, monkeypatch):
    monkeypatch.setattr(Begun, "is_alive", lambda process: process.setup.device == "cuda:1")
    assert begun("cuda:0", 2).stop()
    executor = begun("cuda", 2)
    assert not executor.stop()
    assert executor.stop()  # there is nobody left


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA error: out of memory")])
def test_a_process_with_too_little_memory_to_begin_says_so_by_its_code(tmp_path, setup, monkeypatch, error):
    def full(*_, **__):
        raise error

    jobs.keep_process(monkeypatch)
    monkeypatch.setattr(worker, "Together", full)
    with pytest.raises(SystemExit) as end:
        worker.main(Pipe()[1], tmp_path, setup)
    assert end.value.code == worker.TOO_LITTLE_MEMORY


def test_a_scene_whose_thread_cannot_start_has_failed_and_the_next_job_runs(tmp_path, setup, monkeypatch):
    begin = threading.Thread.start

    def refuse(thread):
        if thread.name.endswith("/0"):
            raise RuntimeError("can't start new thread")
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    jobs.keep_process(monkeypatch)
    here, there = Pipe()
    first, second = jobs.job(seed=0), jobs.job(seed=1)
    for work in ([(first, {"key": "a"})], [(second, {"key": "b"})], []):
        here.send(work)
    worker.main(there, tmp_path, setup)
    record = Store(tmp_path, first).record()
    assert (record["status"], record["cause"]) == ("crashed", "too little memory to begin: can't start new thread")
    assert Store(tmp_path, second).record()["status"] == "finished"


def test_a_full_disk_is_one_sentence(tmp_path, setup, monkeypatch):
    from safetensors import SafetensorError

    from engine import optimize

    def full(*_):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(optimize, "run", full)
    jobs.keep_process(monkeypatch)
    here, there = Pipe()
    job = jobs.job()
    here.send([(job, {"key": "k"})])
    worker.main(there, tmp_path, setup)
    started, event = here.recv(), here.recv()
    assert isinstance(started, Started)
    assert isinstance(event, Fatal)
    assert "is full: free some space and run the same command again" in event.sentence
    assert is_full(OSError(28, "No space left on device"))
    assert not is_full(OSError(2, "No such file"))


def test_the_prompt_is_the_tiny_priors():
    assert jobs.PROMPT.text == PROMPT
