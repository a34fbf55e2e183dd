"""The errors of eq. 8, on a Gaussian prior in double, where they are known."""

from __future__ import annotations

import pytest
import torch
from rich.console import Console

from engine.recipes.tables import recipe
from engine.studies import kappa
from errors import UserError
from priors.analytic import GaussianPrior
from suites.world import WORLD

SDI_RULE = recipe("world", "controlled", "sdi").method


@pytest.fixture
def prior() -> GaussianPrior:
    return GaussianPrior(torch.zeros(1, 8, 8, dtype=torch.float64), 1.0)


def test_the_solution_solves_and_noise_errs_by_its_closed_form(prior):
    """For N(0, 1), eps(x_t) = sigma x_t and kappa* = s~ x: an error e of kappa becomes s~ (1 - sigma^2) e = a sigma e
    in x0, and a random kappa is off by e = n - s~ x with RMS sqrt(1 + s~^2 x^2)."""
    rows = kappa.measure(prior, SDI_RULE, "anything", 0, steps=8)
    assert {row["choice"] for row in rows} == {*kappa.CHOICES, "DDIM's own"}
    times = sorted({row["t"] for row in rows}, reverse=True)
    assert len(times) == kappa.TIMES
    assert times[0] == 999

    def error(choice: str, t: int) -> float:
        return next(row["error"] for row in rows if row["choice"] == choice and row["t"] == t)

    for t in times:
        assert error("DDIM's own", t) < 1e-6
    # ten steps at rate .1 leave (1 - abar^2 / 10)^10 of an error: much of it where t is large, two fifths here
    assert error("SGD on eq. 8 (10)", times[-1]) < 0.7 * error("Random, resampled", times[-1])
    t = torch.tensor([times[-1]])
    a, sigma = prior.schedule.a(t).item(), prior.schedule.sigma(t).item()
    assert error("Random, resampled", times[-1]) == pytest.approx(a * sigma, rel=0.2)  # x0 is near 0 there
    share = {row["inversion_scale"] for row in rows if row["choice"] == "DDIM inversion"}
    assert share == set(kappa.SCALES)


def test_only_what_is_missing_is_measured(prior, tmp_path, monkeypatch):
    console, prompts, asked = Console(quiet=True), WORLD.select(["strawberry", "tulip"]), []

    def measure(prior, sdi, prompt, seed, each):
        asked.append((prompt, seed))
        return []

    monkeypatch.setattr(kappa, "measure", measure)
    kappa.measure_missing(tmp_path, prior, "one", SDI_RULE, prompts[:1], [0], console)
    kappa.measure_missing(tmp_path, prior, "one", SDI_RULE, prompts, [0], console)
    assert asked == [(p.text, 0) for p in prompts]
    kappa.measure_missing(tmp_path, prior, "another", SDI_RULE, prompts, [0], console)
    assert len(asked) == 4
    (tmp_path / "eq8" / prompts[0].id / "0.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        kappa.measure_missing(tmp_path, prior, "another", SDI_RULE, prompts, [0], console)
