"""Each kernel beside its twin: of any number of points; and one that is not its twin's equal does not serve."""

from __future__ import annotations

import warnings

import pytest
import torch

from scene import volume
from scene.kernels import compiled
from scene.kernels.compiled import NEAR, forced, proven, serves
from scene.probes import PROBES, errors
from tests.scene.conftest import INTERPRETED

SIZES = (0, 1, 70) if INTERPRETED else (0, 1, 127, 128, 129, 1100)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("kernel", PROBES)
def test_a_kernel_gives_its_twins_numbers(kernel, n, device):
    found = dict(errors(kernel, device, n, seed=n))
    assert len(found) >= 2
    assert all(error <= NEAR for error in found.values()), found


@pytest.fixture
def fresh():
    proven.cache_clear()
    yield
    proven.cache_clear()


def test_one_that_is_miscompiled_is_replaced_and_said_once(monkeypatch, fresh):
    total, cpu = volume.compiled_rays.total, torch.device("cpu")
    monkeypatch.setattr(volume.compiled_rays, "total", lambda *given: 1.001 * total(*given))
    with pytest.warns(UserWarning, match=r"kernel for sums cannot serve on cpu \(its [a-z ]+ are 1e-03 from"):
        assert not proven("sums", cpu)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not proven("sums", cpu)
        assert proven("weights", cpu)
        with torch.no_grad():  # as where the first call of a job is
            assert proven("perceptron", cpu)


def test_one_that_does_not_compile_is_replaced(monkeypatch, fresh):
    def fails(*_):
        raise RuntimeError("ptxas: no such architecture")

    monkeypatch.setattr(volume.compiled_rays, "march", fails)
    with pytest.warns(UserWarning, match="kernel for march cannot serve on cpu .ptxas: no such architecture"):
        assert not proven("march", torch.device("cpu"))


class OnCard(torch.Tensor):
    """A tensor of the CPU that says it is on a card."""

    device = torch.device("cuda", 0)


def test_on_a_gpu_only_what_was_proven_serves(monkeypatch):
    monkeypatch.setattr(compiled, "triton_works", lambda device: True)
    monkeypatch.setattr(compiled, "proven", lambda kernel, device: kernel != "sums")
    on_card = torch.zeros(2).as_subclass(OnCard)
    assert [kernel for kernel in PROBES if not serves(kernel, on_card)] == ["sums"]
    with forced(True):
        assert serves("sums", on_card)
    with forced(False):
        assert not serves("march", on_card)
    half = torch.zeros(2, dtype=torch.float16).as_subclass(OnCard)
    assert not any(serves(kernel, half) for kernel in PROBES)
