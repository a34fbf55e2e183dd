"""Compiled code computes the same bits, wherever it comes from."""

from __future__ import annotations

import os
import subprocess
import sys

BITS = """
import hashlib, torch
from scene.kernels.compiled import forced
from scene.probes import PROBES
torch.set_num_threads(1)
for name, probe in PROBES.items():
    with torch.enable_grad(), forced(True):
        _, task = probe(torch.device("cpu"), 3000, torch.Generator().manual_seed(0))
        for found in task():
            print(name, hashlib.sha256(found.contiguous().numpy().tobytes()).hexdigest())
"""


def bits(cache) -> list[str]:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run([sys.executable, "-c", BITS], env=environment, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def test_kernels_compiled_now_and_read_from_the_cache_compute_the_same_bits(tmp_path):
    """Of a job's processes the first compiles, the next reads what is there, and compiles what a kill left out: a job
    killed and resumed must not tell.

    So a function that calls another has it inlined. Else both copies of the callee have one name: a process that
    compiles calls the one compiled first, alone, and one that reads the cache that which was optimised within its
    caller. Where sums may be reordered, these are other numbers (the gradients of the perceptron's layers were)."""
    compiled = bits(tmp_path)
    (left_out,) = tmp_path.rglob("hashing_numba._gather-*.nbi")
    left_out.unlink()
    assert bits(tmp_path) == compiled
    assert left_out.exists()
