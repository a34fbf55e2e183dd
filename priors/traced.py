"""A network without Python's share of its time: on a CPU, of a small one (a quarter of the known world's U-Net), by
TorchScript; on a GPU, of any, by CUDA graphs. Both call the same operators on the same weights, so that the output is
the same to the bit."""

from __future__ import annotations

import contextlib
import gc
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from errors import first_line

SMALL = 5e7  # parameters; in a larger network the operators themselves are the cost
AFTER = 20  # calls with inputs of one shape that make a trace, of half a second, worth its while
AFTER_ON_GPU = 3  # and a graph, which takes a call: those before it let cuDNN choose and memory settle
SHAPES = 8  # of which graphs are kept: each holds its inputs and output
WHOLE = (2, 13)  # the first torch whose memory a capture that fails leaves whole: before, the process may die (#180395)
SLOWER = "The network is called without CUDA graphs ({}): the same numbers, slower."

_refused: str | None = None  # why no graph is captured in this process any more


class Traced(nn.Module):
    """(x_t, t, text) -> the U-Net's output, traced or captured for each shape of its inputs. Its weights must not
    train."""

    def __init__(self, unet: nn.Module):
        super().__init__()
        self.unet = unet
        self._calls: dict[tuple, int] = {}
        self._traces: dict[tuple, Callable[..., Tensor]] = {}
        self._plainly = False
        self._pool: Any = None  # of memory, which the graphs share: one runs at a time
        self._worth = sum(p.numel() for p in unet.parameters()) < SMALL

    @contextlib.contextmanager
    def untraced(self) -> Iterator[None]:
        """The network called as it is."""
        before, self._plainly = self._plainly, True
        try:
            yield
        finally:
            self._plainly = before

    def forget(self) -> None:
        """Begin anew, without a trace: as in a process that has called it never."""
        self._calls, self._traces = {}, {}

    def forward(self, x_t: Tensor, t: Tensor, text: Tensor) -> Tensor:
        if self._plainly:
            return _Plain(self.unet)(x_t, t, text)
        shapes = (x_t.shape, t.shape, text.shape)
        if shapes in self._traces and not x_t.requires_grad:
            return self._traces[shapes](x_t, t, text)
        out = _Plain(self.unet)(x_t, t, text)
        if x_t.requires_grad:
            return out
        self._calls[shapes] = calls = self._calls.get(shapes, 0) + 1
        if calls == AFTER and self._worth and x_t.device.type == "cpu":
            self._try_trace(shapes, (x_t, t, text), out)
        elif calls == AFTER_ON_GPU and x_t.is_cuda and len(self._traces) < SHAPES and not _refused:
            self._try_capture(shapes, (x_t, t, text), out)
        return out

    def _try_trace(self, shapes: tuple, inputs: tuple[Tensor, Tensor, Tensor], out: Tensor) -> None:
        """Keep a trace that gives the same bits; where there is none, the network is called as it is."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # TorchScript calls itself deprecated, and constants suspicious
                trace = torch.jit.trace(_Plain(self.unet).eval(), inputs, check_trace=False)
            same = all(torch.equal(trace(*inputs), out) for _ in range(3))  # it optimises itself in its first calls
        except (RuntimeError, TypeError):
            same = False
        if same:
            self._traces[shapes] = trace

    def _try_capture(self, shapes: tuple, inputs: tuple[Tensor, Tensor, Tensor], out: Tensor) -> None:
        """Keep a CUDA graph that gives the same bits. Where there is none (an operator that waits for the CPU, too
        little memory), the network is called as it is, says so once, and no other capture is tried: what one that
        failed leaves behind is for nobody to build on."""
        stream = torch.cuda.current_stream()
        try:
            _refuse_what_would_fail(_Plain(self.unet), inputs)
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            graph = _Graph(_Plain(self.unet), inputs, self._pool)
            if not all(torch.equal(graph(*inputs), out) for _ in range(2)):
                raise RuntimeError("a graph of it gives other numbers")
            self._traces[shapes] = graph
        except Exception as error:  # out of memory is one
            torch.cuda.set_stream(stream)  # a capture that fails leaves its own in place
            torch.cuda.synchronize()
            _refuse(first_line(error))


def _refuse(why: str) -> None:
    global _refused
    _refused = why
    warnings.warn(SLOWER.format(why), stacklevel=2)


def _refuse_what_would_fail(call: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> None:
    """Raise RuntimeError, before anything is captured, where it would fail: of an operator that waits for the CPU, and
    where less memory is free than the most that was ever used beside what is."""
    if torch.__version__ < WHOLE:  # type: ignore[operator]
        raise RuntimeError(f"torch {torch.__version__} is older than {'.'.join(map(str, WHOLE))}")
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        call(*inputs)
    finally:
        torch.cuda.set_sync_debug_mode(before)
    gc.collect()
    torch.cuda.empty_cache()
    free, used = torch.cuda.mem_get_info()[0], torch.cuda.max_memory_allocated() - torch.cuda.memory_allocated()
    if free < used:
        raise RuntimeError(f"{free / 1e9:.1f} GB are free, and a call may take {used / 1e9:.1f}")


class _Graph:
    """The kernels of one call, to be launched together on inputs of the same shapes and dtypes."""

    def __init__(self, call: Callable[..., Tensor], inputs: tuple[Tensor, ...], pool: Any):
        self.inputs = [v.clone() for v in inputs]
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, pool=pool):
            self.out = call(*self.inputs)

    def __call__(self, *inputs: Tensor) -> Tensor:
        for mine, given in zip(self.inputs, inputs, strict=True):
            mine.copy_(given)
        self.graph.replay()
        return self.out.clone()


class _Plain(nn.Module):
    def __init__(self, unet: nn.Module):
        super().__init__()
        self.unet = unet

    def forward(self, x_t: Tensor, t: Tensor, text: Tensor) -> Tensor:
        return self.unet(x_t, t, encoder_hidden_states=text, return_dict=False)[0]
