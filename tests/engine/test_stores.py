"""Runs in object stores: what is there and here, and machines that share one. A machine is a cache folder of its own;
the store is fsspec's in memory, or moto's S3 on 127.0.0.1."""

import json
import os
import shutil
import sys
import threading
import time
import uuid
from dataclasses import dataclass
from importlib import import_module
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console

from engine import claims
from engine.executors.base import Started
from engine.optimize import Stopped
from engine.queue import launch
from engine.remote import mirror, objects, sharing
from engine.remote.mirror import ALL, SCORES, needed, place_of
from engine.remote.objects import Objects
from engine.remote.sharing import worked_on
from engine.store import Store
from errors import UserError
from files import read_json
from records import RECORD
from run_benchmark import main
from tests.engine import jobs
from tests.engine.executors.here import Here
from tests.reports.synthetic import WORLD, ball, random_scores, write_job

JOB = jobs.job()
NAME = JOB.path.as_posix()


@pytest.fixture(scope="module")
def s3():
    """A server that speaks S3, with a bucket; it may be stopped and started again, and keeps what it has."""
    pytest.importorskip("s3fs", reason="s3fs is not installed (the extra s3)")
    servers = pytest.importorskip("moto.server", reason="moto is not installed (pip install 'moto[server]')")
    server = servers.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    server._port = server.get_host_and_port()[1]
    names = {"ACCESS_KEY_ID": "k", "SECRET_ACCESS_KEY": "s", "DEFAULT_REGION": "us-east-1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (names | {"ENDPOINT_URL": f"http://127.0.0.1:{server._port}"}).items():
            patch.setenv(f"AWS_{name}", value)
        from s3fs import S3FileSystem

        S3FileSystem(skip_instance_cache=True).mkdir("bucket")
        yield server
        halt(server)


def halt(server):
    server.stop()
    server._server.server_close()  # so that it can listen at the same port again


@pytest.fixture
def url(request):
    """Of a store in memory, or in S3 where a test asks for it by `in_s3`."""
    name = f"{uuid.uuid4().hex}/run"
    return f"s3://bucket/{name}" if "s3" in request.fixturenames else f"memory://{name}"


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


@pytest.fixture
def third(tmp_path, monkeypatch):
    """A machine on which commands are given."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "third"))


def test_a_third_machine_reads_a_run_by_its_url(machine, url, third, capsys):
    one = machine()
    with worked_on(one.run, one.console):
        rng = torch.Generator().manual_seed(0)
        for prompt in WORLD[:2]:
            write_job(one.run, "sds", prompt, 0, ball(8), scores=random_scores(rng, views=8))
    assert main(["table", url]) == 0
    assert "CLIP" in capsys.readouterr().out
    local = place_of(url)
    assert not list(local.rglob("scene.safetensors"))
    assert main(["status", url]) == 0
    assert "2 ok, 0 diverged, 0 failed, 0 running, 0 waiting" in capsys.readouterr().out
    assert main(["report", url]) == 0
    assert (local / "page" / "index.html").exists()
    assert len(list(local.rglob("views/rgb_*.png"))) == len(list(one.run.rglob("views/rgb_*.png"))) > 0


def test_status_tells_who_works_elsewhere_and_what_was_left(machine, url, third, capsys):
    one, other = machine(), jobs.job(seed=1)
    config = {"key": "k", "recipe": {"steps": 12}}
    with worked_on(one.run, one.console) as part:
        for job in (other, JOB):
            assert part.take(job.path)
            store = Store(one.run, job)
            with store.opened(config):
                store.log([])
                store.save_checkpoint({}, {"step": 5})
                store.at(5)
                part._carry()
                if job is JOB:
                    time.sleep(0.5)  # two signs of life
                    assert main(["status", url]) == 0
            part.leave(job.path)
        said = capsys.readouterr().out
        assert said.startswith(f"{url}\n")
        assert f"running  {NAME}  5 of 12 steps" in said
        assert f"left     {other.path.as_posix()}" in said
    assert main(["status", url]) == 0
    assert "nobody works at it" in capsys.readouterr().out


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


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing://at/all", "nothing://at/all is no URL of a store"),
        ("s3://nobucket/run", "s3://nobucket/run is not there (The specified bucket does not exist): make the bucket"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(s3, third, capsys, name, said):
    assert main(["--out", name]) == 2
    assert said in capsys.readouterr().err
    assert main(["table", name]) == 2


def test_who_may_not_read_is_told_so(third, capsys, url, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Access Denied")

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.find", refuse)
    assert main(["status", url]) == 2
    assert f"{url} may not be read or written by you" in capsys.readouterr().err


def test_without_its_library_the_extra_is_named(third, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(import_module("fsspec.registry")._registry, "s3", raising=False)
    assert main(["table", "s3://bucket/run"]) == 2
    assert (
        "s3:// needs a library that is not installed: pip install s3fs, or uv sync --extra s3."
        in capsys.readouterr().err
    )


def test_a_store_that_makes_what_is_there_already_is_refused(third, capsys, url, monkeypatch):
    monkeypatch.setattr(Objects, "create", lambda *_: True)
    assert main(["--out", url]) == 2
    assert "does not refuse to make an object that is there already" in capsys.readouterr().err


def test_other_places_are_folders(third, tmp_path, capsys):
    assert place_of(f"file://{tmp_path}/a%20run") == tmp_path / "a run"
    assert place_of("results/runs/x") == Path("results/runs/x")
    assert main(["--executor", "ray", "--out", "memory://a/run"]) == 2
    assert "--executor ray takes a folder that all nodes see as --out, and no URL." in capsys.readouterr().err
    assert main(["pack", str(tmp_path), "--out", "s3://bucket/x.zip"]) == 2
    assert "is a URL, and a place on this machine is needed" in capsys.readouterr().err


def test_a_folder_that_was_removed_here_is_brought_again(machine):
    one = machine()
    one.launched()
    before = tree(one.run)
    shutil.rmtree(one.run)
    assert one.launched() == {}
    needed(one.run)
    assert tree(one.run) == before


def test_what_somebody_removed_there_is_removed_here_and_what_was_never_put_is_kept(machine, url):
    one, two, other = machine(), machine("two"), jobs.job(seed=1)
    one.launched([JOB, other])
    needed(two.run)
    jobs.do(two.run, jobs.job(seed=2))
    Objects(url).remove([f".sums/{NAME}.json", f"{NAME}/{RECORD}"])
    needed(two.run, SCORES)
    assert sorted(path.parent.name for path in two.run.rglob(RECORD)) == ["1", "2"]
