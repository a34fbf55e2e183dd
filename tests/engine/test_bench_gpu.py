"""What is measured on a GPU, rehearsed in small on a CPU; and how its rows are kept."""

import json
import re

import pytest
import torch

from engine.bench.gpu import __main__ as command
from engine.bench.gpu import captures, check
from engine.bench.gpu.page import Page, markdown
from errors import UserError
from priors import traced
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


def test_rows_that_cannot_be_read_are_a_users_error(tmp_path):
    (tmp_path / "rows.jsonl").write_text("{torn")
    with pytest.raises(UserError, match="give another folder"):
        Page(tmp_path, 1)


def test_packages_that_are_missing_are_named_with_how_to_bring_them(tmp_path, monkeypatch):
    found = command.find_spec
    assert not set(command.missing()) & {"torch", "numpy", "pillow", "safetensors"}
    monkeypatch.setattr(command, "find_spec", lambda name: None if name in ("diffusers", "PIL") else found(name))
    with pytest.raises(UserError) as error:
        command.main(["check", str(tmp_path)])
    said = str(error.value)
    assert said.startswith("Not installed here: diffusers, pillow; ")
    assert re.search(r"pip download .* -d wheels diffusers pillow, and here pip install --no-index", said)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "--minutes", "0"], "--minutes takes"),
        (["train", "--rehearse"], "not rehearsed"),
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
