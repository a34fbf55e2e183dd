"""Help: every command and option, with what it does and its default, without waiting for torch."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

import run_benchmark
from names import COMMANDS

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "numpy", "diffusers", "transformers", "pandas", "matplotlib", "PIL", "safetensors", "scipy"}


def letters(text: str) -> str:
    """A text without blanks: help breaks lines at any, and behind hyphens."""
    return "".join(text.split())


def helped(arguments, monkeypatch, capsys) -> tuple[argparse.ArgumentParser, str]:
    """The parser that printed its help, and what it printed."""
    printed: list[argparse.ArgumentParser] = []
    print_help = argparse.ArgumentParser.print_help

    def heard(self, file=None):
        printed.append(self)
        print_help(self, file)

    monkeypatch.setattr(argparse.ArgumentParser, "print_help", heard)
    with pytest.raises(SystemExit) as end:
        run_benchmark.main(arguments)
    assert end.value.code == 0
    out, err = capsys.readouterr()
    assert err == ""
    return printed[0], out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_each_option_does_and_its_default(command, monkeypatch, capsys):
    parser, out = helped([command, "--help"], monkeypatch, capsys)
    assert out.startswith(f"usage: run_benchmark.py {command}" if command != "run" else "usage: run_benchmark.py [run]")
    assert letters(parser.description or "") in letters(out)
    shown = parser._get_formatter()
    for action in (a for a in parser._actions if a.option_strings):
        said = shown._expand_help(action)
        assert said, action.dest
        assert letters(said) in letters(out)
        assert all(f"{name} " in out or f"{name}\n" in out or f"{name}]" in out for name in action.option_strings)
        if action.default not in (None, False, [], argparse.SUPPRESS):
            assert "default" in said, action.dest
            values = action.default if isinstance(action.default, list) else [action.default]
            assert "auto" in values or " ".join(map(str, values)) in said, action.dest


def test_help_without_a_command_names_all_of_them_and_where_results_lie(monkeypatch, capsys):
    _, out = helped(["--help"], monkeypatch, capsys)
    examples = {line.split()[1] for line in out.splitlines() if line.startswith("  run_benchmark.py ")}
    assert set(COMMANDS) - {"run"} <= examples
    for name in ("table.md", "table.csv", "table.tex", "comparison.png", "scores.csv"):
        assert name in out[out.index("\nresults\n") :]
    codes = "0 done, 1 a job crashed or a check failed, 2 the command cannot be carried out, 130 stopped"
    assert letters(codes) in letters(out)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["list"], *([c, "--help"] for c in COMMANDS if c not in ("run", "list"))]
)
def test_help_and_list_import_nothing_heavy(arguments):
    script = (
        "import sys\n"
        "import run_benchmark\n"
        "try: code = run_benchmark.main(sys.argv[1:])\n"
        "except SystemExit as end: code = end.code\n"
        "print('imported', *sorted({name.split('.')[0] for name in sys.modules}))\n"
        "sys.exit(code)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    shown, imported = result.stdout.rsplit("imported", 1)
    assert shown.strip()
    assert not HEAVY & set(imported.split())
