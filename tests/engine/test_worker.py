"""What a worker does before a job's first step."""

from __future__ import annotations

import pytest

from engine import worker
from engine.job import Job, Setup
from errors import UserError
from tests.engine import jobs


def test_a_prior_that_is_refused_leaves_no_folder(monkeypatch, tmp_path):
    def refuse(*_):
        raise UserError("The prior cannot be right.")

    monkeypatch.setattr("engine.prior.open_prior", refuse)
    job = Job(jobs.recipe(), jobs.PROMPT, 0)
    with pytest.raises(UserError, match="cannot be right"):
        worker.do((job, {"key": "k"}), tmp_path, Setup("prior", "cpu", 1), None, None)
    assert not list(tmp_path.iterdir())
