import pytest

from engine.calibrate import weight
from engine.prior import identity
from engine.recipes.tables import MEASURED_ON
from methods.sds import SDS
from suites.world import WORLD
from tests.engine import jobs
from tests.engine.test_optimize import Constant


def test_the_weight_of_a_constant_gradient_is_its_inverse():
    assert weight(jobs.job(Constant(value=4.0, late=4.0)), jobs.prior(), steps=3, rounds=1) == pytest.approx(0.25)


def test_weighted_gradients_have_unit_rms_over_the_first_steps():
    from dataclasses import replace

    from engine.training import Training

    job = jobs.job(SDS(scale=2.0), regularisers=())
    value = weight(job, jobs.prior(), steps=6, rounds=2)
    training = Training(replace(job, recipe=replace(job.recipe, guidance_weight=value)), jobs.prior(), "cpu")
    squares = [(value * training.advance()["g_rms"]) ** 2 for _ in range(6)]
    assert sum(squares) / 6 == pytest.approx(1, rel=0.02)


def test_the_frozen_weights_are_of_the_shipped_prior():
    assert identity(str(WORLD.prior)).startswith(MEASURED_ON)
