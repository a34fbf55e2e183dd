"""Machines that share a run: each job is done once, and goes on where it was left."""

import json
import threading
import time

import pytest

from engine import claims, optimize
from engine.executors.base import Started
from engine.optimize import Stopped
from engine.queue import launch
from engine.remote import mirror, objects, sharing
from engine.remote.mirror import ALL, needed
from engine.remote.objects import Objects
from engine.remote.sharing import worked_on
from engine.store import Store
from errors import UserError
from files import read_json
from records import RECORD
from tests.engine import jobs
from tests.engine.executors.here import Here
from tests.engine.remote.machines import JOB, NAME, Cut, halt, scene, tree


def test_a_run_in_a_store_is_that_of_a_folder_byte_for_byte(machine, url, tmp_path):
    here, there = machine(), tmp_path / "there"
    here.launched()
    launch(tmp_path / "run", [JOB], {JOB.path: {"key": JOB.key("none")}}, jobs.SETUP, 1, here.console, executor=Here())
    store = Objects(url)
    names = [name for name in store.find("") if not name.startswith((".sums", ".claims"))]
    for name in names:
        (there / name).parent.mkdir(parents=True, exist_ok=True)
    store.fetch({name: there / name for name in names})
    assert tree(there) == tree(tmp_path / "run")
    assert f"{NAME}/scene.safetensors" in names


def test_in_s3_a_run_goes_on_elsewhere_though_the_server_ended_meanwhile(
    s3, machine, url, alone, tmp_path, monkeypatch
):
    """The whole way: a server that ends in the middle, a machine that is stopped, another that goes on, a third that
    reads."""
    monkeypatch.setitem(
        objects.OPTIONS, "s3", {"config_kwargs": {"connect_timeout": 1, "retries": {"max_attempts": 1}}}
    )
    one, two = machine(), machine("two")

    class Ending(Cut):
        def send(self, event):
            super().send(event)
            if getattr(event, "step", None) == 0:
                halt(s3)
                back.start()

    def restart():
        while "cannot be reached" not in one.said:
            time.sleep(0.1)
        s3.start()

    back = threading.Thread(target=restart, daemon=True)
    with pytest.raises(KeyboardInterrupt):
        one.launched(executor=Ending(5))
    back.join()
    assert "cannot be reached" in one.said
    assert f"{url} answers again." in one.said
    assert f".unfinished/{NAME}/checkpoint.safetensors" in Objects(url).find(".unfinished")
    two.launched()
    assert scene(two.run) == alone
    three = machine("three")
    needed(three.run)
    assert tree(three.run) == tree(two.run)


def test_s3_lets_one_alone_make_an_object(s3, url):
    store, made = Objects(url), []
    threads = [threading.Thread(target=lambda k=k: made.append(store.create("a", b"%d" % k))) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False] * 7 + [True]


def test_another_machine_goes_on_from_the_last_checkpoint_to_the_same_scene(machine, url, alone):
    one, two = machine(), machine("two")
    with pytest.raises(KeyboardInterrupt):
        one.launched(executor=Cut(5))
    assert any(name.endswith("checkpoint.safetensors") for name in Objects(url).find(".unfinished"))
    begun = []

    class Watching(Here):
        def send(self, event):
            begun.append(getattr(event, "step", None))
            super().send(event)

    two.launched(executor=Watching())
    assert min(step for step in begun if step is not None) == 5
    assert scene(two.run) == alone
    assert not Objects(url).find(".unfinished")
    logged = [json.loads(line)["step"] for line in (two.run / JOB.path / "log.jsonl").read_text().splitlines()]
    assert logged == sorted(set(logged))


def test_a_machine_that_died_is_waited_for_and_its_job_goes_on(machine, url, alone, monkeypatch):
    monkeypatch.setattr(claims, "SILENT", 1.0)
    one, two = machine(), machine("two")
    dead = sharing.Sharing(mirror.mirror_of(one.run), one.console)
    dead.begin()
    assert dead.take(JOB.path)
    with pytest.raises(Stopped):
        jobs.do(one.run, JOB, jobs.Deaf(5))
    dead._carry()
    dead._end.set()
    records = two.launched()
    assert records[JOB.path]["status"] == "finished"
    assert scene(two.run) == alone
    assert read_json(two.run / JOB.path / RECORD)["step"] == 12


def test_what_is_done_is_not_done_again_and_its_scene_is_not_brought_for_that(machine):
    machine().launched()
    two = machine("two")
    assert two.launched() == {}
    assert (two.run / JOB.path / RECORD).exists()
    assert not (two.run / JOB.path / "scene.safetensors").exists()
    needed(two.run, ALL)
    assert scene(two.run) == scene(machine().run)


def test_two_machines_at_once_do_each_job_once(machine, url):
    which = [jobs.job(seed=seed) for seed in range(6)]
    done = {}

    class Noting(Here):
        def send(self, event):
            if isinstance(event, Started):
                done[self.name].append(int(event.path.name))
            super().send(event)

    def work(name):
        executor, done[name] = Noting(), []
        executor.name = name
        results[name] = machine(name).launched(which, executor)

    results = {}
    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done["one"] + done["two"]) == list(range(6))
    assert all(len(found) == 6 for found in results.values())  # what the other did is known, too
    assert len([name for name in Objects(url).find("") if name.endswith(f"/{RECORD}")]) == 6


def test_a_store_that_stops_answering_loses_nothing(machine, url, away, monkeypatch):
    """It is gone for the whole job, and comes back before the command ends."""

    class Leaving(Here):
        def send(self, event):
            away["away"] = getattr(event, "step", None) != 12
            super().send(event)

    one = machine()
    one.launched(executor=Leaving())
    assert f"{url} cannot be reached (no route). The run goes on here, and is put there when it answers" in one.said
    assert f"{url} answers again." in one.said
    assert f"{NAME}/scene.safetensors" in Objects(url).find("")


def test_what_could_not_be_put_is_put_by_the_same_command(machine, url, away, monkeypatch):
    monkeypatch.setattr(sharing, "PATIENCE", 0.2)
    monkeypatch.setattr(sharing, "LOOK", 0.05)
    one = machine()
    with worked_on(one.run, one.console) as part:
        away["away"] = True
        jobs.do(one.run, JOB)
    assert not part.whole
    assert f"Not all of the run is in {url} yet: the same command puts there what is in {one.run}." in one.said
    with pytest.raises(UserError, match="cannot be reached"):
        one.launched()
    away["away"] = False
    assert one.launched() == {}
    two = machine("two")
    needed(two.run)
    assert scene(two.run) == scene(one.run)


def save_for(seconds, store):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        store.save_checkpoint({}, {"step": 2})
        time.sleep(0.02)


def test_a_claim_that_another_made_stops_who_had_the_job(machine):
    """The owner was slow: another has made the next claim."""
    one, two = machine(), machine("two")
    with worked_on(one.run, one.console) as part:
        assert part.take(JOB.path)
        store = Store(one.run, JOB)
        with store.opened({"key": "k"}):
            store.save_checkpoint({}, {"step": 1})
            with worked_on(two.run, two.console) as thief:
                assert claims.is_held(two.run / ".unfinished" / JOB.path)
                assert thief.take(JOB.path)
                with pytest.raises(claims.Held):
                    save_for(20, store)  # some signs of life


def test_a_leader_hands_its_claims_to_nodes_and_takes_them_back_from_one_that_is_lost(machine, url, alone):
    lead, lost, node = machine("lead"), machine("lost"), machine("node")
    claim, config = f".claims/{NAME}/{{:06d}}.json", {"key": JOB.key("none")}

    def said(number):
        return json.loads(Objects(url).read([claim.format(number)])[claim.format(number)])

    def until(true):
        deadline = time.monotonic() + 60
        while not true():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    with worked_on(lead.run, lead.console) as part:
        part.lead()
        assert part.take(JOB.path)
        number = part.handed(JOB.path)
        assert number == 1
        assert part.handed(JOB.path) is None
        with worked_on(lost.run, lost.console, follows=False) as hand:
            hand.given(JOB.path, number)
            assert said(1)["machine"] == hand.mirror.identity
            store = Store(lost.run, JOB)
            with store.opened(config), pytest.raises(Stopped):
                optimize.run(JOB, jobs.prior(), store, jobs.SETUP, jobs.Deaf(5))
            step = store.kept_step()
            until(lambda: part.kept_step(JOB.path) == step > 0)
            assert Store(lead.run, JOB).kept_step() == 0  # it lies in the store alone
            assert part.take(JOB.path)  # as where the node is lost
            number = part.handed(JOB.path)
            assert number == 2
            until(lambda: JOB.path.as_posix() not in hand._holds)  # it finds the next claim
        with worked_on(node.run, node.console, follows=False) as hand:
            hand.given(JOB.path, number)
            store = Store(node.run, JOB)
            assert store.kept_step() == step
            with store.opened(config):
                optimize.run(JOB, jobs.prior(), store, jobs.SETUP, jobs.Deaf())
            hand.settle(JOB.path, lambda: False)
            assert said(2)["over"]
            assert scene(node.run) == alone
        part.put(JOB.path)
        until(lambda: Store(lead.run, JOB).found(JOB.key("none")))
        assert not (lead.run / JOB.path / "scene.safetensors").exists()
    assert part.whole


def test_a_node_waits_with_a_result_until_the_store_answers_or_it_is_to_leave(machine, away):
    node = machine()
    with worked_on(node.run, node.console, follows=False) as hand:
        hand.given(JOB.path, 0)
        jobs.do(node.run, JOB)
        away["away"] = True
        looks = iter(range(20))
        hand.settle(JOB.path, lambda: next(looks, None) is None)
        assert NAME in hand._ended
        away["away"] = False
        hand.settle(JOB.path, lambda: False)
        assert NAME not in hand._ended
    assert hand.whole
