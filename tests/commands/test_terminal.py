"""What people call their folders, what their editors put into files, what their terminals can show."""

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from files import read_json
from reports import load
from run_benchmark import main
from tests.reports.synthetic import WORLD, ball, random_scores, write_job

ROOT = Path(__file__).parents[2]
BOM = b"\xef\xbb\xbf"


def made(run, method="sds"):
    rng = torch.Generator().manual_seed(0)
    for prompt in WORLD[:2]:
        write_job(run, method, prompt, 0, ball(4), scores=random_scores(rng, views=4))
    return run


@pytest.mark.parametrize("name", ["br [v2]", "br [", "[red]loud[/red]", "a[/b]", "é → κ"])
def test_a_folder_is_printed_by_its_name(tmp_path, capsys, name):
    """Brackets are no markup, of a run's folder or a method's."""
    run = made(tmp_path / name, method=name.replace("/", "_"))
    if "/" in name:
        run = made(tmp_path / name)
    assert main(["table", str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.endswith(f"{name}/table.md") for line in lines)
    assert main(["check", str(run), "--baseline", str(tmp_path / "no [reference]")]) == 2
    assert "no [reference]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("encoding", "arguments"),
    [
        ("cp1252", ["table", "RUN"]),
        ("ascii", ["table", "RUN", "--compare", "published"]),
        ("utf-8", ["table", "RUN"]),
    ],
)
def test_any_terminal_can_show_it(tmp_path, monkeypatch, encoding, arguments):
    run, terminal = made(tmp_path / "é → κ"), io.BytesIO()
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, io.TextIOWrapper(terminal, encoding, write_through=True))
    monkeypatch.setenv("COLUMNS", "200")
    assert main([str(run) if a == "RUN" else a for a in arguments]) == 0
    shown = terminal.getvalue().decode(encoding)
    assert "CLIP" in shown
    assert "?" not in shown
    assert ("↑" if encoding == "utf-8" else "^") in shown


def test_a_terminal_of_dos_can_show_the_list():
    environment = os.environ | {"PYTHONIOENCODING": "cp437", "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "run_benchmark.py", "list"], cwd=ROOT, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")[-500:]
    assert "A ripe strawberry" in done.stdout.decode("cp437")


def test_a_byte_order_mark_is_no_content(tmp_path, capsys):
    run = made(tmp_path / "run")
    for file in run.glob("*/*/*/*.json"):
        file.write_bytes(BOM + file.read_bytes())
        assert read_json(file)
    assert main(["table", str(run)]) == 0
    rule = tmp_path / "rule.py"
    rule.write_bytes(BOM + (ROOT / "docs" / "my_rule.py").read_bytes())
    from engine.recipes.outside import load

    assert load(f"{rule}:MyRule").name == "MyRule"


SIGNALLED = """
import os, signal, sys
sys.path.insert(0, {root!r})
signal.signal(getattr(signal, {name!r}), signal.SIG_DFL)  # under nohup it would be ignored, as nohup wants
import run_benchmark
from types import SimpleNamespace

def main(arguments):
    try:
        os.kill(os.getpid(), getattr(signal, {name!r}))
        signal.pause()
    finally:
        os.kill(os.getpid(), getattr(signal, {name!r}))  # told twice: the steps that are being saved are saved
        print("saved", flush=True)

run_benchmark.import_module = lambda name: SimpleNamespace(main=main)
sys.exit(run_benchmark.main(["list"]))
"""


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_what_tells_a_program_to_end_is_answered_like_ctrl_c(name, code):
    script = SIGNALLED.format(root=str(ROOT), name=name)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert ended.returncode == code
    assert ended.stdout == "saved\n"
    assert ended.stderr == f"\nTold to stop by {name}. Stopped. Nothing is lost: the same command goes on from here.\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_output_that_cannot_be_written_is_one_sentence_and_a_reader_that_leaves_is_none():
    with open("/dev/full", "w") as full:
        command = [sys.executable, "run_benchmark.py", "list"]
        ended = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
    assert ended.returncode == 2
    assert ended.stderr.startswith("run_benchmark.py: Output cannot be written: No space left on device. Nothing")
    assert ended.stderr.count("\n") == 1
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(command, cwd=ROOT, stdout=write, stderr=subprocess.PIPE, text=True, timeout=120)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (1, "")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_tables_that_cannot_be_written_are_a_sentence_and_leave_the_old_ones(tmp_path, monkeypatch, capsys, number):
    run = made(tmp_path)
    assert main(["table", str(run)]) == 0
    (run / "table.md").write_text("a table of before")  # one that says the same would not be written
    capsys.readouterr()
    before = {f.name: f.read_bytes() for f in run.iterdir() if f.is_file()}

    def refuse(path, content):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    assert main(["table", str(run)]) == 2
    said = capsys.readouterr().err
    assert f"cannot be written: {os.strerror(number)}. Nothing finished is lost" in said
    assert said.count("\n") == 1
    assert {f.name: f.read_bytes() for f in run.iterdir() if f.is_file()} == before


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory"), OSError(errno.ENOMEM, "no room")],
)
def test_too_little_memory_is_a_sentence(tmp_path, monkeypatch, capsys, error):
    def greedy(arguments):
        raise error

    monkeypatch.setattr("commands.runs.table.main", greedy)
    assert main(["table", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("run_benchmark.py: There is too little memory (")
    assert said.count("\n") == 1


HOSTILE = "[1ex] <script>alert(1)</script>\n\x1b[31m & * done".replace("/", "")


def test_names_that_would_be_obeyed_are_text_in_every_table(tmp_path, capsys):
    run = made(tmp_path, HOSTILE)
    assert main(["table", str(run)]) == 0
    tex, md, said = (run / "table.tex").read_text(), (run / "table.md").read_text(), capsys.readouterr().out
    row = next(line for line in tex.splitlines() if "1ex" in line)
    assert row.startswith("{}[1ex] ")
    assert row.endswith("\\\\")
    assert not any(line.startswith("[") for line in tex.splitlines())
    assert "<script>" not in md
    assert sum("1ex" in line for line in md.splitlines() if line.startswith("|")) >= 1
    assert [name for name, text in {"tex": tex, "md": md, "said": said}.items() if "\x1b" in text] == []


def test_a_record_of_other_types_costs_its_job_alone(tmp_path):
    run = made(tmp_path)
    first, _ = sorted(run.glob("*/*/*/record.json"))
    first.write_text(json.dumps(read_json(first) | {"seconds": "two minutes"}))
    assert main(["table", str(run)]) == 0
    found = load(run).jobs
    assert sorted(found["status"]) == ["failed", "ok"]
    assert "its seconds is 'two minutes' and not a number" in found[found["status"] == "failed"]["cause"].iloc[0]
