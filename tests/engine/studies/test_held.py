"""Fig. 1's official setting: a target is held for a fortieth of a job, and a job that was stopped goes on with it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from engine.job import Job
from engine.recipes.tables import recipe
from engine.studies import ablate, canvas
from engine.studies.held import Held, held
from engine.training import Training
from methods.sdi import SDI
from methods.sdi_official import SDIOfficial
from suites.paper import PAPER
from tests.engine import jobs

STEPS, TARGETS = 12, 4


@pytest.fixture(scope="module")
def prior():
    return jobs.prior()


def training(prior, **fields) -> Training:
    flat = canvas.on_canvas(recipe("paper", "paper", "sdi"), prior)
    method = replace(held(flat).method, **({"targets": TARGETS} | fields))
    return Training(Job(replace(flat, steps=STEPS, method=method), jobs.PROMPT, 0), prior, "cpu")


def test_the_papers_canvas_has_the_official_numbers(prior):
    rows = ablate.canvases(ablate.Ground(PAPER, prior))
    for name, start in (("sdi", 1.0), ("sdi-official", 0.98)):
        made = rows[name]
        assert (made.steps, made.lr, made.optimizer) == (1_000, 0.1, "adam")
        assert isinstance(made.method, Held)
        assert made.steps / made.method.targets == 25
        assert made.method.of.t_range == (start, 0.02)
    assert [name for name, row in rows.items() if isinstance(row.method, Held)] == ["sdi", "sdi-official"]


def test_a_target_is_made_four_times_and_descended_to_in_between(prior):
    made, nfe, far = training(prior), [0], []
    for _ in range(STEPS):
        far.append(made.advance()["grad_norm"])
        nfe.append(made.nfe)
    renewed = [k for k in range(STEPS) if nfe[k + 1] > nfe[k]]
    assert renewed == [0, 3, 6, 9]
    assert all(far[k] < far[k - 1] for k in range(STEPS) if k not in renewed)


def test_each_of_a_thousand_steps_has_its_target():
    rule = Held(SDI())
    assert [rule.number(step / 1_000) for step in range(1_000)] == [step // 25 for step in range(1_000)]


def test_a_job_that_was_stopped_within_a_target_goes_on_bit_by_bit(prior):
    whole, first, then = training(prior), training(prior), training(prior)
    for _ in range(STEPS):
        whole.advance()
    for _ in range(5):
        first.advance()
    then.restore(first.tensors(), first.facts())
    for _ in range(STEPS - 5):
        then.advance()
    assert torch.equal(then.scene.pixels, whole.scene.pixels)
    assert then.nfe == whole.nfe


def test_how_long_a_target_is_held_is_in_the_key(prior):
    def key(**fields) -> str:
        return training(prior, **fields).job.key("weights")

    assert key() == key()
    assert len({key(), key(targets=5), key(of=SDIOfficial())}) == 3
