"""Compiled code computes the same bits, wherever it comes from."""

from __future__ import annotations

import os
import subprocess
import sys


def test_kernels_compiled_now_and_read_from_the_cache_compute_the_same_bits(tmp_path):
    """A function that calls another has it inlined: else, which copy of it is called depends on what was compiled."""
    run = "import sys, torch\nfrom pathlib import Path\nfrom tests.engine import jobs\ntorch.set_num_threads(1)\n"
    run += "jobs.do(Path(sys.argv[1]), jobs.job(steps=2))\n"
    for name in ("cold", "warm"):
        environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
        subprocess.run([sys.executable, "-c", run, str(tmp_path / name)], env=environment, check=True)
    cold, warm = (next((tmp_path / name).glob("*/*/*/scene.safetensors")).read_bytes() for name in ("cold", "warm"))
    assert list((tmp_path / "cache").rglob("*.nbc"))
    assert cold == warm
