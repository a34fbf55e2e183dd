"""Runs in object stores: what is there and here, and machines that share one. A machine is a cache folder of its own;
the store is fsspec's in memory, or moto's S3 on 127.0.0.1."""

import json
import os
import threading
import uuid
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from engine import claims
from engine.optimize import Stopped
from engine.queue import launch
from engine.remote import mirror, sharing
from engine.remote.mirror import ALL, SCORES, needed, place_of
from engine.remote.objects import Objects
from engine.remote.sharing import worked_on
from engine.store import Store
from errors import UserError
from files import read_json
from records import RECORD
from tests.engine import jobs
from tests.engine.executors.here import Here

JOB = jobs.job()
NAME = JOB.path.as_posix()


@pytest.fixture
def url():
    return f"memory://{uuid.uuid4().hex}/run"


@dataclass
class Machine:
    """A machine's folder of a run, and what its command has said."""

    home: Path
    url: str

    def __post_init__(self):
        before = os.environ.get("XDG_CACHE_HOME")
        os.environ["XDG_CACHE_HOME"] = str(self.home)
        self.run = place_of(self.url)
        if before is None:
            del os.environ["XDG_CACHE_HOME"]
        else:
            os.environ["XDG_CACHE_HOME"] = before
        self.console = Console(file=StringIO(), width=300)

    def launched(self, which=(JOB,), executor=None):
        configs = {job.path: {"key": job.key("none")} for job in which}
        with worked_on(self.run, self.console) as part:
            missing = [job for job in which if not Store(self.run, job).found(configs[job.path]["key"])]
            records = launch(self.run, missing, configs, jobs.SETUP, 1, self.console, executor=executor or Here())
        assert part.whole
        return records

    @property
    def said(self):
        return self.console.file.getvalue()


@pytest.fixture
def machine(tmp_path, url, monkeypatch):
    monkeypatch.setattr("engine.prior.open_prior", lambda *_: jobs.prior())
    monkeypatch.setattr(claims, "BEAT", 0.05)
    return lambda name="one": Machine(tmp_path / name, url)


class Cut(Here):
    """Ctrl-C after so many steps, as a terminal gives it: the job writes its checkpoint."""

    def __init__(self, steps):
        self.left = steps

    @property
    def cut(self):
        self.left -= 1
        return self.left <= 0

    def events(self):
        yield from super().events()
        raise KeyboardInterrupt


def tree(folder):
    """Contents by name; of records only what does not depend on time or memory."""
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    volatile = ("seconds", "peak_bytes")
    return {
        name: {k: v for k, v in json.loads(content).items() if k not in volatile} if name.endswith(RECORD) else content
        for name, content in found.items()
    }


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


def scene(run, job=JOB):
    return (run / job.path / "scene.safetensors").read_bytes()


@pytest.fixture
def alone(tmp_path, machine):
    """The scene of the job done in a folder, without a stop."""
    jobs.do(tmp_path / "alone", JOB)
    return scene(tmp_path / "alone")


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
        def submit(self, place, works):
            done[self.name] += [job.seed for job, _ in works]
            super().submit(place, works)

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


@pytest.fixture
def away(monkeypatch):
    """Whether the store does not answer."""
    state, path = {"away": False}, Objects._path

    def asked(self, name):
        if state["away"]:
            raise ConnectionError("no route")
        return path(self, name)

    monkeypatch.setattr(Objects, "_path", asked)
    return state


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


@pytest.mark.parametrize("damage", ["cut", "gone"])
@pytest.mark.parametrize("name", [RECORD, "config.json"])
def test_a_damaged_object_is_named_and_its_job_is_made_again(machine, url, damage, name):
    one, two = machine(), machine("two")
    one.launched()
    store, before = Objects(url), scene(one.run)
    store.remove([f"{NAME}/{name}"]) if damage == "gone" else store.write(f"{NAME}/{name}", b"{")
    said = f"{url}/{NAME}/{name} is damaged or gone"
    with pytest.raises(UserError, match=said):
        needed(machine("reader").run, SCORES)
    assert two.launched()[JOB.path]["status"] == "finished"
    assert said in two.said
    assert scene(two.run) == before
    needed(machine("another reader").run, ALL)


def test_a_damaged_scene_is_named_by_who_reads_it_and_made_again_once_removed(machine, url):
    one = machine()
    one.launched()
    before = scene(one.run)
    Objects(url).write(f"{NAME}/scene.safetensors", before[:-1] + b"x")
    two = machine("two")
    needed(two.run, SCORES)
    with pytest.raises(UserError, match=r"scene\.safetensors is damaged or gone: remove it"):
        needed(two.run, ALL)
    Objects(url).remove([f"{NAME}/scene.safetensors"])
    three = machine("three")
    three.launched()
    assert f"{NAME}/scene.safetensors is damaged or gone" in three.said
    assert scene(three.run) == before


def test_scores_that_are_damaged_are_left_out_and_made_again_from_what_is_whole(machine, url):
    one = machine()
    with worked_on(one.run, one.console):
        jobs.do(one.run, JOB)
        (one.run / JOB.path / "scores.csv").write_text("view,azimuth\n")
    Objects(url).write(f"{NAME}/scores.csv", b"torn")
    two = machine("two")
    with worked_on(two.run, two.console):
        assert (two.run / JOB.path / RECORD).exists()
        assert not (two.run / JOB.path / "scores.csv").exists()
        (two.run / JOB.path / "scores.csv").write_text("view,azimuth\n")
    assert two.said == ""
    assert Objects(url).read([f"{NAME}/scores.csv"]) == {f"{NAME}/scores.csv": b"view,azimuth\n"}


@pytest.mark.parametrize("name", ["../../escaped.txt", "/tmp/escaped.txt", "views/../../../../escaped.txt"])
def test_nothing_is_written_outside_the_folder(machine, url, name):
    one = machine()
    one.launched()
    store = Objects(url)
    sums = json.loads(store.read([f".sums/{NAME}.json"])[f".sums/{NAME}.json"])
    sums[name] = sums[RECORD]
    store.write(f"{NAME}/{name}", store.read([f"{NAME}/{RECORD}"])[f"{NAME}/{RECORD}"])
    store.write(f".sums/{NAME}.json", json.dumps(sums).encode())
    two = machine("two")
    with pytest.raises(UserError, match="is damaged or gone"):
        needed(two.run)
    assert not list(two.home.rglob("escaped.txt"))
    assert not (Path("/tmp/escaped.txt")).exists()
