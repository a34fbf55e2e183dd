"""The files and lines of docs/extend.md, put in place, make a table."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys

import pandas as pd
import pytest

from engine.executors import EXECUTORS, executor_of
from run_benchmark import main
from tests.guide.pages import ROOT, blocks

PLACE = re.compile(r"# (\S+)\.py(?:, in (\w+))?\n")


@pytest.fixture
def extended(tmp_path, monkeypatch):
    """The program with all that the page adds."""
    for block in (b for b in blocks(ROOT / "docs" / "extend.md") if b.language == "python"):
        found = PLACE.match(block.text)
        assert found, block.text
        name = found[1].removesuffix("/__init__").replace("/", ".")
        if found[2]:
            listed(name, found[2], block.text[found.end() :], monkeypatch)
        else:
            new_file(name, block.text, tmp_path, monkeypatch)


def new_file(name, text, tmp_path, monkeypatch):
    assert not (ROOT / f"{name.replace('.', '/')}.py").exists(), name
    file = tmp_path / f"{name}.py"
    file.write_text(text)
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    room, _, own = name.rpartition(".")
    monkeypatch.setattr(importlib.import_module(room), own, module, raising=False)


def listed(name, registry, text, monkeypatch):
    """Its imports, then what is added to a list of the module: an entry of a dict, or what has a name or kind."""
    module = importlib.import_module(name)
    imports = re.match(r"((?:from|import) .*\n|\n)*", text)[0]
    known = dict(vars(module))
    exec(imports, known)
    entry, before = text[len(imports) :], getattr(module, registry)
    if isinstance(before, tuple):
        monkeypatch.setattr(module, registry, (*before, eval(entry, known)))
        return
    if entry.startswith('"'):
        more = eval(f"{{{entry}}}", known)
    else:
        new = eval(entry, known)
        more = {getattr(new, "kind", None) or new.name: new}
    for key, value in more.items():
        assert key not in before
        monkeypatch.setitem(before, key, value)


def test_all_that_the_page_adds_reaches_a_table(extended, tmp_path, monkeypatch, capsys):
    assert type(executor_of("here")).__name__ == "Here"
    monkeypatch.setitem(EXECUTORS, "local", EXECUTORS["here"])
    sizes = ["--steps", "3", "--views", "4", "--resolution", "16", "--limit", "1"]
    run = tmp_path / "run"
    words = ["--suite", "fruit", "--prior", "grey", "--scene", "ball", "--methods", "sds"]
    assert main([*words, *sizes, "--out", str(run)]) == 0
    table = pd.read_csv(run / "table.csv")
    assert table[["method", "n"]].values.tolist() == [["sds", 1]]
    assert 0 < table["redness_mean"][0] < 100
    assert "scene ball" in (run / "table.md").read_text()
    assert "Redness (%) ↓" in (run / "table.md").read_text()
    assert table["clip_score_mean"].notna().all()
