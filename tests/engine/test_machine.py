"""What the machine has: devices by their names, processes that fit on it, memory at its peak."""

import os
import time
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch

from engine import machine
from engine.machine import Peak, device_of, devices_of, slots_of
from errors import UserError


@pytest.fixture
def gpus(monkeypatch):
    """Makes it look as if there were so many."""

    def there_are(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return there_are


class Card:
    """A GPU's memory, as torch tells of it."""

    def __init__(self, monkeypatch):
        self.now = self.peak = self.resets = 0
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"a card called {device}")
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: self.peak)
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", self.reset)

    def reset(self, device):
        self.peak, self.resets = self.now, self.resets + 1

    def hold(self, size):
        self.now, self.peak = size, max(self.peak, size)


def test_the_process_is_watched_between_looks(monkeypatch):
    monkeypatch.setattr(machine, "INTERVAL", 0.005)
    with Peak("cpu") as peak:
        before, deadline = peak.bytes, time.monotonic() + 60
        block = np.ones(2**25)  # 256 MB
        while peak._seen < before + 2**27 and time.monotonic() < deadline:
            time.sleep(0.005)  # the watcher is to see it: nobody else looks
        del block
        assert peak.bytes >= before + 2**27
    assert peak.kind == "process peak"
    assert peak.device


def test_a_gpus_peak_is_of_the_job(monkeypatch):
    card = Card(monkeypatch)
    card.hold(900)
    card.hold(100)
    with Peak("cuda:1") as peak:
        card.hold(300)
        card.hold(200)
        assert peak.bytes == 300
    assert (peak.kind, peak.device) == ("CUDA peak", "a card called cuda:1")


@pytest.mark.parametrize(("device", "kind"), [("cuda", "CUDA peak"), ("cpu", "process peak")])
def test_a_peak_of_several_scenes_is_called_so(monkeypatch, device, kind):
    card = Card(monkeypatch)
    with Peak(device) as first:
        card.hold(700)
        with Peak(device) as second:
            card.hold(400)
            assert first.bytes >= 700  # the second has not thrown away what the first had
        card.hold(100)
        assert second.kind == f"{kind}, 2 scenes"
    assert first.kind == f"{kind}, 2 scenes"
    with Peak(device) as third:
        card.hold(150)
    assert third.kind == kind
    assert card.resets == (2 if device == "cuda" else 0)
    with Peak(device, scenes=3) as resumed:  # three shared the process before
        pass
    assert resumed.kind == f"{kind}, 3 scenes"


@pytest.mark.parametrize(
    ("name", "count", "found"),
    [
        ("auto", 0, ["cpu"]),
        ("auto", 1, ["cuda:0"]),
        ("cpu", 8, ["cpu"]),
        ("cuda", 8, [f"cuda:{k}" for k in range(8)]),
        ("auto", 2, ["cuda:0", "cuda:1"]),
        ("cuda:1", 8, ["cuda:1"]),
        ("cuda:0,cuda:3", 8, ["cuda:0", "cuda:3"]),
        ("cuda:3, cuda:0", 4, ["cuda:3", "cuda:0"]),
    ],
)
def test_devices_by_their_names(gpus, name, count, found):
    gpus(count)
    assert devices_of(name) == found
    assert device_of(name) == ("cuda" if name in ("auto", "cuda") and count else found[0])
    assert slots_of("auto", name, 100) == len(found) or "cpu" in found


@pytest.mark.parametrize(
    ("name", "count", "said"),
    [
        ("cuda", 0, "no CUDA device here"),
        ("cuda:0", 0, "no CUDA device here"),
        ("cuda:8", 8, "the last one here is cuda:7"),
        ("cuda:0,cuda:9", 8, "the last one here is cuda:7"),
        ("cuda:1,cuda:1", 8, "each GPU once"),
        ("cuda,cuda:1", 8, "each GPU once"),
        ("cpu,cuda:0", 8, "the CPU alone"),
        ("gpu", 8, "no device 'gpu'"),
        ("", 8, "no device ''"),
        ("cuda:", 8, "no device 'cuda:'"),
        ("cuda:0,", 8, "no device ''"),
        ("cuda:-1", 8, "no device 'cuda:-1'"),
        ("meta", 8, "not supported"),
    ],
)
def test_devices_that_are_not_here_are_one_sentence(gpus, name, count, said):
    gpus(count)
    for of in (devices_of, device_of):
        with pytest.raises(UserError, match=said):
            of(name)


def test_one_process_a_gpu_and_one_a_core(gpus, monkeypatch):
    gpus(8)
    assert slots_of("auto", "cuda", missing=100) == 8
    assert slots_of("auto", "cuda", missing=3) == 3
    assert slots_of("auto", "cuda:0,cuda:3", missing=100) == 2
    assert slots_of("16", "cuda", missing=100) == 16
    assert slots_of("auto", "cuda", missing=0) == 1
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)), raising=False)
    for gigabytes, slots in ((64, 4), (2.5 * machine.GIGABYTES_A_JOB, 2), (0.1, 1)):
        room = SimpleNamespace(available=gigabytes * 2**30)
        monkeypatch.setattr(psutil, "virtual_memory", lambda room=room: room)
        assert slots_of("auto", "cpu", missing=100) == slots
    for wrong in ("0", "-1", "two"):
        with pytest.raises(UserError, match="--jobs takes"):
            slots_of(wrong, "cpu", missing=1)
