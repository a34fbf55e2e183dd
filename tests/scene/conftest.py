"""What the kernels' tests share: the devices they run on, and whether Triton's interpreter does."""

from __future__ import annotations

import os

import pytest
import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # then problems are small: an operator takes 50 us


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason="there is no GPU"))])  # fmt: skip
def device(request):
    return request.param
