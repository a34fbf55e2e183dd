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
    with pytest.raises(UserError, match="cannot be read: delete"):
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


def test_a_folder_is_held_by_one_process(store):
    """Another process is refused the lock while the folder is open, and gets it afterwards."""
    script = "import fcntl, sys; fcntl.flock(open(sys.argv[1], 'a'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    taken = [sys.executable, "-c", script, str(store.work / "lock")]
    with store.opened({"key": "k"}):
        refused = subprocess.run(taken, capture_output=True, text=True, check=False)
        assert refused.returncode == 1
        assert "BlockingIOError" in refused.stderr
    assert subprocess.run(taken, check=False).returncode == 0
