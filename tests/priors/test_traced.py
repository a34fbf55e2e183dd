"""The traced network against the network itself: to the bit, at every timestep, for every shape."""

from __future__ import annotations

import copy

import pytest
import torch

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


@torch.no_grad()
def test_a_network_that_cannot_be_captured_is_called_as_it_is(unet, monkeypatch):
    def fails(*args, **kwargs):
        raise RuntimeError("cannot capture")

    for name in ("graph_pool_handle", "synchronize"):
        monkeypatch.setattr(torch.cuda, name, lambda: None)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", fails)
    fast = traced.Traced(unet)
    given = inputs(unet, 1, 0, 10)
    out = fast(*given)
    fast._try_capture(tuple(v.shape for v in given), given, out)
    assert not fast._traces
    assert torch.equal(fast(*given), out)
