import json
import os
import subprocess
import sys

import pytest
import torch

from engine import store as store_module
from engine.store import Store, read_tensors, write_json, write_tensors
from errors import UserError
from tests.engine.jobs import job


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

    monkeypatch.setattr(store_module.os, "fsync", full)
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
    assert store.record() == {"status": "crashed"}
    with store.opened({"key": "k"}):
        assert store.load_checkpoint()[1] == {"step": 3}  # the next try goes on from there
        store.finish({"status": "finished"}, lambda folder: (folder / "scene").write_text("s"))
    assert store.record() == {"status": "finished"}
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


def test_who_waits_for_a_folder_is_asked_each_time_and_may_leave(store):
    store.work.mkdir(parents=True)
    other, times = other_process(store), []
    assert other.stdout.readline() == "held\n"

    def wait():
        times.append(1)
        if len(times) == 3:
            other.communicate("\n", timeout=60)

    with store.opened({"key": "k"}, wait) as found:
        assert found is None
    assert len(times) == 3

    def leave():
        raise InterruptedError

    with store.opened({"key": "k"}), pytest.raises(InterruptedError), Store.opened(store, {"key": "k"}, leave):
        pass


def test_a_job_that_another_finished_meanwhile_is_given_with_its_record(store):
    with store.opened({"key": "k"}):
        store.finish({"status": "finished"})
    with store.opened({"key": "k"}) as found:
        assert found == {"status": "finished"}
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
    assert store.record() == {"status": "finished"}


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
    assert store.record() == {"status": "finished"}


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
