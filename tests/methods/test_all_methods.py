"""What holds for every method: shapes, dtypes, devices, randomness, batches, and honesty about non-finite numbers."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import fields, replace
from importlib import import_module

import pytest
import torch

from files import ROOT
from methods.base import Guidance, Method
from scene.cameras import Cameras
from tests.helpers import RowDraws, all_methods, cameras_at, mixture, started, views_of

SIDES = [10.0, 100.0, -170.0]
each = pytest.mark.parametrize("method", all_methods.values(), ids=all_methods.keys())
devices = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]


def latents(n: int = 3, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(n, 3, 4, 4, generator=torch.Generator().manual_seed(11), dtype=torch.float64).to(dtype)


def pull(method: Method, x0: torch.Tensor, azimuth: list[float] = SIDES, draws=None, **kwargs) -> Guidance:
    prior, text = mixture()
    state = started(method, prior)
    with torch.no_grad(), draws or nullcontext():
        return method.gradient(views_of(x0, text, cameras_at(azimuth), **kwargs), prior, state)


def test_every_method_is_in_this_suite():
    modules = [import_module(f"methods.{file.stem}") for file in (ROOT / "methods").glob("[!_]*.py")]
    found = {c for module in modules for c in vars(module).values() if isinstance(c, type) and issubclass(c, Method)}
    rules = {c for c in found if not any(issubclass(other, c) for other in found - {c})}
    assert rules == {type(m) for m in all_methods.values()}


@each
@pytest.mark.parametrize("device", devices)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_dtype_and_device_follow_the_latents(method, dtype, device):
    x0 = latents(dtype=dtype).to(device)
    out = pull(method, x0)
    assert out.latent.shape == x0.shape
    assert out.latent.dtype == dtype
    assert out.latent.device == x0.device
    assert torch.isfinite(out.latent).all()
    assert out.latent.abs().max() > 0
    assert {"t", "grad_norm"} <= set(out.log)
    assert all(isinstance(v, float) for v in out.log.values())


@each
@pytest.mark.parametrize("progress", [0.0, 0.37, 1.0])
def test_defined_at_every_progress(method, progress):
    assert torch.isfinite(pull(method, latents(), progress=progress).latent).all()


@each
def test_single_precision_agrees_with_double(method):
    """The same draws in both: noise drawn in single precision is not double's rounded."""

    class InDouble(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            kwargs = dict(kwargs or {})
            if func is torch.randn:
                dtype = kwargs.pop("dtype")
                return func(*args, **kwargs, dtype=torch.float64).to(dtype)
            return func(*args, **kwargs)

    double, single = (
        pull(method, latents(dtype=d), draws=InDouble()).latent.double() for d in (torch.float64, torch.float32)
    )
    torch.testing.assert_close(single, double, rtol=0, atol=1e-3 * double.abs().max().item())


@each
def test_same_seed_same_gradient_and_no_other_randomness(method):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = pull(method, latents(), seed=1).latent
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(99)
    assert torch.equal(first, pull(method, latents(), seed=1).latent)
    assert not torch.equal(first, pull(method, latents(), seed=2).latent)


@each
def test_a_row_of_a_batch_is_the_row_alone(method):
    x0 = latents()
    together = pull(method, x0).latent
    for i, azimuth in enumerate(SIDES):
        alone = pull(method, x0[i : i + 1], [azimuth], draws=RowDraws(len(x0), [i])).latent
        torch.testing.assert_close(together[i : i + 1], alone)


@each
def test_inputs_are_left_alone(method):
    x0 = latents()
    kept = x0.clone()
    pull(method, x0)
    assert torch.equal(x0, kept)


@each
def test_a_non_finite_row_shows_and_stays_alone(method):
    x0 = latents()
    x0[1, 0, 0, 0] = float("nan")
    out = pull(method, x0).latent
    assert torch.isnan(out[1]).any()
    assert torch.isfinite(out[[0, 2]]).all()


OTHER = {
    "scale": 3.0, "inversion_scale": 2.0, "t_range": (0.7, 0.4), "weight": "fantasia3d", "tau": 0.2,
    "steps": 5, "eta": 0.1, "kappa": "fixed",
    "early": 0.6, "t_max_early": 0.6, "delta": (0.2, 0.1), "stride": 0.1, "until": 0.9, "image_weight": 1.0,
    "c": 2.0, "u": (-0.2, -0.3), "n": (-0.4, -0.5), "k": -1.0, "p": 1.0,
    "late_from": 0.1, "late_max": 0.3,
}  # fmt: skip
OTHERS = {  # where a field means something else, or shows elsewhere
    ("ism", "weight"): 1.0, ("ism", "early"): 0.9, ("ism", "steps"): 1,
}  # fmt: skip
RANDOM_TIMES = ("sds", "sjc", "nfsd", "csd-stage1", "ism")


@pytest.mark.parametrize(
    "preset", ["sds", "sdi", "sdi-official", "sdi-sgd", "sjc", "nfsd", "csd-stage1", "hifa", "ism"]
)
def test_every_field_is_read(preset):
    """But for the negative prompt, which the loop embeds."""
    method = all_methods[preset]

    def result(method: Method, progress: float) -> list[torch.Tensor | None]:
        out = pull(method, latents(), progress=progress)
        return [out.latent, out.image]

    for field in fields(method):
        if field.name == "negative":
            continue
        value = getattr(method, field.name)
        other = (not value) if isinstance(value, bool) else OTHERS.get((preset, field.name), OTHER.get(field.name))
        if preset in RANDOM_TIMES and field.name == "t_range":
            other = other[::-1]
        assert other != value
        progress = 0.9 if field.name == "late_max" else 0.2  # in which every schedule moves
        pairs = zip(result(method, progress), result(replace(method, **{field.name: other}), progress), strict=True)
        same = all(a is b or torch.equal(a, b) for a, b in pairs)
        assert not same, f"{field.name} changes nothing"


@each
def test_camera_matters_through_its_angles_only(method):
    x0 = latents()
    moved = cameras_at(SIDES)
    prior, text = mixture()
    state = started(method, prior)
    c2w = moved.c2w if state else moved.c2w + 1  # a student reads the matrix
    moved = Cameras(c2w, moved.fov + 1, moved.elevation, moved.azimuth + 360, moved.distance + 1)
    out = method.gradient(views_of(x0, text, moved), prior, state).latent
    torch.testing.assert_close(out, pull(method, x0).latent)
    assert not torch.equal(pull(method, x0, [60.0, 150.0, 0.0]).latent, out)
