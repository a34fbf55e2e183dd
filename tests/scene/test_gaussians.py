"""Gaussians line up with the radiance field, multiply and go as 3DGS's do, and go on from a checkpoint to the bit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from engine.optimize import Stopped
from engine.store import Store
from engine.training import Training
from engine.views import reopened
from errors import UserError
from files import write_json
from scene.cameras import orbit
from scene.gaussians import TRAINED, Gaussians, GaussiansConfig
from scene.nerf import NeRFConfig
from tests.engine import jobs

SMALL = GaussiansConfig(number=60, most=90, densify_from=0.2, densify_every=0.2, densify_until=1.0, split_larger=0.15)


def gaussians(config: GaussiansConfig = SMALL, seed: int = 0) -> Gaussians:
    return Gaussians(config, torch.Generator().manual_seed(seed))


def job(config: GaussiansConfig = SMALL, **changes):
    return jobs.job(scene=config, regularisers=(), shading=jobs.Shading(), **changes)


def test_it_starts_as_a_grey_ball_of_faint_gaussians():
    scene = gaussians(GaussiansConfig(number=2000, radius=0.3))
    distance = scene.mean.norm(dim=-1)
    assert distance.max() <= 0.3
    assert (distance < 0.15).float().mean().item() == pytest.approx(1 / 8, abs=0.03)  # evenly in space
    splats = scene.splats()
    torch.testing.assert_close(splats.opacity, torch.full((2000,), 0.1))
    assert (splats.colour == 0.5).all()
    torch.testing.assert_close(splats.scale[0, 0] ** 3 * 2000, torch.tensor(4 / 3 * torch.pi * 0.3**3))


def test_a_sphere_lines_up_with_the_fields_sphere():
    """A dense ball off centre, of one radius in both (Gaussians reach beyond their means): the same pixels, the same
    depths, and normals that point outwards."""
    centre, radius, cameras, size = torch.tensor([0.1, -0.15, 0.05]), 0.25, orbit(2), 40
    scene = gaussians(GaussiansConfig(number=1500, radius=radius - 0.035, opacity=0.9))
    scene.mean.data += centre
    scene.scale.data.fill_(0.012).log_()
    field = NeRFConfig(blob_strength=400.0, blob_radius=radius, samples=100).build(torch.Generator().manual_seed(0))
    blob = field._blob
    field._blob = lambda x: blob(x - centre)  # type: ignore[method-assign]
    with torch.no_grad():
        mine, field_s = scene.render(cameras, size, normals=True), field.render(cameras, size, normals=False)
    here, there = mine.opacity > 0.5, field_s.opacity > 0.5
    assert (here & there).sum() / (here | there).sum() > 0.9
    inside = (mine.opacity > 0.95) & (field_s.opacity > 0.95)
    assert (mine.depth / mine.opacity - field_s.depth / field_s.opacity)[inside].abs().mean() < 0.03
    for normal, camera, opacity in zip(mine.normal, cameras.c2w, mine.opacity[:, 0], strict=True):
        middle = camera[:3, :3].T @ (centre - camera[:3, 3])
        pixel = (middle[:2] / -middle[2] * torch.tensor([1, -1]) * size / 2 / 0.36397 + size / 2).long()
        around = normal[:, pixel[1] - 2 : pixel[1] + 3, pixel[0] - 2 : pixel[0] + 3].mean((1, 2))
        assert around[2] > 0.85  # towards the camera in the middle
        left, right = normal[0, :, : pixel[0] - 3].sum(), normal[0, :, pixel[0] + 3 :].sum()
        assert left < -3
        assert right > 3
        assert (normal.norm(dim=0) <= opacity + 1e-5).all()


def test_evaluation_is_not_random_and_training_has_backgrounds():
    scene, cameras = gaussians(), orbit(1)
    with torch.no_grad():
        a, b = scene.render(cameras, 8), scene.render(cameras, 8)
        rng = torch.Generator().manual_seed(0)
        c, d = scene.render(cameras, 8, rng=rng), scene.render(cameras, 8, rng=rng)
    assert torch.equal(a.rgb, b.rgb)
    assert torch.equal(c.opacity, d.opacity)
    assert not torch.equal(c.rgb, d.rgb)
    with pytest.raises(ValueError, match="cannot be lit"):
        scene.render(cameras, 8, shading="diffuse")


def stepped(scene: Gaussians, progress: float, pull: torch.Tensor, views: torch.Tensor | None = None):
    """After a step at a progress, with what was counted before it; the moments are the Gaussians' numbers."""
    optimizer = torch.optim.Adam(scene.parameter_groups(0.01))
    for group in optimizer.param_groups:
        (p,) = group["params"]
        number = torch.arange(1.0, len(p) + 1).view(-1, *[1] * (p.ndim - 1)).expand_as(p).clone()
        optimizer.state[p] = {"step": torch.tensor(3.0), "exp_avg": number, "exp_avg_sq": number.square()}
    scene.pull, scene.views = pull, torch.ones_like(pull) if views is None else views
    render = scene.render(orbit(1), 8)
    scene._drawn = None
    scene.after_step(render, optimizer, progress, torch.Generator().manual_seed(5))
    return optimizer


def moments(optimizer: torch.optim.Optimizer) -> dict[str, list[float]]:
    return {
        g["name"]: optimizer.state[g["params"][0]]["exp_avg"].flatten(1 if g["params"][0].ndim > 1 else 0)
        .reshape(len(g["params"][0]), -1)[:, 0].tolist()
        for g in optimizer.param_groups
    }  # fmt: skip


def test_the_most_pulled_are_cloned_or_split_and_the_faint_and_the_large_go():
    scene = gaussians(replace(SMALL, number=6, most=20, split_above=1.5))
    scene.scale.data.fill_(0.1).log_()
    scene.scale.data[1] = torch.tensor([0.2, 0.02, 0.02]).log()  # large: split along its axis, x
    scene.opacity.data[2] = -10.0  # faint
    scene.scale.data[3] = 0.0  # of the size of the scene
    before = {name: getattr(scene, name).detach().clone() for name in TRAINED}
    pull = torch.tensor([10.0, 30.0, 1.0, 1.0, 1.0, 0.0])
    views = torch.tensor([1.0, 3, 1, 1, 1, 0])  # the last was never seen, and is no part of the mean, 4.6
    optimizer = stepped(scene, 0.2, pull, views)
    source = [0, 4, 5, 0, 1, 1]
    assert {len(getattr(scene, name)) for name in (*TRAINED, "pull", "views")} == {6}
    for name in ("rotation", "opacity", "colour"):
        assert torch.equal(getattr(scene, name), before[name][source])
    assert torch.equal(scene.mean[:4], before["mean"][source[:4]])
    torch.testing.assert_close(scene.scale[4:].exp(), torch.tensor([[0.2, 0.02, 0.02]] * 2) / 1.6)
    apart = (scene.mean[4:] - before["mean"][1]).abs()
    assert (apart[:, 0] < 0.6).all()
    assert (apart[:, 1:] < 0.08).all()
    assert apart[:, 0].max() > apart[:, 1:].max()
    for numbers in moments(optimizer).values():
        assert numbers == [1, 5, 6, 0, 0, 0]  # what is new begins anew
    for group in optimizer.param_groups:
        assert group["params"][0] is getattr(scene, group["name"])
        assert optimizer.state[group["params"][0]]["step"] == 3
    assert len(optimizer.state) == len(TRAINED)
    assert scene.pull.sum() == scene.views.sum() == 0


def test_never_more_than_there_is_room_for_and_never_none():
    scene = gaussians(replace(SMALL, number=10, most=12, split_above=0.5, split_larger=10.0, prune_larger=1.0))
    pull = torch.arange(1.0, 11.0)
    before = scene.mean.detach().clone()
    stepped(scene, 0.2, pull)
    assert torch.equal(scene.mean, before[[*range(10), 8, 9]])  # those most pulled at
    scene.opacity.data.fill_(-20.0)
    scene.opacity.data[7] = -19.0
    stepped(scene, 0.4, torch.zeros(12))
    assert torch.equal(scene.mean, before[[7]])


def test_rounds_come_at_their_times_and_opacities_are_reset():
    config = replace(SMALL, reset_every=0.5, densify_until=0.8, split_above=0.0)
    scene, sizes, opacities = gaussians(replace(config, most=1000)), [], []
    for k in range(10):
        stepped(scene, k / 10, torch.ones_like(scene.opacity.detach()))
        sizes.append(len(scene.mean))
        opacities.append(torch.sigmoid(scene.opacity).max().item())
    assert [b > a for a, b in zip([60, *sizes], sizes, strict=False)] == [k in (2, 4, 6) for k in range(10)]
    assert opacities[4] == pytest.approx(0.1)
    assert opacities[5] == pytest.approx(0.01)


def test_learning_rates_fall_with_progress():
    config = replace(SMALL, mean_lr=0.5, mean_decay=0.01)
    optimizer = stepped(gaussians(config), 0.5, torch.zeros(60))
    rates = {g["name"]: g["lr"] for g in optimizer.param_groups}
    assert rates["mean"] == pytest.approx(0.01 * 0.5 * 0.1)
    assert rates["opacity"] == pytest.approx(0.01 * config.opacity_lr)


def test_the_pull_is_the_gradient_by_places_in_the_picture():
    """Half the picture's size times the gradient by pixels, summed over the views that saw it."""
    scene, cameras, goal = gaussians(replace(SMALL, number=3)), orbit(2), 0.2

    def loss(render):
        return (render.rgb - goal).square().sum() / 2

    optimizer = torch.optim.Adam(scene.parameter_groups(0.0))
    render = scene.render(cameras, 12)
    drawn = scene._drawn
    loss(render).backward()
    wanted = sum(12 / 2 * 2 * drawn.centre.grad[b].norm(dim=-1) for b in range(2))
    assert (wanted > 0).all()
    scene.after_step(render, optimizer, 0.0, torch.Generator())
    torch.testing.assert_close(scene.pull, wanted)
    assert scene.views.tolist() == [2, 2, 2]
    assert scene._drawn is None


def test_a_job_goes_on_from_its_checkpoint_to_the_bit(tmp_path):
    """Killed after a round, before another: the same folder, of another number of Gaussians than at first."""
    whole, cut = job(replace(SMALL, split_above=1.0)), jobs.Deaf(6)
    jobs.do(tmp_path / "whole", whole)
    with pytest.raises(Stopped):
        jobs.do(tmp_path / "cut", whole, cut)
    jobs.do(tmp_path / "cut", whole)
    folders = [Store(tmp_path / name, whole).final for name in ("whole", "cut")]
    scenes = [(folder / "scene.safetensors").read_bytes() for folder in folders]
    assert scenes[0] == scenes[1]
    pictures = [sorted(p.read_bytes() for p in (folder / "views").glob("rgb_*")) for folder in folders]
    assert len(pictures[0]) == 3
    assert pictures[0] == pictures[1]


def test_a_checkpoint_holds_all_that_a_step_depends_on():
    which = job(replace(SMALL, split_above=1.0))
    whole, first, second = (Training(which, jobs.prior(), "cpu") for _ in range(3))
    logs = [whole.advance() for _ in range(9)]
    assert len(whole.scene.mean) > 60
    for _ in range(5):
        first.advance()
    second.restore(first.tensors(), first.facts())
    assert [second.advance() for _ in range(4)] == logs[5:]
    for name, tensor in whole.scene.state_dict().items():
        assert torch.equal(second.scene.state_dict()[name], tensor)


def test_a_scene_whose_parts_are_not_of_one_number_is_one_sentence(tmp_path):
    from safetensors.torch import save_file

    state = gaussians().state_dict()
    state["mean"] = state["mean"][:-1].clone()
    save_file(state, tmp_path / "scene.safetensors")
    write_json(tmp_path / "config.json", job().settings)
    with pytest.raises(UserError, match="cannot be read"):
        reopened(tmp_path, "cpu")
    state["mean"] = torch.zeros(60, 2)
    with pytest.raises(RuntimeError, match="each Gaussian"):
        gaussians().restore(state)


def test_it_learns_a_picture():
    rng = torch.Generator().manual_seed(0)
    scene = gaussians(replace(SMALL, most=200))
    goal = torch.tensor([0.9, 0.2, 0.1]).view(1, 3, 1, 1)
    optimizer = torch.optim.Adam(scene.parameter_groups(0.02), eps=1e-15)
    errors = []
    for k in range(40):
        render = scene.render(orbit(1), 16, k / 40, rng)
        middle = render.rgb[:, :, 5:11, 5:11]
        optimizer.zero_grad()
        error = (middle - goal).square().mean() + render.opacity[:, :, 0].mean()
        error.backward()
        optimizer.step()
        scene.after_step(render, optimizer, k / 40, rng)
        errors.append(error.item())
    assert errors[-1] < 0.1 * errors[0]
    assert len(scene.mean) > 60
