"""A network that predicts v where its settings say eps, or the reverse, shows it.

Those with random weights show nothing: other tests take them under both labels."""

from __future__ import annotations

import copy
import shutil

import pytest

from errors import UserError
from priors import stable_diffusion, tried
from priors.schedule import Schedule
from tests.priors.folders import SCHEDULER, edit
from world.models import TINY_SD


@pytest.fixture(scope="module")
def shipped():
    """It predicts v."""
    return stable_diffusion.load(TINY_SD)


def of_eps(prior, label):
    """The prior as if its network gave eps, under a label."""
    made = copy.copy(prior)

    def network(x_t, t, text):
        eps = prior.network(x_t, t, text)
        return eps if label == "epsilon" else prior.schedule.eps_of_v(x_t, eps, t)

    made.prediction, made.network = label, network
    return made


def test_a_network_of_v_under_the_label_of_eps(tmp_path):
    folder = shutil.copytree(TINY_SD, tmp_path / "prior")
    edit(folder / SCHEDULER, prediction_type="epsilon")
    with pytest.raises(UserError, match=r"its U-Net predicts v_prediction, where .* is epsilon; set that right"):
        stable_diffusion.load(folder)


def test_a_network_of_eps_under_either_label(shipped):
    tried.refuse_unsound(of_eps(shipped, "epsilon"), "It")
    with pytest.raises(UserError, match=r"It cannot be right: its U-Net predicts epsilon, where .* is v_prediction"):
        tried.refuse_unsound(of_eps(shipped, "v_prediction"), "It")


def test_a_schedule_that_ends_early_tells_nothing(shipped):
    """Half of the world's timesteps: much of a picture is left at the last."""
    made = of_eps(shipped, "v_prediction")
    made.schedule = Schedule(shipped.schedule.abar[:500])
    tried.refuse_unsound(made, "It")
