"""Jobs of rules that train a student: its weights and its optimiser are in the checkpoint, its calls in the record."""

import json
import math
from dataclasses import replace

import pytest
import torch

from engine.optimize import Stopped
from engine.plan import weights_of
from engine.store import read_tensors, write_tensors
from engine.training import Training
from errors import UserError
from methods.base import Method
from methods.esd import ESD
from methods.vsd import VSD
from priors import stable_diffusion
from prompts import Prompt
from tests.engine import jobs
from tests.engine.test_optimize import same, scene_of
from tests.tiny import PROMPT, write_prior

RULES: dict[str, Method] = {"vsd": VSD(lr=1e-2), "esd": ESD(lr=1e-2, updates=2, samples=2)}
each = pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())


def log_of(run, job):
    return [json.loads(line) for line in (run / job.path / "log.jsonl").read_text().splitlines()]


@each
def test_a_job_in_parts_is_the_job_in_one(rule, tmp_path):
    job = jobs.job(rule, steps=9)
    jobs.do(tmp_path / "whole", job)
    for steps in (1, 4):  # stops twice on the way
        with pytest.raises(Stopped):
            jobs.do(tmp_path / "parts", job, jobs.Deaf(steps))
    jobs.do(tmp_path / "parts", job)
    assert same(scene_of(tmp_path / "parts", job), scene_of(tmp_path / "whole", job))
    assert log_of(tmp_path / "parts", job) == log_of(tmp_path / "whole", job)


@each
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_a_checkpoint_of_a_unet_with_adapters_goes_on_bit_by_bit(rule, kind, tmp_path):
    prior = stable_diffusion.load(write_prior(tmp_path / "prior", kind))
    job = replace(jobs.job(rule, steps=9), prompt=Prompt("01-a-red-ball", PROMPT))
    whole = Training(job, prior, "cpu")
    for _ in range(2):
        whole.advance()
    write_tensors(tmp_path / "checkpoint", whole.tensors(), whole.facts())
    parts = Training(job, stable_diffusion.load(tmp_path / "prior"), "cpu")
    parts.restore(*read_tensors(tmp_path / "checkpoint"))
    for _ in range(2):
        assert whole.advance() == parts.advance()
    assert same(whole.tensors(), parts.tensors())
    names = whole.tensors().keys()
    assert {"method/losses", "method/phi/class_embedding.linear_1.weight"} <= names
    assert not any("base_layer" in name for name in names)  # the prior is no part of a job


@each
def test_on_networks_in_half_precision_phi_learns_in_single(rule, tmp_path):
    """As the paper's recipes have it on a GPU. That no gradient of phi is lost to float16 holds for these networks."""
    kinds = (write_prior(tmp_path / name, kind) for name, kind in (("base", "epsilon"), ("sd21", "v_prediction")))
    prior, phi = stable_diffusion.load(next(kinds), dtype=torch.float16), next(kinds)
    job = replace(jobs.job(replace(rule, phi=str(phi)), steps=4), prompt=Prompt("01-a-red-ball", PROMPT))
    training = Training(job, prior, "cpu")
    assert training.state.unet.dtype == torch.float16
    first = {name: p.clone() for name, p in training.state.parameters.items()}
    log = [training.advance() for _ in range(4)][-1]
    assert math.isfinite(log["phi_loss"])
    learnt = {name: p for name, p in training.state.parameters.items() if "lora_B" in name}
    assert {p.dtype for p in learnt.values()} == {torch.float32}
    assert not any(torch.equal(p, first[name]) for name, p in learnt.items())
    assert torch.stack([(p.grad == 0).float().mean() for p in learnt.values()]).mean() < 0.05


@each
def test_calls_of_learning_are_in_the_record(rule, tmp_path):
    job = jobs.job(rule, steps=3)
    record = jobs.do(tmp_path, job)
    both = 2 if isinstance(rule, ESD) else 1
    assert record["nfe"] == 3 * (2 + rule.updates)
    assert record["network_rows"] == 3 * (2 + both + rule.updates * rule.samples)


@each
def test_phi_has_learnt_the_renders_when_the_job_ends(rule, tmp_path):
    """Its loss is at least 10 % below the frozen network's, and the last line of the log says so."""
    job = jobs.job(rule, steps=60)
    jobs.do(tmp_path, job)
    log = log_of(tmp_path, job)
    assert log[0]["phi_over_frozen"] == pytest.approx(1)
    assert log[-1]["phi_over_frozen"] < 0.9


def test_a_student_that_diverges_ends_the_job(tmp_path):
    job = jobs.job(VSD(lr=1e30), steps=6)
    record = jobs.do(tmp_path, job)
    assert record["status"] == "non-finite"
    assert "not finite" in record["cause"]


def test_the_model_that_phi_starts_as_is_part_of_the_key(tmp_path):
    """Of the rules that have one, and by its weights."""
    first, second = write_prior(tmp_path / "a"), write_prior(tmp_path / "b", "v_prediction")
    keys = set()
    for phi in (None, str(first), str(second)):
        job = jobs.job()
        assert replace(job, recipe=job.recipe.changed(phi=phi)) == job  # SDS has none
        for rule in (VSD(), ESD()):
            job = jobs.job(rule)
            job = replace(job, recipe=job.recipe.changed(phi=phi))
            assert job.recipe.method.phi == (phi or "")
            keys.add(weights_of(job.recipe, "prior"))
    assert len(keys) == 3
    job = jobs.job(VSD(phi=str(tmp_path)))
    with pytest.raises(UserError, match="no Stable Diffusion prior"):
        weights_of(job.recipe, "prior")


def test_every_seed_starts_from_the_same_student():
    first, second = (Training(jobs.job(VSD(), seed=s), jobs.prior(), "cpu").state for s in (0, 1))
    assert all(torch.equal(p, second.parameters[name]) for name, p in first.parameters.items())
