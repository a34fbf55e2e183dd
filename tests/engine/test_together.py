"""Scenes side by side: their turns, their errors, their time, and that each is what it would be alone."""

import threading
import time
from dataclasses import dataclass, replace

import pytest
import torch

from engine import together, worker
from engine.together import Seat, Together
from methods.base import Guidance, Method
from tests.engine import jobs
from tests.tiny import write_prior


class Network:
    """A prior that answers x_t + 1, slowly where asked, and writes down how many rows each call had."""

    schedule, latent_shape, image_size, view_words, text_share = None, (3, 8, 8), 16, "coarse", 1.0
    nfe = rows = 0

    def __init__(self, seconds=0.0):
        self.calls, self.seconds = [], seconds

    def network(self, x_t, t, text):
        self.calls.append(len(x_t))
        time.sleep(self.seconds)
        if (x_t == 13).any():
            raise ValueError("an unlucky row")
        return x_t + 1


def asks(prior, values, log=None):
    """A task that asks for one row of each value; it returns what was answered."""

    def task(scene):
        seat, answers = Seat(prior, scene), []
        for value in values:
            if log is not None:
                log.append((scene.name, value))
            answer = seat.network(torch.full((1, 3, 8, 8), float(value)), torch.zeros(1).long(), torch.zeros(1, 1, 1))
            answers.append(answer.mean().item())
        return answers

    return task


def finished(scenes):
    """All scenes that end, by name."""
    ended = {}
    while scenes.live:
        ended |= {scene.name: scene for scene in scenes.round()}
    return ended


@pytest.fixture(params=[False, True], ids=["each by itself", "in one call"])
def shared(request, monkeypatch):
    """Calls as on a CPU, and as on a GPU."""
    monkeypatch.setattr(together, "shared", lambda asking: request.param)
    return request.param


def test_scenes_take_turns_at_the_network(shared):
    prior, log, scenes = Network(), [], Together()
    scenes.add("a", asks(prior, (1, 2, 3), log))
    scenes.add("b", asks(prior, (4, 5), log))
    ended = finished(scenes)
    assert log == [("a", 1), ("b", 4), ("a", 2), ("b", 5), ("a", 3)]
    assert ended["a"].result == [2, 3, 4]
    assert ended["b"].result == [5, 6]
    assert prior.calls == ([2, 2, 1] if shared else [1] * 5)


def test_on_a_cpu_no_call_is_shared():
    prior, scenes = Network(), Together()
    for name in "abc":
        scenes.add(name, asks(prior, (1, 2)))
    finished(scenes)
    assert prior.calls == [1] * 6


def test_one_alone_calls_the_network_without_waiting(monkeypatch):
    monkeypatch.setattr(together, "_serve", lambda *_: pytest.fail("served"))
    prior, scenes = Network(), Together()
    scenes.add("a", asks(prior, (1, 2)))
    (scene,) = scenes.round()
    assert scene.result == [2, 3]


def test_one_that_comes_later_takes_part(shared):
    prior, scenes = Network(), Together()
    scenes.add("a", asks(prior, (1,)))
    scenes.add("b", asks(prior, (1, 2, 3, 4)))
    while not (ended := scenes.round()):
        pass
    assert [scene.name for scene in ended] == ["a"]
    scenes.add("c", asks(prior, (7,)))
    ended = finished(scenes)
    assert ended["b"].result == [2, 3, 4, 5]
    assert ended["c"].result == [8]


def test_an_error_is_its_own_scenes(shared):
    """Of a call that fails for all, each scene makes its own; one that fails itself ends, the others go on."""
    prior, scenes = Network(), Together()
    scenes.add("unlucky", asks(prior, (1, 13, 2)))
    scenes.add("other", asks(prior, (1, 2, 3)))

    def broken(scene):
        raise KeyError("a bug")

    scenes.add("broken", broken)
    ended = finished(scenes)
    assert isinstance(ended["unlucky"].error, ValueError)
    assert isinstance(ended["broken"].error, KeyError)
    assert ended["other"].error is None
    assert ended["other"].result == [2, 3, 4]


def test_a_thread_that_cannot_start_ends_its_scene_alone(monkeypatch):
    prior, scenes, start = Network(), Together(), threading.Thread.start

    def refuse(thread):
        if thread.name == "scene a":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    scenes.add("a", asks(prior, (1,)))
    scenes.add("b", asks(prior, (1, 2)))
    ended = finished(scenes)
    assert str(ended["a"].error) == "can't start new thread"
    assert ended["b"].result == [2, 3]


def test_a_thread_that_dies_before_its_task_begins_is_not_waited_for(monkeypatch):
    def full(_):
        raise MemoryError

    monkeypatch.setattr(together.torch, "set_num_threads", full)
    scenes = Together(threads=1)
    scenes.add("a", asks(Network(), (1,)))
    (scene,) = scenes.round()
    assert isinstance(scene.error, MemoryError)


def test_time_is_each_scenes_own_and_its_share_of_calls(monkeypatch, shared):
    prior, scenes = Network(0.05), Together()

    def slow(scene):
        time.sleep(0.2)
        return asks(prior, (1,))(scene), scene.clock()

    def quick(scene):
        return asks(prior, (1,))(scene), scene.clock()

    scenes.add("slow", slow)
    scenes.add("quick", quick)
    begin = time.monotonic()
    ended = finished(scenes)
    whole = time.monotonic() - begin
    assert ended["slow"].result[1] >= 0.2 + 0.02
    assert ended["slow"].result[1] - ended["quick"].result[1] > 0.1
    assert sum(scene.spent for scene in ended.values()) <= whole


def test_what_is_differentiated_is_not_shared():
    """The graph of a student's loss is the scene's own."""
    seen = []

    def task(scene):
        x = torch.ones(1, 3, 8, 8, requires_grad=True)
        with torch.enable_grad():
            Seat(prior, scene).network(x, torch.zeros(1).long(), torch.zeros(1, 1, 1)).sum().backward()
        seen.append(x.grad.sum().item())

    prior, scenes = Network(), Together()
    scenes.add("a", task)
    scenes.add("b", task)
    finished(scenes)
    assert seen == [3 * 64] * 2


@dataclass(frozen=True)
class Guided(Method):
    """A rule whose calls have other numbers of rows from scene to scene."""

    rows: int = 2

    def gradient(self, views, prior, state):
        n = self.rows
        t = torch.randint(20, 980, (n,), generator=views.rng)
        x = torch.cat([views.x0] * n)[:n]
        return Guidance(prior.eps(x, t, prior.embed(["a red ball"] * n)).mean(0, keepdim=True).expand_as(views.x0))


def scenes_of(run, which, setup):
    """The jobs done together, in one process, as a worker does them: on one thread, its own included, which calls the
    network for those of them that wait."""
    torch.set_num_threads(1)
    scenes = Together(threads=1)
    for job in which:
        task = (job, {"key": job.key("none")})
        scenes.add(job.path, lambda scene, task=task: worker.do(task, run, setup, jobs.Deaf(), scene))
    ended = finished(scenes)
    assert all(scene.error is None for scene in ended.values())
    return {name: scene.result for name, scene in ended.items()}


def test_together_each_scene_is_to_the_bit_what_it_is_alone(tmp_path, monkeypatch):
    """On a CPU, with a network large enough for its rows to be rounded by their number."""
    prior = str(write_prior(tmp_path / "prior"))
    setup = replace(jobs.SETUP, prior=prior, together=3)
    which = [jobs.job(Guided(rows=k), seed=k, steps=30) for k in (1, 2, 3)]
    records = scenes_of(tmp_path / "together", which, setup)
    assert {record["status"] for record in records.values()} == {"finished"}
    assert {record["memory"] for record in records.values()} == {"process peak, 3 scenes"}
    for job in which:
        scenes_of(tmp_path / "alone", [job], setup)
        for name in ("scene.safetensors", "log.jsonl"):
            files = [tmp_path / run / job.path / name for run in ("together", "alone")]
            assert files[0].read_bytes() == files[1].read_bytes(), (job.seed, name)
