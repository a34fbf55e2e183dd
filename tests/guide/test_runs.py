"""The short commands of the front page and of the guide's index are carried out, in small: as they are printed, but for
sizes, a prior of random weights, and where results lie.

Those of SLOW are understood only (test_commands), and carried out by the tests of their own rooms.
"""

from __future__ import annotations

import json

import pytest

from commands.shared import results, tables
from engine.executors import EXECUTORS
from names import COMMANDS_OF_RUNS
from run_benchmark import main
from tests.guide.pages import ROOT, lines
from tests.tiny import write_prior

SLOW = {
    *("sweep", "ablate", "bench", "fetch", "evaluate", "serve", "doctor", "report", "export", "view"),
    "tensorboard",  # of an extra that need not be here
}
ELSEWHERE = {
    "paper",
    "--external",
    "--judge",
    "--help",
    "--executor",
    "--budget",
}  # what is not here; what takes long in small, too
SIZES = ["--resolution", "16", "--views", "4", "--limit", "1", "--jobs", "1", "--steps", "1", "--prior", "prior"]
SHORT = {"120": "5"}
CODES = {"check": 2}  # a run in small cannot be judged by the reference that is shipped, which it says
FIRST = "--prompts A ripe strawberry --seeds 0 1 2"  # whose jobs are scored: RUN


def printed() -> list[tuple[str, ...]]:
    """The command lines to carry out, each once: first those that make jobs, then those that read RUN."""
    found = [line.words[1:] for page in ("README.md", "docs/README.md") for line in lines(ROOT / page)
             if line.words[0] == "run_benchmark.py"]  # fmt: skip
    return [words for words in dict.fromkeys(found) if words and not SLOW & {words[0]} and not ELSEWHERE & {*words}]


LINES = printed()
MAKE = [words for words in LINES if words[0].startswith("--")]
READ = [words for words in LINES if words not in MAKE]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what a reader has: a run and its pack, a rule, a list of prompts."""
    place = tmp_path_factory.mktemp("reader")
    (place / "results").symlink_to(ROOT / "results")
    (place / "mine.txt").write_text("A red panda\nA blue panda\n")
    rule = (ROOT / "docs" / "my_rule.py").read_text()
    assert "    # guidance_weight = 1.0" in rule
    (place / "my_rule.py").write_text(rule.replace("    # guidance_weight = 1.0", "    guidance_weight = 1.0"))
    write_prior(place / "prior")
    with pytest.MonkeyPatch.context() as patch:
        at(place, patch)
        (first,) = (words for words in MAKE if " ".join(words) == FIRST)
        assert main(in_small(first, "RUN")) == 0
        assert main(["pack", "RUN", "--out", "theirs.zip"]) == 0
    return place


def at(place, patch):
    """In a reader's folder; jobs are done in this process, and tables come without their slowest figure."""
    patch.chdir(place)
    patch.setitem(EXECUTORS, "local", ("tests.engine.executors.here", "Here"))
    patch.setattr(tables, "measures", lambda run, *_, **__: run / "measures.png")


def in_small(words, out):
    return [*words, *SIZES, "--out", out]


@pytest.mark.parametrize("words", [words for words in MAKE if " ".join(words) != FIRST], ids=" ".join)
def test_jobs_are_done(words, place, monkeypatch, tmp_path):
    """As far as scoring, which is the same for all."""
    at(place, monkeypatch)
    monkeypatch.setattr(results, "score_and_report", lambda *_: True)
    assert main(in_small(words, str(tmp_path / "run"))) == 0
    ends = [json.loads(record.read_text())["status"] for record in (tmp_path / "run").glob("*/*/*/record.json")]
    assert ends
    assert set(ends) == {"finished"}


@pytest.mark.parametrize("words", READ, ids=" ".join)
def test_a_run_is_read(words, place, monkeypatch, capsys):
    at(place, monkeypatch)
    assert main([SHORT.get(word, word) for word in words]) == CODES.get(words[0], 0), capsys.readouterr().err


def test_most_of_the_commands_that_read_runs_are_carried_out():
    assert {words[0] for words in READ} | SLOW >= {*COMMANDS_OF_RUNS, "list", "render", "score"}
    assert len(MAKE) >= 4
