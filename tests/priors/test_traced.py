"""The traced network against the network itself: to the bit, at every timestep, for every shape."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch.torch_version import TorchVersion

from priors import stable_diffusion, traced
from tests.tiny import write_prior


@pytest.fixture(scope="module")
def unet(tmp_path_factory):
    return stable_diffusion.load(write_prior(tmp_path_factory.mktemp("prior"))).unet


def inputs(unet, n, seed, t):
    rng = torch.Generator().manual_seed(seed)
    c = unet.config
    x = torch.randn(n, c.in_channels, c.sample_size, c.sample_size, generator=rng)
    return x, torch.full((n,), t), torch.randn(n, 5, c.cross_attention_dim, generator=rng)


@torch.no_grad()
def test_it_gives_the_same_bits_before_and_after_it_is_traced(unet, monkeypatch):
    monkeypatch.setattr(traced, "AFTER", 2)
    fast = traced.Traced(unet)
    for n in (2, 1):
        for seed, t in enumerate((0, 500, 999, -99, 7)):
            x, t, text = inputs(unet, n, seed, t)
            assert torch.equal(fast(x, t, text), unet(x, t, encoder_hidden_states=text).sample)
    assert len(fast._traces) == 2
    with fast.untraced():  # called as it is, though a trace is there
        monkeypatch.setattr(fast, "_traces", dict.fromkeys(fast._traces))
        assert torch.equal(fast(x, t, text), unet(x, t, encoder_hidden_states=text).sample)


@torch.no_grad()
def test_a_network_that_cannot_be_traced_is_called_as_it_is(unet, monkeypatch):
    monkeypatch.setattr(traced, "AFTER", 1)

    def fails(*args, **kwargs):
        raise RuntimeError("cannot trace")

    monkeypatch.setattr(torch.jit, "trace", fails)
    fast = traced.Traced(unet)
    x, t, text = inputs(unet, 1, 0, 10)
    for _ in range(2):
        assert torch.equal(fast(x, t, text), unet(x, t, encoder_hidden_states=text).sample)
    assert not fast._traces


@torch.no_grad()
def test_large_networks_are_not_traced(unet, monkeypatch):
    monkeypatch.setattr(traced, "AFTER", 1)
    monkeypatch.setattr(traced, "SMALL", 10)
    fast = traced.Traced(unet)
    fast(*inputs(unet, 1, 0, 10))
    assert not fast._traces


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


@needs_gpu
@torch.no_grad()
def test_graphs_give_the_same_bits_on_a_gpu(unet):
    unet = copy.deepcopy(unet).cuda()
    fast = traced.Traced(unet)
    for seed, t in enumerate((0, 500, 999, -99, 7)):
        x, t, text = (v.cuda() for v in inputs(unet, 2, seed, t))
        assert torch.equal(fast(x, t, text), unet(x, t, encoder_hidden_states=text).sample)
    assert len(fast._traces) == 1


class OnCard(torch.Tensor):
    """A tensor of the CPU that says it is on a card."""

    is_cuda = True


@pytest.fixture
def card(monkeypatch):
    """CUDA's functions around a capture, as they are of use without a GPU; returns what was called of them."""
    called = []
    functions = {
        "current_stream": "the stream", "graph_pool_handle": "a pool", "synchronize": None, "empty_cache": None,
        "mem_get_info": (10**10, 10**10), "max_memory_allocated": 10**9, "memory_allocated": 0,
        "get_sync_debug_mode": 0, "set_sync_debug_mode": None, "set_stream": None,
    }  # fmt: skip
    for name, value in functions.items():

        def call(*given, name=name, value=value):
            called.append((name, *given))
            return value

        monkeypatch.setattr(torch.cuda, name, call)
    monkeypatch.setattr(traced, "_refused", None)
    return called


def fails(*args, **kwargs):
    raise RuntimeError("cannot capture")


@torch.no_grad()
def test_a_capture_that_fails_is_said_once_and_is_the_last(unet, monkeypatch, card):
    tries = []
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: (tries.append(0), fails()))
    fast = traced.Traced(unet)
    for n in (1, 2):
        given = [v.as_subclass(OnCard) for v in inputs(unet, n, 0, 10)]
        out = unet(given[0], given[1], encoder_hidden_states=given[2]).sample
        for k in range(5):
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                assert torch.equal(fast(*given), out)
            first = n == 1 and k == traced.AFTER_ON_GPU - 1
            assert [str(w.message) for w in said] == [traced.SLOWER.format("cannot capture")] * first
    assert len(tries) == 1
    assert ("set_stream", "the stream") in card  # torch leaves the capture's own in place
    assert ("set_sync_debug_mode", "error") in card
    assert not fast._traces


@pytest.mark.parametrize(
    ("function", "value", "said"),
    [("mem_get_info", (1, 2), "0.0 GB are free, and a call may take 1.0"), (None, None, "older than 2.13")],
)
@torch.no_grad()
def test_what_would_fail_is_not_captured(unet, monkeypatch, card, function, value, said):
    """A capture that fails may end the process, so none is begun: with too little memory, or in an older torch."""
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: pytest.fail("a capture was begun"))
    if function:
        monkeypatch.setattr(torch.cuda, function, lambda: value)
    else:
        monkeypatch.setattr(torch, "__version__", TorchVersion("2.12.1"))
    given = inputs(unet, 1, 0, 10)
    with pytest.warns(UserWarning, match=said):
        traced.Traced(unet)._try_capture((), given, unet(given[0], given[1], encoder_hidden_states=given[2]).sample)


@torch.no_grad()
def test_an_operator_that_waits_for_the_cpu_is_found_before_a_capture(unet, monkeypatch, card):
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: pytest.fail("a capture was begun"))
    given, modes = inputs(unet, 1, 0, 10), []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)

    class Waits(torch.nn.Module):
        def forward(self, *_, **__):
            raise RuntimeError("called a synchronizing CUDA operation") if modes[-1:] == ["error"] else AssertionError

    fast = traced.Traced(Waits())
    with pytest.warns(UserWarning, match="synchronizing"):
        fast._try_capture((), given, given[0])
    assert modes == ["error", 0]  # and the mode is put back
