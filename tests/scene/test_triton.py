"""The GPU kernels without a GPU: they compile for several, and Triton's interpreter runs them through the tests that
compare the CPU's kernels with their plain twins. On a machine with a GPU the same tests run on it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
TWINS = ("test_kernels.py", "test_ray_kernels.py", "test_mlp_kernels.py", "test_probes.py")
WHAT_GPUS_HAVE = "not threads and not cuda and not memory"

triton = pytest.importorskip("triton", reason="Triton is not installed: plain torch serves on a GPU")
interpreted = os.environ.get("TRITON_INTERPRET") == "1"


@pytest.mark.skipif(interpreted, reason="is what this test starts")
def test_interpreted_they_equal_the_plain_twins():
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-k", WHAT_GPUS_HAVE, *(HERE / t for t in TWINS)],
        env=os.environ | {"TRITON_INTERPRET": "1"}, cwd=HERE.parents[1], capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-4000:]
    assert "passed" in run.stdout
    assert "skipped" not in run.stdout  # as what only Triton's kernels can do would be


@pytest.mark.skipif(interpreted, reason="the interpreter does not compile")
@pytest.mark.parametrize("architecture", [80, 86, 89, 90, 120])
@pytest.mark.parametrize("few", [False, True])
def test_they_compile(architecture, few):
    """For an A100, an A6000, an RTX 4090, an H100 and an RTX 5090. `few`: of an argument that is 1, Triton makes a
    constant."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    for kernel, pointers, numbers, variants in table():
        for names in variants:
            types = {name: kind for kind, group in (pointers | numbers).items() for name in group.split()}
            constants = dict(names)
            if few and "i32" in numbers:
                constants |= dict.fromkeys(numbers["i32"].split(), 1)
            signature = {name: "constexpr" if name in constants else types[name] for name in kernel.arg_names}
            source = ASTSource(kernel, signature, constants)
            built = triton.compile(
                source, target=GPUTarget("cuda", architecture, 32), options={"enable_fp_fusion": False}
            )
            assert len(built.asm["cubin"]) > 1000


def table():
    """Each kernel, its pointers and numbers by type, and the constants of its variants."""
    from scene.kernels import hashing_triton as triton_hash
    from scene.kernels import mlp_triton as triton_mlp
    from scene.kernels import rays_triton as triton_rays

    bools = (False, True)
    hashing = [{"HASHED": h, "SLOPES": s, "BLOCK": triton_hash.BLOCK} for h in bools for s in bools]
    rays = {"RAYS": triton_rays.RAYS, "STEPS": triton_rays.STEPS}
    layers = [{"SLOPE": s, "BLOCK": triton_mlp.BLOCK, "E": 32, "H": 64, "OUT": 16} for s in bools]
    facts, sizes = "resolutions offsets", "points width first mask"
    return [
        (triton_hash._gather, {"*fp32": "x table out", "*i32": facts}, {"i32": sizes}, hashing),
        (triton_hash._scatter, {"*fp32": "x g scales", "*i32": facts, "*i64": "total"}, {"i32": sizes}, hashing),
        (triton_rays._march,
         {"*fp32": "origin direction near far offset distance position", "*u8": "occupied", "*i64": "count ray slot"},
         {"i32": "rays size", "fp32": "step radius scale"}, [rays | {"FILL": f} for f in bools]),
        (triton_rays._sums, {"*fp32": "value out", "*i64": "firsts"}, {"i32": "rays"},
         [rays | {"BEHIND": b} for b in bools]),
        (triton_rays._total, {"*fp32": "value out", "*i64": "firsts"}, {"i32": "rays channels"}, [rays]),
        (triton_mlp._forward, {"*fp32": "e W V out by_e"}, {"i32": "points inputs hidden outputs"}, layers),
        (triton_mlp._backward, {"*fp32": "e W V g g_by_e to_e to_W to_V"}, {"i32": "points inputs hidden outputs"},
         [names | {"PART": triton_mlp.PART} for names in layers]),
    ]  # fmt: skip


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_on_a_gpu_triton_serves():
    from scene.kernels.compiled import serves
    from scene.probes import PROBES

    assert all(serves(kernel, torch.zeros(3, device="cuda")) for kernel in PROBES)
