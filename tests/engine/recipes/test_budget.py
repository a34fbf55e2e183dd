from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from engine.job import Job
from engine.recipes.budget import calls, steps_for
from engine.recipes.outside import load
from engine.recipes.tables import recipe
from engine.training import Training
from errors import UserError
from methods.hifa import HiFA
from methods.ism import ISM
from methods.sdi import SDI
from methods.sds import SDS
from methods.vsd import VSD
from tests.engine import jobs

QUIET = Console(file=StringIO())


@pytest.mark.parametrize("rule", [SDS(), SDI(perp_neg=False), VSD(updates=2), HiFA()], ids=lambda r: type(r).__name__)
def test_the_dry_run_counts_what_a_job_counts(rule):
    made = jobs.recipe(rule, steps=7)
    training = Training(Job(made, jobs.PROMPT, 0), jobs.prior(), "cpu")
    for _ in range(made.steps):
        training.advance()
    assert calls(made, 7) == training.nfe


@pytest.mark.parametrize("name", ["sds", "sdi", "sdi-official", "vsd", "csd"])
def test_no_other_number_of_steps_is_nearer(name):
    made = recipe("world", "controlled", name)
    chosen, nfe = steps_for(made, 40, QUIET)
    assert nfe == calls(made, chosen.steps)
    assert all(abs(calls(made, s) - 40) >= abs(nfe - 40) for s in (chosen.steps - 1, chosen.steps + 1))


def test_calls_drawn_at_random_come_out_near():
    made = jobs.recipe(ISM(negative=""))
    _, nfe = steps_for(made, 100, QUIET)
    assert abs(nfe - 100) <= 8


def test_budgets_that_cannot_be_kept(tmp_path):
    with pytest.raises(UserError, match=r"nfe=3 is less than one step of sdi costs: 11"):
        steps_for(recipe("world", "controlled", "sdi"), 3, QUIET)
    head = "from methods.base import *\n@dataclass(frozen=True)\nclass Mine(Method):\n"
    for body, said in (("return Guidance(views.x0)", "no call of the prior"), ("1 / 0", r"mine.py:5: ZeroDivision")):
        file = tmp_path / "mine.py"
        file.write_text(f"{head}    def gradient(self, views, prior, state):\n        {body}\n")
        made = replace(jobs.recipe(load(f"{file}:Mine")), name="Mine")
        with pytest.raises(UserError, match=said):
            steps_for(made, 10, QUIET)
