"""The least time that a step's arithmetic and its reading of weights can take, and the share of it that was reached.

Operations are counted by torch as a step calls them; the rates are measured here, by one large matrix product in the
network's dtype and one large copy, so that no table of hardware is needed.
"""

from __future__ import annotations

import statistics
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from engine.bench.step import Bench
from engine.bench.timing import seconds


def floor(bench: Bench, place: float = 0.5) -> dict[str, Any]:
    """Of a step half-way. Bytes are the network's weights, once a call: the least that it must read."""
    training, unet = bench.put(bench.training, place), getattr(bench.prior, "unet", None)
    dtype = unet.dtype if unet is not None else torch.float32
    times = [seconds(training.advance, bench.device) for _ in range(3)]
    calls = bench.put(training, place).nfe
    with FlopCounterMode(display=False) as counter, bench.prior.untraced():  # a trace would hide what it calls
        training.advance()
    weights = sum(p.numel() * p.element_size() for p in unet.parameters()) if unet is not None else 0
    flops, read = counter.get_total_flops(), weights * (training.nfe - calls)
    rate, bandwidth = rates(bench.device, dtype)
    least, step = max(flops / rate, read / bandwidth), statistics.median(times)
    bench.tick()
    return {
        "tflop": flops / 1e12, "weights_gb": read / 1e9, "tflop_per_s": rate / 1e12, "gb_per_s": bandwidth / 1e9,
        "floor_ms": 1e3 * least, "step_ms": 1e3 * step, "share": least / step,
    }  # fmt: skip


def rates(device: str, dtype: torch.dtype) -> tuple[float, float]:
    """FLOP a second of a matrix product, bytes a second of a copy, read and written: the best of five."""
    gpu = torch.device(device).type == "cuda"
    n = 8192 if gpu else 1024
    a = torch.randn(n, n, device=device, dtype=dtype)
    block = torch.empty(2**28 if gpu else 2**24, device=device)
    product = min(seconds(lambda: a @ a, device) for _ in range(5))
    copy = min(seconds(block.clone, device) for _ in range(5))
    return 2 * n**3 / product, 2 * block.numel() * block.element_size() / copy
