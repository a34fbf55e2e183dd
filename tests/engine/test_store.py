import json
import os
import shutil
import subprocess
import sys
import threading
import time

import pytest
import torch

from engine import claims
from engine.claims import Gone, Held
from engine.store import Store, read_tensors, tidy, write_json, write_tensors
from errors import UserError
from records import NewerError
from tests.engine.jobs import job

ENDED = {"version": 2, "tries": 1, "failures": [], "key": "k"}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path, job())


def test_tensors_and_facts_return_as_they_were(tmp_path):
    tensors = {"a/b": torch.randn(3, 4), "rng/state": torch.Generator().manual_seed(1).get_state()}
    write_tensors(tmp_path / "c.safetensors", tensors, {"step": 7, "seconds": 0.25})
    back, facts = read_tensors(tmp_path / "c.safetensors")
    assert all(torch.equal(back[k], tensors[k]) for k in tensors)
    assert back.keys() == tensors.keys()
    assert facts == {"step": 7, "seconds": 0.25}


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    write_json(path, {"old": 1})

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_json(path, {"new": 2})
    assert json.loads(path.read_text()) == {"old": 1}
    assert os.listdir(tmp_path) == ["record.json"]


def test_a_job_under_way_is_not_a_result(store):
    with store.opened({"key": "k"}):
        store.save_checkpoint({"x": torch.zeros(1)}, {"step": 3})
        assert store.record() is None
        assert not store.final.exists()


def test_a_checkpoint_of_other_settings_is_dropped(store):
    with store.opened({"key": "old"}):
        store.save_checkpoint({"x": torch.zeros(1)}, {"step": 3})
    with store.opened({"key": "old"}):
        assert store.load_checkpoint()[1] == {"step": 3}
    with store.opened({"key": "new"}):
        assert store.load_checkpoint() is None


def test_a_finished_job_replaces_one_that_crashed(store):
    with store.opened({"key": "k"}):
        store.save_checkpoint({"x": torch.zeros(1)}, {"step": 3})
        store.finish({"status": "crashed"})
    assert store.record() == ENDED | {"status": "crashed"}
    with store.opened({"key": "k"}):
        assert store.load_checkpoint()[1] == {"step": 3}  # the next try goes on from there
        store.finish({"status": "finished"}, lambda folder: (folder / "scene").write_text("s"))
    assert store.record() == ENDED | {"status": "finished", "tries": 2, "failures": [None]}
    assert store.key() == "k"
    assert (store.final / "scene").exists()
    assert not store.work.exists()


def test_log_lines_after_the_checkpoint_are_forgotten_and_torn_ones_too(store):
    with store.opened({"key": "k"}):
        store.log([{"step": k} for k in range(5)])
        with (store.work / "log.jsonl").open("a") as log:
            log.write('{"step": 5, "opac')
        store.keep_log(3)
        lines = (store.work / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 1, 2]


@pytest.mark.parametrize("content", ["", "{", "[1]", "\x00\x00"])
def test_a_damaged_folder_is_one_sentence(store, content):
    store.final.mkdir(parents=True)
    (store.final / "record.json").write_text(content)
    with pytest.raises(UserError, match=r"(cannot be read|is no JSON object): delete"):
        store.record()


def test_a_folder_without_a_record_is_damaged(store):
    store.final.mkdir(parents=True)
    with pytest.raises(UserError, match="cannot be read"):
        store.record()


def test_a_damaged_checkpoint_is_one_sentence(store):
    with store.opened({"key": "k"}):
        (store.work / "checkpoint.safetensors").write_bytes(b"\x10\x00\x00")
        with pytest.raises(UserError, match="cannot be read"):
            store.load_checkpoint()


HOLD = """
import fcntl, sys
lock = open(sys.argv[1], "w")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("busy", flush=True)
fcntl.flock(lock, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.readline()
"""


def other_process(store):
    command = [sys.executable, "-c", HOLD, str(store.work / "lock")]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_folder_is_held_by_one_process(store):
    with store.opened({"key": "k"}):
        other = other_process(store)
        assert other.stdout.readline() == "busy\n"
    assert other.communicate("\n", timeout=60)[0] == "held\n"


def test_who_comes_second_is_told_who_has_the_folder_and_may_wait(store):
    store.work.mkdir(parents=True)
    other = other_process(store)
    assert other.stdout.readline() == "held\n"
    assert store.held
    with pytest.raises(Held), store.opened({"key": "k"}):
        pass
    threading.Timer(0.2, other.stdin.write, ["\n"]).start()
    threading.Timer(0.3, other.stdin.close).start()
    with store.opened({"key": "k"}, wait=True) as found:
        assert found is None
        with pytest.raises(Held, match=f"process {os.getpid()} on "), Store.opened(store, {"key": "k"}):
            pass
    other.wait()
    assert not store.held


def foreign(store, token="t", pid=1):
    """A claim from another machine."""
    store.work.mkdir(parents=True, exist_ok=True)
    (store.work / claims.LOCK).touch()
    said = {"host": "elsewhere", "machine": "another", "pid": pid, "token": token, "step": 3, "at": 0.0}
    (store.work / claims.CLAIM).write_text(json.dumps(said))


def test_a_claim_from_another_machine_holds_while_it_changes_and_no_clock_matters(store, monkeypatch):
    monkeypatch.setattr(claims, "SILENT", 0.3)
    for token in "abc":
        foreign(store, token)
        os.utime(store.work / claims.CLAIM, (10**9, 10**9))  # a clock that is decades late
        time.sleep(0.15)
        with pytest.raises(Held, match="process 1 on elsewhere"), store.opened({"key": "k"}):
            pass
    assert store.held
    time.sleep(0.35)
    assert not store.held
    with store.opened({"key": "k"}) as found:
        assert found is None


def test_an_owner_of_this_machine_that_is_dead_is_replaced_at_once(store):
    foreign(store)
    said = json.loads((store.work / claims.CLAIM).read_text()) | {"machine": claims.machine()}
    (store.work / claims.CLAIM).write_text(json.dumps(said))
    with store.opened({"key": "k"}) as found:
        assert found is None


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"pid": "x"}'])
def test_a_damaged_claim_holds_nothing(store, content):
    foreign(store)
    (store.work / claims.CLAIM).write_text(content)
    with store.opened({"key": "k"}) as found:
        assert found is None


def test_where_there_are_no_locks_a_living_process_holds_and_a_dead_one_does_not(store, monkeypatch):
    monkeypatch.setattr(claims, "taken", lambda *_, **__: None)
    with store.opened({"key": "k"}):
        assert store.held
        with pytest.raises(Held), Store.opened(store, {"key": "k"}):
            pass
        monkeypatch.setattr(claims.psutil, "pid_exists", lambda _: False)
        assert not store.held


def test_an_owner_that_was_taken_for_dead_writes_nothing_more(store, monkeypatch):
    with store.opened({"key": "k"}):
        store.save_checkpoint({"x": torch.zeros(1)}, {"step": 3})
        foreign(store, "of another")
        for late in (lambda: store.save_checkpoint({"x": torch.ones(1)}, {"step": 4}), lambda: store.finish({})):
            with pytest.raises(Held, match="elsewhere"):
                late()
        assert store.load_checkpoint()[1] == {"step": 3}
    assert claims.owner(store.work)["token"] == "of another"


def test_a_claim_tells_that_it_lives_and_how_far_the_job_is(store, monkeypatch):
    monkeypatch.setattr(claims, "BEAT", 0.02)
    with store.opened({"key": "k"}):
        store.at(7)
        first = claims.owner(store.work)
        until = time.monotonic() + 30
        while claims.owner(store.work) == first or claims.owner(store.work)["step"] != 7:
            assert time.monotonic() < until
            time.sleep(0.01)
    assert claims.owner(store.work) is None


def test_a_folder_that_is_removed_while_its_job_runs_is_a_sentence(store):
    with store.opened({"key": "k"}):
        shutil.rmtree(store.work)
        with pytest.raises(Gone, match="was removed while it ran"):
            store.save_checkpoint({"x": torch.zeros(1)}, {"step": 3})
        with pytest.raises(Gone):
            store.finish({"status": "finished"})
    assert not store.final.exists()


NEWER = {"version": 99, "status": "finished", "key": "k"}


def test_a_record_of_a_later_version_is_refused_and_left_as_it_is(store):
    store.final.mkdir(parents=True)
    write_json(store.final / "record.json", NEWER)
    for use in (store.record, lambda: store.opened({"key": "k"}).__enter__(), lambda: store.give_up({"key": "k"}, {})):
        with pytest.raises(NewerError, match="of version 99, and this program knows 2: update the program"):
            use()
    assert json.loads((store.final / "record.json").read_text()) == NEWER


def test_a_record_of_before_versions_is_read_as_one_of_now(store):
    store.final.mkdir(parents=True)
    write_json(store.final / "record.json", {"status": "finished", "seconds": 1.5})
    write_json(store.final / "config.json", {"key": "k"})
    assert store.record() == {"status": "finished", "seconds": 1.5, "version": 2, "tries": 1, "failures": []}
    with store.opened({"key": "k"}) as found:
        assert found == store.record()


@pytest.mark.parametrize("said", [
    {"seconds": "1.5"}, {"seconds": None}, {"nfe": [1]}, {"peak_bytes": {}}, {"version": "2"}, {"version": 0},
    {"version": True}, {"status": 3}, {"step": True},
])  # fmt: skip
def test_a_record_with_a_value_of_another_type_is_damaged(store, said):
    store.final.mkdir(parents=True)
    write_json(store.final / "record.json", {"status": "finished"} | said)
    with pytest.raises(UserError, match=f"its {next(iter(said))} is .* and not .*: delete"):
        store.record()


def test_a_job_that_another_finished_meanwhile_is_given_with_its_record(store):
    with store.opened({"key": "k"}):
        store.finish({"status": "finished"})
    with store.opened({"key": "k"}) as found:
        assert found == ENDED | {"status": "finished"}
    assert not store.work.exists()
    assert store.record() == found
    with store.opened({"key": "another"}) as found:
        assert found is None


@pytest.mark.parametrize("status", ["crashed", None])
def test_a_job_that_crashed_or_is_damaged_is_done_again(store, status):
    with store.opened({"key": "k"}):
        store.finish({"status": "crashed"})
    if status is None:
        (store.final / "record.json").write_text("{")
    with store.opened({"key": "k"}) as found:
        assert found is None
        store.finish({"status": "finished"})
    assert store.record()["tries"] == (2 if status else 1)  # of a damaged record nobody knows


@pytest.mark.parametrize("line", [b"\xff\xfe", b"5", b"[1]", b'{"step": null}', b'{"step": "x"}', b"", b'{"step"'])
def test_a_damaged_log_costs_its_lines(store, line):
    with store.opened({"key": "k"}):
        (store.work / "log.jsonl").write_bytes(b'{"step": 0}\n' + line + b'\n{"step": 1}\n{"step": 7}\n')
        store.keep_log(3)
        assert (store.work / "log.jsonl").read_text() == '{"step": 0}\n{"step": 1}\n'


def test_a_result_that_could_not_be_written_whole_is_written_again(store):
    def full(folder):
        (folder / "views").mkdir()
        raise OSError(28, "No space left on device")

    with store.opened({"key": "k"}):
        with pytest.raises(OSError, match="No space"):
            store.finish({"status": "finished"}, full)
        assert store.record() is None
        store.finish({"status": "finished"}, lambda folder: (folder / "views").mkdir())
    assert store.record() == ENDED | {"status": "finished"}


def test_equal_contents_are_equal_bytes_and_scenes_without_a_sum_are_read(tmp_path):
    from safetensors.torch import save_file

    tensors, facts = {"b": torch.ones(3), "a": torch.zeros(2)}, {"step": 3, "seconds": 1.5}
    for k in range(20):
        write_tensors(tmp_path / f"{k}", tensors, facts)
    assert len({(tmp_path / f"{k}").read_bytes() for k in range(20)}) == 1
    save_file(tensors, tmp_path / "before")
    found, said = read_tensors(tmp_path / "before")
    assert said == {}
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)


def test_a_sign_of_life_does_not_come_back_into_a_folder_that_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "BEAT", 0.0)
    for seed in range(20):
        store = Store(tmp_path, job(seed=seed))
        with store.opened({"key": "k"}):
            store.finish({"status": "finished"})
    assert not (tmp_path / ".unfinished").exists()


def test_what_a_kill_left_of_what_was_finished_is_removed_and_nothing_else(tmp_path, monkeypatch):
    """Killed between the last rename and the end, one each; `crashed` can be gone on with, `begun` is somebody's."""
    done, crashed, begun = (Store(tmp_path, job(seed=seed)) for seed in range(3))
    for store, status in ((done, "finished"), (crashed, "crashed")):
        with store.opened({"key": "k", "more": 1}), monkeypatch.context() as patch:
            patch.setattr(Store, "_clear", lambda store: None)
            store.save_checkpoint({"x": torch.zeros(1)}, {"step": 3})
            store.finish({"status": status})
    commands = tmp_path / ".unfinished" / claims.ROSTER
    commands.mkdir()
    for name in ("dead.json", "dead.json.aside"):
        (commands / name).write_text(json.dumps({"machine": claims.machine(), "pid": 1}))
    with begun.opened({"key": "k"}), claims.roster(tmp_path, {}):
        (living,) = commands.iterdir()  # who comes next removes the dead
        before = {p: p.read_bytes() for store in (crashed, begun) for p in store.work.iterdir() if p.is_file()}
        (commands / "dead.json").write_text(json.dumps({"machine": claims.machine(), "pid": 1}))
        tidy(tmp_path, [job(seed=seed) for seed in range(4)])
        assert list(commands.iterdir()) == [living]
        assert not done.work.exists()
        assert {p: p.read_bytes() for p in before} == before
        assert crashed.work / "checkpoint.safetensors" in before
    tidy(tmp_path, [])
    assert not commands.exists()
    assert done.record()["status"] == "finished"


def test_a_command_that_left_nothing_leaves_no_folder_but_one_that_was_there(tmp_path):
    for run, stays in ((tmp_path / "new", False), (tmp_path, True)):
        with pytest.raises(UserError), claims.roster(run, {"a": 1}):
            raise UserError("The prior cannot be read.")
        assert run.exists() == stays
        assert not (run / ".unfinished").exists()


def test_a_command_that_ends_may_take_the_rosters_folder_away_from_one_that_begins(tmp_path, monkeypatch):
    folder, right, times = tmp_path / ".unfinished" / claims.ROSTER, claims.held, []

    def late(place):
        times.append(1)
        if len(times) < 4:
            place.rmdir()
        return right(place)

    monkeypatch.setattr(claims, "held", late)
    with claims.roster(tmp_path, {"a": 1}):
        assert len(list(folder.iterdir())) == 1
    assert len(times) == 4
    assert not folder.parent.exists()
