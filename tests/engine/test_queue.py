"""Which job goes where, and what becomes of it; most by an executor in this process, or one that is told what to do."""

import multiprocessing
import os
import random
import threading
import time
from dataclasses import dataclass, replace
from io import StringIO
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console
from safetensors import safe_open
from safetensors.torch import save_file

from commands.shared import results
from engine import queue, worker
from engine.bench.cluster.simulate import World, simulated, told
from engine.claims import Claim
from engine.executors import EXECUTORS, executor_of
from engine.executors.base import Away, Busy, Ended, Fatal, Lost, Over, Room, Said, Started, Step
from engine.optimize import Stopped
from engine.plan import Plan
from engine.progress import SHOWN, Bars
from engine.queue import launch
from engine.request import Policy
from engine.store import Store, read_tensors, write_tensors
from errors import RuleError, UserError, is_out_of_memory
from eval.divergence import DIVERGED
from methods.base import Method
from tests.engine import jobs
from tests.engine.executors.here import Here


def start(run, which, executor, slots=1, together=1, policy=None):
    configs = {job.path: {"key": job.key("none")} for job in which}
    console = Console(file=StringIO(), width=200)
    records = launch(
        run, which, configs, replace(jobs.SETUP, together=together), slots, console, policy or Policy(), executor
    )
    return records, console.file.getvalue()


@pytest.fixture
def here(monkeypatch):
    """The executor of this process, with a Gaussian for a prior."""
    monkeypatch.setattr("engine.prior.open_prior", lambda *_: jobs.prior())
    return Here()


class Told:
    """An executor that writes down what it is given, and tells what the script says: a list of news at a time, each
    an event or a function of the jobs that were submitted."""

    def __init__(self, *script, whole=True):
        self.script, self.whole, self.given, self.stops = list(script), whole, [], 0

    def start(self, run, setup, places):
        self.places = places

    def submit(self, place, works):
        self.given.append((place, [job.seed for job, _ in works]))

    def events(self):
        assert self.script, f"nothing left to tell, after {self.given}"
        for event in self.script.pop(0):
            if isinstance(event, BaseException):
                raise event
            yield event

    def end(self, place):
        self.given.append((place, "ended"))

    def stop(self):
        self.stops += 1
        if self.whole is None and self.stops == 1:
            raise KeyboardInterrupt  # again
        return self.whole


def ended(job):
    return Ended(job.path, {"status": "finished", "seconds": 1.0})


def seeds(n, **changes):
    return [jobs.job(seed=k, **changes) for k in range(n)]


def test_a_new_executor_is_one_file_and_one_line(tmp_path, monkeypatch, here):
    monkeypatch.setitem(EXECUTORS, "here", ("tests.engine.executors.here", "Here"))
    made = executor_of("here")
    assert isinstance(made, Here)
    which = seeds(3)
    records, said = start(tmp_path, which, made, slots=2)
    assert [records[job.path]["status"] for job in which] == ["finished"] * 3
    assert all(Store(tmp_path, job).record() == records[job.path] for job in which)
    assert said.count("[finished]") == 3
    with pytest.raises(UserError, match="no executor 'lokal': did you mean 'local'"):
        executor_of("lokal")


def test_places_are_filled_and_refilled_until_nothing_is_left(tmp_path):
    a, b, c = seeds(3)
    told = Told([Started(a.path), Step(a.path, 3), ended(a)], [ended(b), ended(c)])
    records, _ = start(tmp_path, [a, b, c], told, slots=2)
    assert told.given == [(0, [0]), (1, [1]), (0, [2]), (1, []), (0, [])]
    assert set(records) == {job.path for job in (a, b, c)}
    assert told.stops


def test_together_seats_are_shared_evenly_and_by_one_network(tmp_path):
    """Three to be done by two places: two in each at most; half precision is another network."""
    a, b, c = seeds(3)
    b = replace(b, recipe=replace(b.recipe, half=True))
    told = Told([ended(a)], [ended(b)], [ended(c)])
    start(tmp_path, [a, b, c], told, slots=2, together=4)
    assert told.given == [(0, [0, 2]), (1, [1]), (0, []), (1, []), (0, [])]


def test_a_job_that_must_be_alone_has_a_place_before_and_after_which_nothing_comes(tmp_path, monkeypatch):
    monkeypatch.setattr(queue, "isolated", lambda job: job.seed % 2 == 1)
    a, b, c, d, e = seeds(5)
    told = Told([ended(a)], [ended(c)], [ended(e)], [ended(b)], [ended(d)])
    start(tmp_path, [a, b, c, d, e], told, together=2)
    assert told.given == [(0, [0, 2]), (0, [4]), (0, []), (0, []), (0, [1]), (0, []), (0, [3]), (0, [])]


def test_a_lost_place_costs_its_jobs_and_is_made_anew(tmp_path):
    a, b, c = seeds(3)
    told = Told([Lost(0, "it was killed")], [ended(c)])
    records, said = start(tmp_path, [a, b, c], told, together=2)
    assert told.given == [(0, [0, 1]), (0, [2]), (0, [])]
    for job in (a, b):
        assert records[job.path]["cause"] == "it was killed"
        assert Store(tmp_path, job).record() == records[job.path]
    assert said.count("[crashed: it was killed]") == 2


def hold(work, ready, leave):
    import fcntl

    work.mkdir(parents=True)
    with (work / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready.set()
        leave.wait(60)


def test_a_lost_job_that_another_command_has_is_left_to_it(tmp_path):
    (job,) = seeds(1)
    context = multiprocessing.get_context("fork")
    ready, leave = context.Event(), context.Event()
    other = context.Process(target=hold, args=(Store(tmp_path, job).work, ready, leave))

    class Late(Told):
        def events(self):
            other.start()
            assert ready.wait(60)
            return super().events()

    records, _ = start(tmp_path, [job], Late([Lost(0, "it was killed")]))
    leave.set()
    other.join()
    assert records[job.path]["status"] == "crashed"
    assert Store(tmp_path, job).record() is None


def test_what_no_job_can_go_on_without_ends_all(tmp_path):
    told = Told([Fatal("The disk is full.")])
    with pytest.raises(UserError, match="The disk is full"):
        start(tmp_path, seeds(2), told)
    assert told.stops


@pytest.mark.parametrize("whole", [True, False, None])
def test_ctrl_c_says_whether_anything_was_lost(tmp_path, whole):
    told = Told([KeyboardInterrupt()], whole=whole)
    with pytest.raises(KeyboardInterrupt) as stop:
        start(tmp_path, seeds(2), told)
    assert told.stops
    assert str(stop.value) == ("" if whole else queue.CUT_SHORT)


def test_a_folder_that_cannot_be_made_costs_its_job_alone(tmp_path, monkeypatch):
    """Something lies where the folder is to be: for a process that does jobs, and for this one that records a loss."""
    blocked, other = jobs.job(replace(jobs.recipe().method, scale=3.0)), jobs.job(seed=1)
    blocked = replace(blocked, recipe=replace(blocked.recipe, name="blocked"))
    (tmp_path / ".unfinished").mkdir()
    (tmp_path / ".unfinished/blocked").write_text("in the way")
    records, _ = start(tmp_path, [blocked], Told([Lost(0, "it was killed")]))
    assert records[blocked.path]["cause"] == "it was killed"
    jobs.keep_process(monkeypatch)
    monkeypatch.setattr("engine.prior.open_prior", lambda *_: jobs.prior())
    mine, theirs = multiprocessing.Pipe()
    for works in ([(blocked, {"key": "a"})], [(other, {"key": "b"})], []):
        mine.send(works)
    worker.main(theirs, tmp_path, jobs.SETUP)
    news = []
    while mine.poll():
        news.append(mine.recv())
    assert [e.record["status"] for e in news if isinstance(e, Ended)] == ["crashed", "finished"]
    assert not [e for e in news if isinstance(e, Fatal)]


def test_what_is_said_of_a_job_is_text(tmp_path):
    (job,) = seeds(1)
    record = {"status": "crashed", "cause": "no [bold]markup[/] [/here]", "seconds": 2.0}
    told = Told([Said(job.path, "an [odd] word"), Step(job.path, 1, "[/]"), Ended(job.path, record)])
    _, said = start(tmp_path, [job], told)
    assert "seed 0: an [odd] word\n" in said
    assert "seed 0  [crashed: no [bold]markup[/] [/here]]  2 s\n" in said


def cut_off(path):
    path.write_bytes(path.read_bytes()[:100])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)


def lack_a_tensor(path):
    with safe_open(path, "pt") as file:
        tensors, header = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    save_file(dict(list(tensors.items())[1:]), path, metadata=header)


def be_of_another_scene(path):
    tensors, facts = read_tensors(path)
    write_tensors(path, {name: tensor.reshape(-1)[:1] for name, tensor in tensors.items()}, facts)


DAMAGES = {
    "cut off": cut_off,
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "random bytes": lambda path: path.write_bytes(random.Random(0).randbytes(path.stat().st_size)),
    "text": lambda path: path.write_text("{}"),
    "a bit": flip_a_bit,
    "a tensor less": lack_a_tensor,
    "of another scene": be_of_another_scene,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_costs_its_job_the_steps_and_no_other_anything(tmp_path, here, damage):
    damaged, other = seeds(2)
    for job in (damaged, other):
        with pytest.raises(Stopped):
            jobs.do(tmp_path, job, jobs.Deaf(5))
    damage(Store(tmp_path, damaged).work / "checkpoint.safetensors")
    records, said = start(tmp_path, [damaged, other], here)
    assert [records[job.path]["status"] for job in (damaged, other)] == ["finished"] * 2
    assert "could not be read" in records[damaged.path]["checkpoint"]
    assert "checkpoint" not in records[other.path]
    assert said.count("so that it began anew") == 1
    jobs.do(tmp_path / "whole", damaged)
    for name in ("scene.safetensors", "log.jsonl"):
        assert (tmp_path / damaged.path / name).read_bytes() == (tmp_path / "whole" / damaged.path / name).read_bytes()


def test_what_another_command_finished_meanwhile_is_not_done_again(tmp_path, here):
    """Both planned the job; the other had it first."""
    (job,) = seeds(1)
    theirs = jobs.do(tmp_path, job)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    records, _ = start(tmp_path, [job], here)
    assert records[job.path] == theirs
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()} == before
    assert not (tmp_path / ".unfinished").exists()


def test_two_commands_on_one_folder_share_the_jobs_and_each_is_done_once(tmp_path, monkeypatch, here):
    monkeypatch.setattr(queue, "LOOK", 0.05)
    which, done, kept = seeds(6, steps=4), [], []
    finish = Store.finish
    monkeypatch.setattr(Store, "finish", lambda store, *rest: done.append(store.final) or finish(store, *rest))
    commands = [threading.Thread(target=lambda: kept.append(start(tmp_path, which, Here())[0])) for _ in range(2)]
    for command in commands:
        command.start()
    for command in commands:
        command.join(120)
    assert sorted(done) == sorted(tmp_path / job.path for job in which)
    assert kept[0] == kept[1]
    assert {record["status"] for record in kept[0].values()} == {"finished"}
    assert not (tmp_path / ".unfinished").exists()


def test_what_another_command_has_is_done_last_and_taken_over_where_that_ends(tmp_path, monkeypatch, here):
    a, b = seeds(2, steps=4)
    claim, order = Claim(Store(tmp_path, a).work), []

    def waited(seconds):
        if order == ["1"]:
            order.append("waited")
            claim.release()
        time.sleep(seconds)

    monkeypatch.setattr(queue, "LOOK", 0.05)
    monkeypatch.setattr(queue, "time", SimpleNamespace(monotonic=time.monotonic, sleep=waited))
    finish = Store.finish
    monkeypatch.setattr(Store, "finish", lambda store, *rest: order.append(store.final.name) or finish(store, *rest))
    records, _ = start(tmp_path, [a, b], here)
    assert order == ["1", "waited", "0"]
    assert {record["status"] for record in records.values()} == {"finished"}


def test_a_failure_that_another_command_recorded_meanwhile_is_not_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(queue, "LOOK", 0.05)
    a, b = seeds(2)
    failed = {"status": "crashed", "cause": "it broke there", "seconds": 1.0}

    def meanwhile():
        Store(tmp_path, b).give_up({"key": b.key("none")}, failed)
        return ended(a)

    class Late(Told):
        def events(self):
            return [meanwhile()]

    records, said = start(tmp_path, [a, b], Late())
    assert records[b.path]["cause"] == "it broke there"
    assert "[crashed: it broke there]" in said


def test_a_failure_that_another_command_recorded_is_tried_again_where_that_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(queue, "LOOK", 0.05)
    a, b = seeds(2)

    def meanwhile():
        Store(tmp_path, b).give_up({"key": b.key("none")}, {"status": "crashed", "cause": "it broke there"})
        return ended(a)

    class Late(Told):
        def events(self):
            return [meanwhile()] if len(self.given) == 1 else [ended(b)]

    told = Late()
    records, said = start(tmp_path, [a, b], told, policy=Policy(retries=1))
    assert "failed (it broke there), and is tried again" in said
    assert [seeds for _, seeds in told.given if seeds] == [[0], [1]]
    assert records[b.path]["status"] == "finished"


def test_a_job_that_another_command_took_first_waits_again(tmp_path, monkeypatch):
    monkeypatch.setattr(queue, "LOOK", 0.05)
    a, b = seeds(2)
    told = Told([Busy(a.path)], [ended(b)], [ended(a)])
    start(tmp_path, [a, b], told)
    assert told.given == [(0, [0]), (0, [1]), (0, []), (0, [0]), (0, [])]


def test_a_result_of_another_key_is_replaced(tmp_path, here):
    (job,) = seeds(1)
    jobs.do(tmp_path, job)
    longer = replace(job, recipe=replace(job.recipe, steps=14))
    records, _ = start(tmp_path, [longer], here)
    assert records[job.path]["steps"] == Store(tmp_path, job).record()["steps"] == 14


@dataclass(frozen=True)
class Raises(Method):
    error: str = "None"

    def gradient(self, views, prior, state):
        raise eval(self.error)


CROWDED = (
    "MemoryError()",
    "MemoryError('Unable to allocate 8 GiB')",
    'RuntimeError("DefaultCPUAllocator: can\'t allocate memory: you tried to allocate 8 bytes")',
    "torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB')",
    "RuntimeError('CUDA error: out of memory')",
    "RuntimeError('CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`')",
    "RuntimeError('cuDNN error: CUDNN_STATUS_ALLOC_FAILED')",
    'RuntimeError("can\'t start new thread")',
    "OSError(12, 'Cannot allocate memory')",
)


@pytest.mark.parametrize("error", CROWDED)
def test_too_little_memory_of_any_kind_is_a_status_and_the_next_job_runs(tmp_path, here, error):
    crowded, other = jobs.job(Raises(error), seed=0), jobs.job(seed=1)
    records, _ = start(tmp_path, [crowded, other], here)
    assert records[crowded.path]["status"] == "out-of-memory"
    assert records[crowded.path]["cause"]
    assert records[other.path]["status"] == "finished"
    wrapped = RuleError("rule.py:3: it failed")
    wrapped.__cause__ = eval(error)
    assert is_out_of_memory(wrapped)


@pytest.mark.parametrize("error", ["ValueError('out of memory cards')", "RuntimeError('a bug')", "Exception()"])
def test_other_errors_are_crashes(tmp_path, here, error):
    crashed, other = jobs.job(Raises(error), seed=0), jobs.job(seed=1)
    records, _ = start(tmp_path, [crashed, other], here)
    assert records[crashed.path]["status"] == "crashed"
    assert type(eval(error)).__name__ in records[crashed.path]["cause"]
    assert records[other.path]["status"] == "finished"


def test_too_little_memory_to_open_the_prior_is_the_jobs(tmp_path, monkeypatch, here):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    (job,) = seeds(1)
    monkeypatch.setattr("engine.prior.open_prior", full)
    records, _ = start(tmp_path, [job], here)
    assert records[job.path]["status"] == "crashed"  # and not diverged: its rule had not begun
    assert records[job.path]["cause"] == "too little memory to begin: CUDA out of memory"


def test_folders_and_files_of_a_result_have_the_modes_that_the_umask_gives(tmp_path, here):
    before = os.umask(0o027)
    try:
        (job,) = seeds(1)
        start(tmp_path, [job], here)
    finally:
        os.umask(before)
    paths = list((tmp_path / "sds").rglob("*"))
    assert {p.name for p in paths} >= {"scene.safetensors", "record.json", "config.json", "log.jsonl", "views"}
    assert {
        p.name: p.stat().st_mode & 0o777 for p in paths if p.stat().st_mode & 0o777 != (0o750 if p.is_dir() else 0o640)
    } == {}


def test_a_job_that_failed_is_tried_again_as_often_as_is_said_and_what_it_took_is_counted(tmp_path):
    a, b = seeds(2)

    class Failing(Told):
        def events(self):
            _, (seed,) = next(given for given in reversed(self.given) if given[1])
            job = (a, b)[seed]
            record = {"status": "crashed", "cause": f"try {len(self.given)}"}
            return [Ended(job.path, Store(tmp_path, job).give_up({"key": job.key("none")}, record))]

    told = Failing()
    records, said = start(tmp_path, [a, b], told, policy=Policy(retries=2))
    assert [seeds for _, seeds in told.given if seeds] == [[0], [1], [0], [1], [0], [1]]
    assert [records[job.path]["tries"] for job in (a, b)] == [3, 3]
    assert len(records[a.path]["failures"]) == 2
    assert said.count("and is tried again") == 4
    assert said.count("[crashed: try") == 2
    assert records[a.path]["status"] not in DIVERGED


def test_what_diverged_is_not_tried_again(tmp_path):
    (a,) = seeds(1)
    told = Told([Ended(a.path, {"status": "non-finite", "cause": "step 3"})])
    records, _ = start(tmp_path, [a], told, policy=Policy(retries=5))
    assert records[a.path]["status"] == "non-finite"


def test_a_job_that_takes_too_long_has_failed_and_what_sat_beside_it_goes_on(tmp_path):
    a, b, c = seeds(3)
    told = Told([Started(a.path)], [], [ended(b)], [ended(c)])
    slow = told.events
    told.events = lambda: time.sleep(0.06) or slow()
    records, _ = start(tmp_path, [a, b, c], told, together=2, policy=Policy(retries=3, timeout=0.05))
    assert (0, "ended") in told.given
    assert records[a.path]["cause"] == "it took longer than 0.05 s"
    assert Store(tmp_path, a).record()["status"] == "crashed"
    assert {records[job.path]["status"] for job in (b, c)} == {"finished"}


@pytest.mark.parametrize(("failures", "begun"), [(1.0, 1), (2.0, 2), (0.6, 3), (None, 4)])
def test_a_run_ends_where_too_many_jobs_failed(tmp_path, failures, begun):
    which = seeds(4)
    told = Told(*[[Ended(job.path, {"status": "crashed", "cause": "x"})] for job in which])
    records, said = start(tmp_path, which, told, policy=Policy(failures=failures))
    assert len(records) == begun
    assert told.stops
    assert ("which --fail-on-error takes for too many" in said) == (failures is not None)


def test_after_too_little_memory_a_place_is_made_anew(tmp_path):
    """Where it is shared, when what sits beside has ended, too."""
    a, b, c, d = seeds(4)
    crowded = Ended(a.path, {"status": "out-of-memory", "cause": "x"})
    told = Told([crowded], [ended(b)], [ended(c)], [ended(d)])
    start(tmp_path, [a, b, c, d], told, together=2)
    assert told.given == [(0, [0, 1]), (0, []), (0, []), (0, [2, 3]), (0, []), (0, [])]


def test_what_is_lost_by_an_end_at_once_is_said(tmp_path):
    (a,) = seeds(1)
    with Store(tmp_path, a).opened({"key": a.key("none")}):
        Store(tmp_path, a).save_checkpoint({"x": torch.zeros(1)}, {"step": 3})
    with pytest.raises(KeyboardInterrupt, match=r"Lost: 4 steps of sds · 01-a-red-ball · seed 0\."):
        start(tmp_path, [a], Told([Step(a.path, 7)], [KeyboardInterrupt()], whole=False))


def test_what_sat_in_a_place_that_went_with_its_machine_is_done_elsewhere_and_counts_as_no_failure(tmp_path):
    a, b, c = seeds(3)
    told = Told([Started(a.path), Away(0, "the node is gone")], [ended(b)], [ended(c)], [ended(a)])
    records, said = start(tmp_path, [a, b, c], told, slots=2)
    assert told.given == [(0, [0]), (1, [1]), (1, [2]), (1, [0]), (1, [])]
    assert {record["status"] for record in records.values()} == {"finished"}
    assert "seed 0: the node is gone: it goes on elsewhere from step 0" in said


def test_a_job_that_takes_every_machine_with_it_is_given_up(tmp_path):
    """But not where each takes it further, nor where it had not begun."""
    a, b = seeds(2)
    lost = [Started(a.path), Away(0, "the node is gone"), Room(1)]
    records, _ = start(tmp_path, [a], Told(*[lost] * 4))
    assert records[a.path]["cause"] == "the node is gone, 4 times at its step 0"
    assert Store(tmp_path, a).record()["status"] == "crashed"

    class Further(Told):
        def events(self):
            with Store(tmp_path, b).opened({"key": b.key("none")}):
                Store(tmp_path, b).save_checkpoint({"x": torch.zeros(1)}, {"step": len(self.script)})
            return super().events()

    records, _ = start(tmp_path, [b], Further(*[[Started(b.path), *lost[1:]]] * 6, [ended(b)]))
    assert records[b.path]["status"] == "finished"
    records, _ = start(tmp_path / "unbegun", [a], Told(*[lost[1:]] * 6, [ended(a)]))
    assert records[a.path]["status"] == "finished"


def test_places_that_come_later_are_filled(tmp_path):
    a, b, c, d = seeds(4)
    told = Told([Room(3)], [ended(a)], [ended(c)], [ended(b)], [ended(d)])
    start(tmp_path, [a, b, c, d], told)
    assert told.given == [(0, [0]), (1, [1]), (2, [2]), (0, [3]), (2, []), (1, []), (0, [])]


def test_where_no_place_is_left_the_next_is_waited_for(tmp_path):
    (a,) = seeds(1)
    told = Told([Away(0, "the node is gone")], [], [Room(1)], [ended(a)])
    records, _ = start(tmp_path, [a], told)
    assert records[a.path]["status"] == "finished"


def test_where_the_cluster_is_gone_it_is_said_and_what_is_done_is_done(tmp_path):
    a, b, c = seeds(3)
    told = Told([ended(a)], [Over("The cluster's head at 10.0.0.1:6379 is gone")])
    records, said = start(tmp_path, [a, b, c], told, slots=2)
    assert set(records) == {a.path}
    sentence = "The cluster's head at 10.0.0.1:6379 is gone: 1 of 3 jobs are done. The same command goes on from where"
    assert said.count(sentence) == 1
    assert told.stops


def test_a_run_of_which_jobs_are_left_is_not_whole(tmp_path, monkeypatch):
    a, b = seeds(2)
    configs = {job.path: {"key": job.key("none")} for job in (a, b)}
    monkeypatch.setattr(results, "renew", lambda *_: None)
    for script, left in (([[ended(a)], [Over("It is gone")]], True), ([[ended(a), ended(b)]], False)):
        todo = Plan(tmp_path, [a, b], [a, b], configs, jobs.SETUP, 2, "none", Policy(), Told(*script), "cpu")
        assert results.carried_out(todo, Console(file=StringIO())) is left


def test_of_many_bars_twenty_are_shown():
    which = seeds(25)
    with Bars(which, Console(file=StringIO())) as bars:
        for job in which:
            bars.begin(job.path)
        shown = [task.visible for task in bars._bars.tasks]
        assert sum(shown) == SHOWN + 1
        for job in which[:22]:
            bars.end(job.path, {"status": "finished"})
        assert [task.visible for task in bars._bars.tasks] == [True] * 4
        assert bars._bars.tasks[0].completed == 22 * 12


def test_where_nodes_and_processes_are_lost_every_job_of_a_plan_ends_once_and_in_its_folder(tmp_path):
    """The real queue and store; only the jobs' hours pass in no time."""
    found = simulated(tmp_path / "run", 20, 500, World(process=20 * 3600.0, node=3600.0))
    assert found.tally.nodes > 20
    assert found.tally.processes > 5
    assert found.tries == 500 + found.tally.processes
    assert found.tally.resumed > 50  # from checkpoints that are whole: a plan that finds one that is not raises
    assert 0 < found.tally.again < World.kept * (8 * found.tally.nodes + found.tally.processes)
    assert 0.8 * found.tally.there < found.work < found.tally.there
    assert len(list((tmp_path / "run").rglob("record.json"))) == 500
    assert "each ended once" in told(found)
