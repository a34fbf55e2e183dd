"""What is measured on a GPU, rehearsed in small on a CPU; and how its rows are kept."""

import json
import re
import subprocess
import sys
from functools import partial

import pytest
import torch

from engine.bench.gpu import __main__ as command
from engine.bench.gpu import captures, check, train
from engine.bench.gpu.page import Page, markdown
from errors import UserError
from files import ROOT
from priors import stable_diffusion, traced
from reports.published import FOLDER, TABLE_1
from scene.probes import PROBES

RULES = {"sds", "sjc", "vsd", "esd", "hifa", "sdi"}  # of Table 1


def test_the_whole_path_is_taken_in_small_and_what_is_there_is_not_measured_again(tmp_path, capsys):
    before, whole = torch.get_num_threads(), traced.WHOLE
    assert command.main(["check", str(tmp_path), "--rehearse"]) == 0
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    of = {part: {r["name"]: r for r in rows if r["part"] == part} for part in {r["part"] for r in rows}}
    assert not [row for row in rows if row.keys() & {"error", "skipped"}]
    kernels = of["kernels against their twins"]
    assert kernels.keys() == PROBES.keys()
    assert all(row["serves"] and max(row["worst error"].values()) < 1e-5 for row in kernels.values())
    assert not any(row["serves other dtypes"] for row in kernels.values())
    assert of["CUDA graphs"]["good"]["right"]
    assert of["rules"].keys() == RULES
    for row in of["rules"].values():
        assert sum(row["share by part"].values()) == pytest.approx(1)
        assert row["hours a table"] == pytest.approx(43 * row["minutes a job"] / 60)
        assert 0 < row["share of the floor"] < 1
        assert row["peak GB"] > 0.1
    assert of["rules"]["vsd"]["published minutes"] == 334
    assert "learning" in of["rules"]["vsd"]["share by part"]
    assert "inversion" in of["rules"]["sdi"]["share by part"]
    for row in of["half precision"].values():
        assert 0 < row["gradient's relative error"] < 0.2
    assert 0 <= of["half precision"]["vsd"]["zeros in half"] < 1
    assert all(row["equal"] for row in of["resumed"].values())
    page = (tmp_path / "page.md").read_text()
    assert all(f"| {name} |" in page for name in (*RULES, *PROBES))
    assert command.main(["check", str(tmp_path), "--rehearse"]) == 0
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == len(rows)
    torch.set_num_threads(before)
    torch.use_deterministic_algorithms(False)
    traced.WHOLE = whole


def test_a_row_is_kept_as_soon_as_it_is_there_and_what_does_not_fit_is_said(tmp_path):
    now = [0.0]
    page = Page(tmp_path, minutes=1, clock=lambda: now[0])

    def dies():
        assert "| one | 2 |" in (tmp_path / "page.md").read_text()
        raise KeyboardInterrupt  # a cut-off

    def fails():
        now[0] += 50
        raise ValueError("a fault | of one")

    assert page.measure("part", "one", 10, lambda: {"value": 2})
    assert page.measure("part", "two", 10, fails) is None
    assert page.measure("part", "three", 11, lambda: pytest.fail("there was no time")) is None
    with pytest.raises(KeyboardInterrupt):
        page.measure("part", "four", 9, dies)
    again = Page(tmp_path, minutes=1, clock=lambda: now[0])
    assert again.measure("part", "one", 10, lambda: pytest.fail("it is there"))["value"] == 2
    assert again.measure("part", "three", 10, lambda: {"value": 3.14159})
    text = (tmp_path / "page.md").read_text()
    assert text == markdown(again.rows)
    assert text.count("three") == 1
    assert "| 3.14 |" in text
    assert "ValueError: a fault \\| of one" in text
    assert "10 s were left of about 11" in (tmp_path / "rows.jsonl").read_text()


def test_a_row_that_a_cut_off_tore_is_the_only_one_that_is_lost(tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"part": "part", "name": "one"}\n{"part": "pa')
    page = Page(tmp_path, 1)
    assert page.found("part", "one")
    page.measure("part", "two", 0, lambda: {})
    assert [json.loads(line)["name"] for line in rows.read_text().splitlines()] == ["one", "two"]


def test_rows_that_cannot_be_read_are_a_users_error(tmp_path):
    (tmp_path / "rows.jsonl").write_text("{torn\n")
    with pytest.raises(UserError, match="give another folder"):
        Page(tmp_path, 1)


def test_the_training_is_rehearsed_and_its_weights_are_a_prior(tmp_path, monkeypatch):
    from world import dataset
    from world.train import run, unet

    for module in (dataset, unet, train):
        monkeypatch.setattr(module, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(dataset, "_in_processes", partial(dataset._on, "cpu"))
    monkeypatch.setattr(run, "EVERY", 1)
    size, out = train.Size(toys=1, views=50, least=0.0), tmp_path / "out"
    minutes = (train.SAVING + 0.01) / 60  # one step of training
    train.run(Page(out, minutes, clock=lambda: 0.0), "cpu", size)
    rows = {row["name"]: row for row in map(json.loads, (out / "rows.jsonl").read_text().splitlines())}
    assert (rows["pictures"]["count"], rows["latents"]["count"]) == (50, 100)
    assert rows["unet"]["steps"] >= 1
    assert rows["unet"]["last loss"] > 0
    assert (out / "curve.csv").is_file()
    stable_diffusion.load(out / "prior")
    before = (out / "rows.jsonl").read_text()
    train.run(Page(out, minutes, clock=lambda: 0.0), "cpu", size)
    assert (out / "rows.jsonl").read_text() == before


def test_the_published_times_are_those_of_the_tables(tmp_path):
    assert FOLDER / TABLE_1.file == check.TABLE_1
    rows = TABLE_1.read().set_index("method")
    assert check.published()["vsd"] == {"min": rows.loc["VSD", "time_min"], "GB": rows.loc["VSD", "memory_gb"]}


# a machine with torch, diffusers and transformers, and no more of what this project depends on
BARE = """
import sys
from functools import partial
from importlib.machinery import PathFinder
from pathlib import Path

ABSENT = {"accelerate", "jaxtyping", "llvmlite", "matplotlib", "numba", "pandas", "peft", "psutil", "scipy"}

class Bare(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            path = [place for place in sys.path if place.endswith("bare")]
        return PathFinder.find_spec(name, path, target)

sys.meta_path[:] = [Bare if finder is PathFinder else finder for finder in sys.meta_path]
from engine.bench.gpu import __main__, check, page, train

jobs, page = check.jobs_of(check.SMALL), page.Page(Path(sys.argv[1]), 1)
for kernel in ("hash", "march"):
    page.measure_anyhow("kernels", kernel, 0, partial(check.of_kernel, kernel, "cpu", (10,)))
for name in ("sds", "vsd"):
    page.measure_anyhow("rules", name, 0, partial(check.of_rule, jobs[name], "cpu", check.SMALL))
"""


def test_a_bare_machine_measures_what_it_can_and_says_what_the_others_need(tmp_path):
    done = subprocess.run([sys.executable, "-c", BARE, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in map(json.loads, (tmp_path / "rows.jsonl").read_text().splitlines())}
    assert rows["sds"]["seconds a step"] > 0
    assert rows["sds"]["peak GB"] > 0.1
    assert rows["vsd"]["skipped"] == "peft is not installed"
    assert rows["hash"]["skipped"] == "llvmlite is not installed"
    assert rows["march"]["skipped"] == "numba is not installed"


def test_what_is_absent_is_said_with_how_to_bring_it(tmp_path, monkeypatch, capsys):
    found = command.find_spec
    monkeypatch.setattr(command, "find_spec", lambda name: None if name in ("peft", "psutil") else found(name))
    monkeypatch.setattr(check, "run", lambda *_: None)
    command.main(["check", str(tmp_path), "--rehearse"])
    said = capsys.readouterr().out
    assert said.startswith("Rows are skipped that need peft, psutil; ")
    assert re.search(r"pip download .* -d wheels peft psutil, and here pip install --no-index", said)


def test_without_diffusers_nothing_goes(tmp_path):
    code = "import sys; sys.modules['diffusers'] = None; import engine.bench.gpu.__main__ as m; m.main(['check', 'x'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "UserError: Not installed here: diffusers; where there is a network, pip download" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "--minutes", "0"], "--minutes takes"),
        (["train", "--minutes", "-1", "--rehearse"], "--minutes takes"),
        (["train", "--device", "cpu"], "needs a GPU"),
        (["check", "--device", "cpu"], "needs a GPU"),
    ],
)
def test_mistakes_are_sentences(tmp_path, arguments, words):
    mode, *options = arguments
    with pytest.raises(UserError, match=words):
        command.main([mode, str(tmp_path), *options])


def test_a_process_that_dies_in_a_capture_is_a_row(monkeypatch):
    from errors import RuleError

    def dies(*_):
        raise RuleError("its process ended with code -6")

    monkeypatch.setattr(captures, "apart", dies)
    assert captures.of_case("waits, unseen", "cuda") == {"lives": False, "said": "its process ended with code -6"}


def test_what_phi_learns_at_first_is_zero_on_one_side_of_its_adapters():
    """So that a share of zeros means something: after no step but one it is a half or more, after two it is not."""
    job = check.jobs_of(check.SMALL)["vsd"]
    prior = check.open_prior(check.SMALL.prior, "cpu", False)
    assert check.zero_share(job, prior, "cpu", updates=1) > 0.3
    assert check.zero_share(job, prior, "cpu", updates=2) < 0.05
