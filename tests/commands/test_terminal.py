"""What people call their folders, what their editors put into files, what their terminals can show."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from files import read_json
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
