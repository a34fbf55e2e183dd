"""A real program with threestudio's command line and tree is run as an engine, in each way in which such go wrong."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from io import StringIO
from pathlib import Path

import psutil
import pytest
from PIL import Image
from rich.console import Console

from engine.external import jobs, launch, process, reading
from engine.external.process import Ended
from engine.external.spec import Log
from engine.request import Request
from errors import UserError
from eval import views
from prompts import find, paper43
from suites import SUITES

PROGRAM = Path(__file__).parent / "program"
PROMPTS = find(paper43(), ["A ripe strawberry"], "the suite")


def engine(into: Path, config: str = "sdi", **more: object) -> str:
    """A spec that runs the program as threestudio is run; its path."""
    said = {"name": f"ts-{config}", "extends": "threestudio-sdi", "suite": "", "prior": "none", "steps": 25}
    said |= {"folder": str(PROGRAM), "interpreter": sys.executable, **more}
    lines = [f"{key} = {json.dumps(value)}" for key, value in said.items()]
    file = into / f"ts-{config}.toml"
    file.write_text("\n".join([*lines, f'values = {{ config = "{config}" }}']))
    return str(file)


def request(folder: Path, *specs: str, **changes: object) -> Request:
    asked = Request(SUITES["world"], "controlled", PROMPTS, folder / "run", external=specs, views=5, device="cpu")
    return replace(asked, **changes)  # type: ignore[arg-type]


def done(asked: Request) -> tuple[dict[str, dict], str]:
    """Records by the engine's name and the seed, and what was printed."""
    said = StringIO()
    planned = jobs.planned(asked)
    records = launch.launch(asked, jobs.left(asked.out, planned, asked.overwrite), Console(file=said, width=200))
    return {f"{path.parts[0]}/{path.parts[2]}": record for path, record in records.items()}, said.getvalue()


def lives(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """All ways to end, side by side."""
    folder = tmp_path_factory.mktemp("external")
    kinds = ("sdi", "once", "nan", "memory", "killed", "fails", "nothing", "few", "damaged")
    specs = [engine(folder, kind) for kind in kinds]
    asked = request(folder, *specs, engine(folder, "hangs", timeout_minutes=0.05), jobs="2", seeds=(3,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "GRACE", 0.3)
        records, said = done(asked)
    return asked, records, said


@pytest.mark.parametrize(
    ("kind", "status", "cause"),
    [
        ("sdi", "finished", None),
        ("once", "finished", None),  # a loss that came back
        ("nan", "non-finite", "its loss is no number"),
        ("memory", "out-of-memory", "MemoryError"),
        ("killed", "crashed", "killed by SIGKILL"),
        ("fails", "crashed", "ended with code 1: error: no such scene"),
        ("nothing", "crashed", "it is not finished"),
        ("few", "crashed", "it left 3 views of 5"),
        ("damaged", "crashed", "1.png is damaged"),
        ("hangs", "timed-out", "it was ended after 0.05 minutes"),
    ],
)
def test_what_becomes_of_a_program_is_recorded_as_what_it_is(ended, kind, status, cause):
    asked, records, said = ended
    record = records[f"ts-{kind}/3"]
    assert record["status"] == status, record
    assert record["cause"] == cause if cause is None else cause in record["cause"]
    folder = asked.out / f"ts-{kind}" / PROMPTS[0].id / "3"
    assert "train/loss=" in (folder / "log.txt").read_text()
    assert f"ts-{kind} · {PROMPTS[0].id} · seed 3  [{status}" in said
    assert views.has_pictures(folder) == (status == "finished")


def test_a_finished_job_has_its_views_cameras_time_memory_and_steps(ended):
    asked, records, _ = ended
    record, folder = records["ts-sdi/3"], asked.out / "ts-sdi" / PROMPTS[0].id / "3"
    assert (record["step"], record["steps"], record["code"]) == (25, 25, 0)
    assert 0 < record["seconds"] < 60
    assert record["host_peak_bytes"] > 5e6
    pictures = views.read(folder)
    assert pictures.rgb.shape == (5, 3, 32, 32)  # the panel of colours; of six rows the last is the first again
    assert 0.05 < pictures.opacity.mean() < 0.5
    said = views.orbit_of(folder)
    assert (said["views"], said["elevation"], said["distance"], said["fov"]) == (5, 15.0, 2.0, 70.0)
    config = json.loads((folder / "config.json").read_text())
    assert config["prompt"] == "A ripe strawberry"
    assert config["open"]
    assert str(PROGRAM) not in json.dumps(config)
    assert any((folder / "output").rglob("parsed.yaml"))


def test_tables_count_each_as_what_it_is(ended):
    from reports import load

    asked, records, _ = ended
    told = load(asked.out).jobs.set_index("method")
    assert told["status"].to_dict() == {
        f"ts-{kind}": status
        for kind, status in {
            **dict.fromkeys(("sdi", "once"), "ok"), "nan": "non-finite", "memory": "out-of-memory",
            **dict.fromkeys(("killed", "fails", "nothing", "few", "damaged", "hangs"), "failed"),
        }.items()
    }  # fmt: skip
    assert all(record["tries"] == 1 for record in records.values())


def test_another_try_says_why_the_first_failed(tmp_path):
    asked = request(tmp_path, engine(tmp_path, "fails"))
    for tries in (1, 2):
        records, _ = done(asked)
        assert (records["ts-fails/0"]["tries"], len(records["ts-fails/0"]["failures"])) == (tries, tries - 1)
    assert records["ts-fails/0"]["failures"] == ["it ended with code 1: error: no such scene"]


@pytest.mark.parametrize(
    ("code", "words", "killed"), [(1, "worker 0 got SIGKILL", True), (1, "no", False), (0, "Killed", False)]
)
def test_a_launcher_whose_child_the_system_ended_for_memory(tmp_path, monkeypatch, code, words, killed):
    kills = iter((3, 4))
    monkeypatch.setattr(process, "memory_kills", lambda: next(kills))
    command = [sys.executable, "-c", f"print({words!r}); raise SystemExit({code})"]
    ended = process.run(command, tmp_path, {}, tmp_path / "log", Log(), "nowhere", 60, stop=threading.Event())
    assert (ended.code, ended.killed_for_memory) == (code, killed)


def test_nothing_that_a_program_started_outlives_it(ended):
    asked, _, _ = ended
    (child,) = (asked.out / ".unfinished").rglob("child")
    assert not lives(int(child.read_text()))


def test_the_same_command_does_only_what_came_to_no_result(ended):
    asked, _, _ = ended
    left = {job.spec.name for job in jobs.left(asked.out, jobs.planned(asked), overwrite=False)}
    assert left == {"ts-killed", "ts-fails", "ts-nothing", "ts-few", "ts-damaged", "ts-hangs"}
    other = replace(asked, steps=7)
    with pytest.raises(UserError, match="other settings"):
        jobs.left(asked.out, jobs.planned(other), overwrite=False)
    assert len(jobs.left(asked.out, jobs.planned(other), overwrite=True)) == 10


def test_prompts_are_arguments_whatever_is_in_them(tmp_path):
    from prompts import Prompt

    text = "a cup: \"$(touch here)\" # {steps} 'ü' [1, 2]"
    asked = request(tmp_path, engine(tmp_path), prompts=(Prompt("own-a-cup", text),))
    records, _ = done(asked)
    assert [r["status"] for r in records.values()] == ["finished"]
    import yaml

    (parsed,) = (asked.out / "ts-sdi").rglob("parsed.yaml")
    assert yaml.safe_load(parsed.read_text())["system"]["prompt_processor"]["prompt"] == text
    assert not (PROGRAM / "here").exists()


def test_other_code_of_the_engine_is_another_result(tmp_path):
    for file in [PROGRAM / "launch.py", PROGRAM / "configs" / "sdi.yaml"]:
        copy = tmp_path / "copy" / file.relative_to(PROGRAM)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    asked = request(tmp_path, engine(tmp_path, folder=str(tmp_path / "copy")))
    (before,), (again,) = jobs.planned(asked), jobs.planned(asked)
    (tmp_path / "copy" / "launch.py").write_text("print()")
    (after,) = jobs.planned(asked)
    assert before.key == again.key != after.key


def test_ctrl_c_ends_the_tree_and_loses_nothing(tmp_path):
    spec = engine(tmp_path, "hangs")
    command = [sys.executable, "run_benchmark.py", "--external", spec, "--prompts", PROMPTS[0].text, "--views", "5"]
    running = subprocess.Popen(
        [*command, "--out", str(tmp_path / "run")], cwd=reading.SPECS.parents[2], start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (child := list((tmp_path / "run").rglob("child"))) or not child[0].read_text():
        assert time.monotonic() < deadline
        assert running.poll() is None, running.communicate()
        time.sleep(0.1)
    pid = int(child[0].read_text())
    running.send_signal(signal.SIGINT)
    said, _ = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "begins their jobs anew" in said
    assert not lives(pid)
    assert not list((tmp_path / "run").rglob("record.json"))


def test_what_a_killed_command_left_running_is_ended_by_the_next(tmp_path):
    code = "import time; print('step 1/3', flush=True); time.sleep(600)"
    orphan = subprocess.Popen([sys.executable, "-c", code], env={process.MARK: "here a/b/0"}, start_new_session=True)
    command = [sys.executable, "-c", "print('loss: 1')"]
    ended = process.run(command, tmp_path, {}, tmp_path / "log", Log(), "here a/b/0", 60, stop=threading.Event())
    assert (ended.code, ended.reason) == (0, "")
    assert not lives(orphan.pid)


@pytest.mark.parametrize(
    ("tail", "code", "status"),
    [
        (["Traceback", "torch.OutOfMemoryError: CUDA out of memory. Tried to"], 1, "out-of-memory"),
        (["Loss is nan, stopping training"], 1, "non-finite"),
        (["ValueError: banana"], 1, "crashed"),
        ([""], -11, "crashed"),
    ],
)
def test_last_words_are_understood(tmp_path, tail, code, status):
    (job,) = jobs.planned(request(tmp_path, engine(tmp_path)))
    assert launch.verdict(Ended(code, "", 1.0, 1, None, 0, tail, False), job)["status"] == status


def test_losses_are_read_from_what_programs_print(tmp_path):
    log = tmp_path / "log"
    reader = process.Reader(log, Log(step=r"(\d+)/\d+"))
    log.write_text("loss: 0.1\rEpoch 1/9 Loss=nan, a nan in a name\n{'train/loss_sds': inf}\nloss tensor(nan)\n")
    reader.end()
    assert (reader.step, reader.lost) == (1, 3)
    with log.open("a") as stream:
        stream.write("the loss function is nan-safe\nloss 2e-3\n2/9 no end of line")
    reader.end()
    assert (reader.step, reader.lost) == (2, 0)


def test_gpu_memory_is_that_of_the_tree(tmp_path, monkeypatch):
    from engine.external import gpu

    fake = tmp_path / "nvidia-smi"
    fake.write_text(
        '#!/bin/sh\ncase "$1" in *name) echo "NVIDIA A"; ;; *) printf "7, 100\\n8, 50\\n9, 1\\n"; ;; esac\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    gpu.name.cache_clear()
    try:
        assert gpu.name() == "NVIDIA A"
        assert gpu.used_by({7, 8}) == 150 * 2**20
        assert gpu.used_by({1}) is None
    finally:
        gpu.name.cache_clear()


def test_views_of_other_layouts_are_read_where_a_pattern_says(tmp_path):
    from engine.external import collect
    from engine.external.spec import Renders
    from engine.recipes.base import Orbit

    for k in range(1, 4):
        (tmp_path / "out" / "frames").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (k, 0, 0)).save(tmp_path / "out" / "frames" / f"view_{k}.png")
    pattern, orbit = "frames/*.png", Orbit(views=3)
    collect.views(Renders(), pattern, tmp_path / "out", PROMPTS[0], orbit, tmp_path / "views")
    assert sorted(f.name for f in (tmp_path / "views").iterdir()) == [f"rgb_{k:03d}.png" for k in range(3)]
    with pytest.raises(UserError, match="left no renders"):
        collect.views(Renders(), "*.png", tmp_path / "out", PROMPTS[0], orbit, tmp_path / "none")


def test_a_part_of_a_video_can_be_the_turn(tmp_path):
    from engine.external import collect
    from engine.external.spec import Renders
    from engine.recipes.base import Orbit

    frames = [Image.new("RGB", (16, 16), (10 * k, 0, 0)) for k in range(12)]
    frames[0].save(tmp_path / "turn.gif", save_all=True, append_images=frames[1:])
    renders = Renders("video", turn=(0.0, 0.5))
    source = collect.source_of(renders, "*.gif", tmp_path, PROMPTS[0], Orbit(views=3))
    assert [int(frame.rgb[0, 0, 0]) for frame in source.frames()] == [0, 20, 40]
    with pytest.raises(UserError, match="6 frames of a turn"):
        list(collect.source_of(renders, "*.gif", tmp_path, PROMPTS[0], Orbit(views=7)).frames())
