"""What becomes of a process in which a CUDA graph is captured, or fails to be: each case in a process of its own, which
may die of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from engine.apart import apart
from errors import RuleError
from priors import traced

CALLS = 20
CASES = ("good", "waits", "waits, unseen", "out of memory, unseen")  # unseen: by what looks before a capture


def allow() -> None:
    """Capture in any version of torch."""
    traced.WHOLE = (0, 0)


class Network(nn.Module):
    """A convolution called as a U-Net is; as the case has it, it waits for the CPU, or asks for too much memory where
    it is captured."""

    def __init__(self, case: str):
        super().__init__()
        self.case, self.layer = case, nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, encoder_hidden_states: Tensor, return_dict: bool) -> tuple[Tensor]:
        out = self.layer(x) + t.view(-1, 1, 1, 1) + encoder_hidden_states.mean()
        if self.case.startswith("waits"):
            out = out + 0 * out.sum().item()
        if self.case.startswith("out of memory") and torch.cuda.is_current_stream_capturing():
            out = out + x.new_empty(2**46)
        return (out,)


def of_case(case: str, device: str) -> dict[str, Any]:
    """Whether the process lived and its numbers stayed right; graphs kept; what was said."""
    if device == "cpu":
        return live(case, device)
    try:
        return apart(live, case, device)
    except RuleError as error:
        return {"lives": False, "said": str(error)}


def live(case: str, device: str, each: Callable[[], object] = lambda: None) -> dict[str, Any]:
    """A case from its first call on; then memory is taken and freed, and a gradient computed."""
    whole, look = traced.WHOLE, traced._refuse_what_would_fail
    allow()
    if "unseen" in case:
        traced._refuse_what_would_fail = lambda call, inputs: None
    try:
        torch.manual_seed(0)
        network = Network(case).to(device).requires_grad_(False)
        fast, right = traced.Traced(network), []
        with warnings.catch_warnings(record=True) as heard, torch.no_grad():
            warnings.simplefilter("always")
            for k in range(CALLS):
                x, text = torch.randn(2, 4, 64, 64, device=device), torch.randn(2, 5, 8, device=device)
                t = torch.full((2,), k, device=device)
                (wanted,) = network(x, t, text, False)
                right.append(torch.equal(fast(x, t, text), wanted))
                each()
        blocks = [torch.empty(2**20 if device == "cpu" else 2**28, device=device) for _ in range(3)]
        del blocks
        if device != "cpu":
            torch.cuda.empty_cache()
        leaf = torch.ones(4, device=device, requires_grad=True)
        (slope,) = torch.autograd.grad(leaf.square().sum(), leaf)
        right.append(slope.tolist() == [2.0] * 4)
        said = [str(w.message) for w in heard if issubclass(w.category, UserWarning)]
        return {"lives": True, "right": all(right), "graphs": len(fast._traces), "said": said}
    finally:
        traced.WHOLE, traced._refuse_what_would_fail = whole, look
