"""Faults of the machine, planted for real: a full disk, a read-only one, too little memory, a folder that is removed, a
clock that is set back. What is finished is kept, what is said is a sentence, and the same command again ends as if
nothing had been."""

import multiprocessing
import os
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import psutil
import pytest
import torch
from rich.console import Console

from engine import optimize, store, worker
from engine.executors.base import Ended, Fatal
from engine.job import Setup
from engine.queue import launch
from engine.store import Store, tidy
from eval import score
from files import is_older
from methods.base import Guidance
from methods.sds import SDS
from records import RECORD
from reports.terminal import show  # noqa: F401 - imported before the disk is full
from run_benchmark import REFUSALS, main
from tests.commands.test_terminal import made
from tests.engine import jobs
from tests.engine.executors.here import Here
from tests.tiny import write_prior


@pytest.fixture
def disk(tmp_path):
    """A disk of its own, of 2 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    if shutil.which("mount") is None or mount("-t", "tmpfs", "-o", "size=2m", "tmpfs", place) != 0:
        pytest.skip("no disk can be mounted here: that takes root")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def mount(*arguments):
    return subprocess.run(["mount", *map(str, arguments)], capture_output=True).returncode


def fill(disk):
    """Leave no room on it."""
    with (disk / "filler").open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(4096))
        except OSError:
            pass


def free(disk):
    (disk / "filler").unlink()


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def result(folder):
    """All files of a finished job but the record, which says times."""
    return {path: content for path, content in contents(folder).items() if path.name != RECORD}


def worked(run, *which):
    """What a worker tells, in this process, of jobs that it does one after another."""
    mine, theirs = multiprocessing.Pipe()
    for works in (*([(job, {"key": job.key("none")})] for job in which), []):
        mine.send(works)
    worker.main(theirs, run, jobs.SETUP)
    news = []
    while mine.poll():
        news.append(mine.recv())
    return [event for event in news if isinstance(event, (Ended, Fatal))]


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr("engine.prior.open_prior", lambda *_: jobs.prior())
    jobs.keep_process(monkeypatch)
    return Here()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What the job of seed 0 leaves where nothing happens."""
    run = tmp_path_factory.mktemp("whole")
    jobs.do(run, jobs.job())
    return result(run / jobs.job().path)


def start(run, which, executor, setup=jobs.SETUP):
    configs = {job.path: {"key": job.key("none")} for job in which}
    return launch(run, which, configs, setup, 1, Console(file=StringIO()), executor=executor)


PHASES = {
    "beginning": (Store, "keep_log"),
    "optimising": (Store, "log"),
    "checkpoint": (Store, "save_checkpoint"),
    "scene": (optimize, "write_result"),
    "views": (optimize.write_result.__globals__, "write"),
    "record": (store, "_identity"),
}


@pytest.mark.parametrize("phase", PHASES)
def test_a_disk_that_fills_up_costs_no_finished_job_and_the_rest_goes_on(disk, here, monkeypatch, whole, phase):
    place, name = PHASES[phase]
    done, job, run = jobs.job(seed=1), jobs.job(), disk / "run"
    worked(run, done)
    kept = contents(run)
    right = place[name] if isinstance(place, dict) else getattr(place, name)

    def full(*arguments, **named):
        if not (disk / "filler").exists():
            fill(disk)
        return right(*arguments, **named)

    with monkeypatch.context() as patch:
        (patch.setitem if isinstance(place, dict) else patch.setattr)(place, name, full)
        (told,) = worked(run, job)
    assert told == Fatal(
        f"The disk of {run} is full: free some space and run the same command again; nothing finished is lost."
    )
    assert not (run / job.path).exists()
    assert contents(run / done.path) == {p.relative_to(done.path): kept[p] for p in kept}
    free(disk)
    (told,) = worked(run, job)
    assert told.record["status"] == "finished"
    assert result(run / job.path) == whole
    assert not (run / ".unfinished").exists()


def test_a_disk_that_is_full_while_scores_tables_and_pages_are_written_keeps_what_was_there(disk, capsys):
    run = made(disk / "run")
    assert main(["table", str(run)]) == 0
    (run / "table.md").write_text("a table of before")  # one that says the same would not be written
    capsys.readouterr()
    fill(disk)
    before = contents(run)
    with pytest.raises(score.Unwritable, match=r"The scores of .* cannot be written: .*No space left on device"):
        score.write(next(run.glob("*/*/*")), score.Scores({"clip_score": [0.5] * 1000}, {}, {}))
    for command in ("table", "report", "pack"):
        assert main([command, str(run)]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1, said
        assert "No space left on device" in said
        assert "Traceback" not in said
    assert contents(run) == before


def test_scores_that_cannot_be_written_do_not_take_the_old_ones_away(tmp_path, monkeypatch):
    run = made(tmp_path / "run")
    before = contents(run)

    def refuse(folder, *_):
        raise score.Unwritable(f"The scores of {folder} cannot be written: No space left on device.")

    monkeypatch.setattr(score, "score_job", refuse)
    with pytest.raises(score.Unwritable):
        score.score_run(run, None)
    assert contents(run) == before


def test_a_read_only_folder_is_refused_before_any_work_and_left_as_it_is(disk, here, capsys):
    run = made(disk / "run")
    before = contents(run)
    assert mount("-o", "remount,ro", disk) == 0
    for command in ("table", "report", "pack"):
        assert main([command, str(run)]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1, said
        assert "Read-only file system" in said
    with pytest.raises(OSError, match="Read-only file system") as refused:
        start(run, [jobs.job()], here)
    assert refused.value.errno in REFUSALS  # a sentence, too
    assert contents(run) == before


def test_a_run_that_is_removed_under_its_jobs_costs_the_one_that_runs(tmp_path, here, monkeypatch, whole):
    removed, other = jobs.job(seed=1), jobs.job()
    at = Store.at

    def remove(self, step):
        at(self, step)
        if step == 5 and self.final.name == "1":
            shutil.rmtree(tmp_path / "run")

    monkeypatch.setattr(Store, "at", remove)
    records = start(tmp_path / "run", [removed, other], here)
    assert records[removed.path]["status"] == "crashed"
    assert "was removed while it ran" in records[removed.path]["cause"]
    assert records[other.path]["status"] == "finished"
    assert result(tmp_path / "run" / other.path) == whole


def test_neither_a_clock_that_is_set_back_nor_another_time_zone_changes_anything(tmp_path, here, monkeypatch, whole):
    now = [time.time()]

    def back():
        now[0] -= 3600
        return now[0]

    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", back)
            records = start(tmp_path, [jobs.job()], here)
        monkeypatch.setenv("TZ", "America/Adak")
        time.tzset()
        tidy(tmp_path, [jobs.job()])
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
    assert 0 < records[jobs.job().path]["seconds"] < 600
    assert result(tmp_path / jobs.job().path) == whole
    assert not (tmp_path / ".unfinished").exists()


def test_what_was_drawn_before_its_scores_is_drawn_again(tmp_path):
    scores, figure = tmp_path / "scores.csv", tmp_path / "figure.png"
    assert is_older(figure, scores)
    figure.touch()
    assert not is_older(figure, scores)
    scores.touch()
    os.utime(scores, ns=(0, figure.stat().st_mtime_ns + 1))
    assert is_older(figure, scores)
    os.utime(scores, ns=(0, figure.stat().st_mtime_ns - 1))
    assert not is_older(figure, scores)


@dataclass(frozen=True)
class Hungry(SDS):
    """SDS that asks for a gigabyte, once it may not have it any more: at once, so that what is left is enough for the
    libraries that end a process where they get no memory."""

    def gradient(self, views, prior, state) -> Guidance:
        limit = Path("/proc/self/limits").read_text().split("Max address space")[1].split()[0]
        torch.ones(0 if limit == "unlimited" else 1 << 28)
        return super().gradient(views, prior, state)


@pytest.mark.skipif(not hasattr(psutil.Process, "rlimit"), reason="this system has no prlimit")
def test_a_worker_whose_memory_is_capped_ends_its_job_and_a_new_one_does_the_next(tmp_path):
    """By prlimit, after its first checkpoint."""
    setup = Setup(str(write_prior(tmp_path / "prior")), device="cpu", threads=1, checkpoint_seconds=0.0)
    capped, other = jobs.job(Hungry(), steps=10**6), jobs.job(SDS(), seed=1)
    claim, checkpoint = (Store(tmp_path, capped).work / name for name in ("claim.json", "checkpoint.safetensors"))
    pids = []

    def cap():
        until = time.monotonic() + 240
        while not checkpoint.exists() and time.monotonic() < until:
            time.sleep(0.01)
        process = psutil.Process(worker_of(claim))
        pids.append(process.pid)
        process.rlimit(psutil.RLIMIT_AS, (process.memory_info().vms + (256 << 20),) * 2)

    thread = threading.Thread(target=cap)
    thread.start()
    records = start(tmp_path, [capped, other], None, setup)
    thread.join()
    assert records[capped.path]["status"] == "out-of-memory"
    assert records[capped.path]["cause"]
    assert Store(tmp_path, capped).record()["status"] == "out-of-memory"
    assert records[other.path]["status"] == "finished"
    assert not psutil.pid_exists(pids[0])
    assert not (tmp_path / ".unfinished").exists()


def worker_of(claim):
    while True:
        try:
            return int(claim.read_text().split('"pid": ')[1].split(",")[0])
        except (OSError, IndexError):
            time.sleep(0.01)
