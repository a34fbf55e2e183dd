"""A rule joins by its row alone; one in a user's file that subclasses a built-in one is treated as what it is."""

from dataclasses import replace

import pytest

import names
from engine.job import Job
from engine.plan import sources, weights_of
from engine.recipes import tables
from engine.recipes.budget import calls
from engine.recipes.outside import load
from engine.recipes.tables import recipe
from engine.recipes.variants import Variant, recipe_of
from engine.training import Training
from files import ROOT, read_text
from methods.base import fields_of, phi_of
from suites.paper import PAPER
from tests.engine import jobs
from tests.tiny import write_prior

HEAD = """from dataclasses import dataclass
from methods.base import Guidance, Method
from methods.sds import SDS
from methods.vsd import VSD
"""
LEARNS = HEAD + "@dataclass(frozen=True)\nclass Mine(VSD):\n    scale: float = 3.0\n"
ANGLE = f"""{HEAD}@dataclass(frozen=True)
class Mine(Method):
    phi: float = 0.5
    def gradient(self, views, prior, state):
        return Guidance(views.x0)
"""


def rule(tmp_path, text=LEARNS):
    file = tmp_path / "mine.py"
    file.write_text(text)
    return Variant("Mine", f"{file}:Mine")


@pytest.mark.parametrize("family", tables.FAMILIES)
def test_a_row_is_all_that_a_new_rule_s_recipe_takes(family, tmp_path, monkeypatch):
    mine = load(rule(tmp_path, LEARNS.replace("(VSD)", "(SDS)")).method).rule
    row = tables.Row("my rule", mine, tables.TABLE["sds"].published, 0.5)
    monkeypatch.setitem(tables.TABLE, "mine", row)
    made = tables.FAMILIES[family]("mine", 2048)
    assert (made.name, made.method) == ("mine", mine)
    assert tables.recipe("world", "controlled", "mine").guidance_weight == 0.5
    training = Training(Job(jobs.recipe(made.method), jobs.PROMPT, 0), jobs.prior(), "cpu")
    assert training.advance()["nfe"] == 1


def test_its_words_are_read_from_its_row(tmp_path):
    source = read_text(ROOT / "engine" / "recipes" / "tables.py")
    start = "TABLE: dict[str, Row] = {"
    assert source.count(start) == 1
    table = tmp_path / "tables.py"
    table.write_text(source.replace(start, f'{start}\n    "mine": Row("my rule", Mine(), None, 0.5),'))
    assert names.recipes(table) == {"mine": "my rule", **names.RECIPES}


@pytest.mark.parametrize("track", ["controlled", "paper"])
def test_its_student_learns_as_the_suite_s_do(track, tmp_path):
    made, _ = recipe_of(rule(tmp_path), "world", track)
    vsd = recipe("world", track, "vsd").method
    assert fields_of(made.method) == fields_of(replace(vsd, scale=3.0))
    published, _ = recipe_of(rule(tmp_path), "paper", "paper")
    assert (fields_of(published.method)["lr"], fields_of(published.method)["adapt"]) == (1e-4, "attention")
    own, _ = recipe_of(rule(tmp_path, LEARNS + "    lr: float = 0.5\n"), "world", track)
    assert (fields_of(own.method)["lr"], fields_of(own.method)["samples"]) == (0.5, vsd.samples)


def test_what_its_student_starts_as_is_taken_and_in_its_key(tmp_path):
    made, _ = recipe_of(rule(tmp_path), "world", "controlled")
    first, second = (str(write_prior(tmp_path / k, k)) for k in ("epsilon", "v_prediction"))
    keys = set()
    for folder in ("", first, second):
        changed = made.changed(phi=folder)
        assert phi_of(changed.method) == folder
        assert calls(changed, 2) == calls(made, 2)
        keys.add(Job(changed, jobs.PROMPT, 0).key(weights_of(changed, "prior")))
    assert len(keys) == 3


def test_it_asks_the_paper_s_suite_for_the_published_student(tmp_path, monkeypatch):
    made, _ = recipe_of(rule(tmp_path), "paper", "paper")
    monkeypatch.setattr("engine.weights.manifest.needed", lambda name, option: f"{name} of {option}")
    options = type("Options", (), {"prior": None, "suite": PAPER, "phi": None})
    assert sources(options, [made]) == ("sd21-base of --prior", "sd21 of --phi")
    assert sources(options, [recipe("paper", "paper", "sds")]) == ("sd21-base of --prior", None)


def test_a_field_of_that_name_which_is_no_folder_is_left_alone(tmp_path):
    made, _ = recipe_of(rule(tmp_path, ANGLE), "world", "controlled")
    assert phi_of(made.method) is None
    assert made.changed(phi="folder") == made
    assert weights_of(made, "prior") == "prior"
