import json
from dataclasses import dataclass, replace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from engine import optimize
from engine.optimize import Stopped
from engine.recipes.base import Shading, Weight
from engine.store import Store
from engine.training import NonFinite, Training, surrogate
from engine.views import Unseen, evaluate
from engine.worker import record_of
from methods.base import Guidance, Method
from methods.nfsd import NFSD
from methods.sdi import SDI
from methods.sds import SDS
from methods.sjc import SJC
from priors.analytic import MixturePrior
from prompts import Prompt
from scene.nerf import NeRF
from scene.voxels import VoxelConfig
from tests.engine import jobs


@dataclass(frozen=True)
class Constant(Method):
    """Pulls every latent down by the same amount, and counts as one call of the prior."""

    value: float = 1.0
    late: float = 1.0  # the value from the middle on

    def gradient(self, views, prior, state):
        prior.eps(views.x0, torch.full((len(views.x0),), 500), prior.embed([""] * len(views.x0)))
        g = self.value if views.progress < 0.5 else self.late
        return Guidance(torch.full_like(views.x0, g), log={"progress": views.progress})


def scene_of(run, job):
    return load_file(run / job.path / "scene.safetensors")


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_job_leaves_a_whole_folder(tmp_path):
    job = jobs.job()
    record = jobs.do(tmp_path, job)
    folder = tmp_path / "sds/01-a-red-ball/0"
    assert sorted(p.name for p in folder.iterdir()) == [
        "config.json", "log.jsonl", "record.json", "scene.safetensors", "views",
    ]  # fmt: skip
    assert [p.name for p in tmp_path.iterdir()] == ["sds"]  # nothing unfinished is left
    assert json.loads((folder / "record.json").read_text()) == record
    assert record["status"] == "finished"
    assert record["steps"] == record["step"] == 12
    assert record["nfe"] == 12
    assert record["network_rows"] == 24
    assert record["threads"] == torch.get_num_threads()
    assert record["seconds"] > 0
    assert record["peak_bytes"] > 2**20
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in log] == list(range(12))
    assert log[-1]["nfe"] == 12
    assert {"orient" in row for row in log[:6]} == {True}
    assert {"orient" in row for row in log[7:]} == {False}


def test_the_views_are_the_orbit_of_the_scene(tmp_path):
    job = jobs.job()
    jobs.do(tmp_path, job)
    training = Training(job, jobs.prior(), "cpu")
    training.scene.load_state_dict(scene_of(tmp_path, job))
    with torch.no_grad():
        expected = training.scene.render(job.recipe.orbit.cameras(), 16, progress=1.0)
    for k in range(3):
        for name in ("rgb", "opacity"):
            picture = Image.open(tmp_path / job.path / f"views/{name}_{k:03d}.png")
            pixels = torch.tensor(list(picture.tobytes())).reshape(16, 16, -1).permute(2, 0, 1)
            assert (pixels - 255 * getattr(expected, name)[k]).abs().max() <= 0.5 + 1e-3
    assert not (tmp_path / job.path / "views/rgb_003.png").exists()


def test_optimisation_follows_the_prior(tmp_path):
    """A red Gaussian makes a red object."""
    job = jobs.job(SDS(scale=1.0), steps=80)
    job = replace(job, recipe=replace(job.recipe, guidance_weight=0.1, regularisers=()))
    jobs.do(tmp_path, job)
    training = Training(job, jobs.prior(), "cpu")
    before = evaluate(training).rgb.mean((0, 2, 3))
    training.scene.load_state_dict(scene_of(tmp_path, job))
    after = evaluate(training).rgb.mean((0, 2, 3))
    assert after[0] - after[1:].max() > before[0] - before[1:].max() + 0.1


def test_the_surrogate_has_g_for_its_gradient():
    """d/dx0 of the loss is guidance_weight g / B, and the image's gradient joins it."""
    rng = torch.Generator().manual_seed(0)
    x0, image = torch.rand(2, 3, 8, 8, generator=rng, requires_grad=True), torch.rand(2, 3, 4, 4, requires_grad=True)
    guidance = Guidance(torch.randn(2, 3, 8, 8, generator=rng), torch.randn(2, 3, 4, 4, generator=rng))
    surrogate(replace(jobs.recipe(), guidance_weight=3.0), x0, image, guidance).backward()
    torch.testing.assert_close(x0.grad, 3 * guidance.latent / 2)
    torch.testing.assert_close(image.grad, 3 * guidance.image / 2)


GROWING = {"coarse": ((0.4, 0.5),), "scene": replace(jobs.FIELD, background="learned", coloured=0.5)}


@pytest.mark.parametrize(
    ("method", "settings"),
    [(SDS(scale=2.0), {}), (SDI(perp_neg=False), {}), (SDS(scale=2.0), GROWING)],
    ids=["sds", "sdi", "growing"],
)
def test_stopped_and_resumed_is_bit_identical(tmp_path, method, settings):
    job = jobs.job(method, **settings)
    jobs.do(tmp_path / "whole", job)
    for steps in (1, 4, 4):  # stops three times on the way
        with pytest.raises(Stopped):
            jobs.do(tmp_path / "parts", job, jobs.Deaf(steps))
    record = jobs.do(tmp_path / "parts", job)
    assert same(scene_of(tmp_path / "parts", job), scene_of(tmp_path / "whole", job))
    logs = [(tmp_path / run / job.path / "log.jsonl").read_text() for run in ("parts", "whole")]
    assert logs[0] == logs[1]
    assert record["nfe"] == json.loads(logs[1].splitlines()[-1])["nfe"]


class FourChannels(MixturePrior):
    """A prior whose latents are not images, as a scene of latents needs."""

    def encode(self, image, rng):
        raise AssertionError("a scene of latents needs no encoder")

    def decode(self, latent):
        return super().decode(latent[:, :3])


def test_a_scene_of_latents_is_trained_without_an_encoder_and_seen_through_the_decoder():
    colour = torch.tensor([0.6, -0.8, -0.8, 0.5]).view(1, 4, 1, 1).expand(1, 4, 8, 8)
    prior = FourChannels(colour, torch.tensor([0.3]), [jobs.PROMPT.text])
    settings = {
        "scene": VoxelConfig(size=8, radius=0.6),
        "optimizer": "adamax",
        "lr": 0.05,
        "steps": 30,
        "regularisers": (("emptiness", Weight(1.0, 1.0)),),
        "shading": Shading(),
    }
    training = Training(jobs.job(SJC(scale=1.0), **settings), prior, "cpu")
    first = evaluate(training)
    logs = [training.advance() for _ in range(30)]
    last = evaluate(training)
    assert last.rgb.shape == (3, 3, 16, 16)
    assert last.opacity.shape == last.depth.shape == (3, 1, 16, 16)
    errors = [(r.rgb - (colour[:, :3, :1, :1] / 2 + 0.5)).abs().mean() for r in (first, last)]
    assert errors[1] < 0.8 * errors[0]
    assert logs[0]["emptiness"] > 0
    again = Training(jobs.job(SJC(scale=1.0), **settings), prior, "cpu")
    again.restore(training.tensors(), training.facts())
    assert training.advance() == again.advance()


def test_renders_are_coarse_at_first(monkeypatch):
    """At a progress that step 5 of 12 is the first to reach, they have all their pixels."""
    asked, render = [], NeRF.render

    def watched(self, cameras, resolution, **kwargs):
        asked.append(resolution)
        return render(self, cameras, resolution, **kwargs)

    monkeypatch.setattr(NeRF, "render", watched)
    training = Training(jobs.job(coarse=((2 / 12, 0.25), (5 / 12, 0.5))), jobs.prior(), "cpu")
    for _ in range(12):
        training.advance()
    assert asked == [4] * 2 + [8] * 3 + [16] * 7


def test_a_negative_prompt_is_embedded_beside_the_empty_one():
    red = torch.zeros(2, 3, 8, 8)
    prior = MixturePrior(red, torch.tensor([0.3, 0.3]), [jobs.PROMPT.text, "dull"])
    text = Training(jobs.job(NFSD(negative="dull")), prior, "cpu").text
    assert torch.equal(text.uncond, prior.embed(["dull"]))
    assert torch.equal(text.empty, prior.embed([""]))
    plain = Training(jobs.job(), prior, "cpu").text
    assert plain.null is None
    assert torch.equal(plain.uncond, prior.embed([""]))


def test_prompts_of_one_seed_draw_other_numbers_and_methods_the_same():
    """Else a seed moves all prompts alike, and an interval over prompts holds of that seed alone."""
    one, other = jobs.job(), replace(jobs.job(), prompt=Prompt("02-a-red-ball-of-wool", "a red ball of wool"))
    twin = replace(one, recipe=replace(one.recipe, name="another"))
    drawn = [Training(job, jobs.prior(), "cpu").rng.get_state() for job in (one, twin, other)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert one.key("none") != other.key("none")


def test_seeds_differ(tmp_path):
    for seed in (0, 1):
        jobs.do(tmp_path, jobs.job(seed=seed))
    assert not same(scene_of(tmp_path, jobs.job(seed=0)), scene_of(tmp_path, jobs.job(seed=1)))


def test_a_gradient_that_is_not_finite_ends_the_job_with_step_and_cause(tmp_path):
    job = jobs.job(Constant(late=float("nan")))
    record = jobs.do(tmp_path, job)
    assert (record["status"], record["step"], record["cause"]) == ("non-finite", 6, "the rule's gradient is not finite")
    folder = tmp_path / job.path
    assert not (folder / "views").exists()
    assert len((folder / "log.jsonl").read_text().splitlines()) == 6
    assert all(tensor.isfinite().all() for tensor in scene_of(tmp_path, job).values())


def test_a_gradient_that_overflows_on_its_way_to_the_scene_is_found():
    training = Training(jobs.job(Constant(value=3e38)), jobs.prior(), "cpu")
    with pytest.raises(NonFinite, match="scene"):
        training.advance()


def test_too_little_memory_is_a_status(tmp_path, monkeypatch):
    def greedy(*_, **__):
        return torch.empty(2**50)

    monkeypatch.setattr(NeRF, "render", greedy)
    record = jobs.do(tmp_path, jobs.job())
    assert record["status"] == "out-of-memory"
    assert "memory" in record["cause"]


def test_too_little_memory_for_the_views_is_not_the_rules_and_nothing_is_trained_again(tmp_path, monkeypatch):
    job, render = jobs.job(), NeRF.render

    def greedy(self, *arguments, **named):
        return render(self, *arguments, **named) if torch.is_grad_enabled() else torch.empty(2**50)

    with monkeypatch.context() as m:
        m.setattr(NeRF, "render", greedy)
        with pytest.raises(Unseen, match="too little to render its views") as found:
            jobs.do(tmp_path, job)
    assert record_of(found.value)["status"] == "crashed"  # and not diverged
    monkeypatch.setattr(Training, "advance", None)
    assert jobs.do(tmp_path, job)["status"] == "finished"


def test_latents_are_decoded_one_view_after_another():
    decoded = []

    class Watched(FourChannels):
        def decode(self, latent):
            decoded.append(len(latent))
            return super().decode(latent)

    colour = torch.zeros(1, 4, 8, 8)
    prior = Watched(colour, torch.tensor([0.3]), [jobs.PROMPT.text])
    settings = {"scene": VoxelConfig(size=8), "regularisers": (), "shading": Shading()}
    evaluate(Training(jobs.job(SJC(scale=1.0), **settings), prior, "cpu"))
    assert decoded == [1, 1, 1]


def test_writing_checkpoints_is_no_part_of_a_jobs_seconds(tmp_path, monkeypatch):
    now, save = [0.0], Store.save_checkpoint

    def slow(*arguments):
        now[0] += 1000.0
        save(*arguments)

    def clock():
        now[0] += 0.5  # it is read before and after each step
        return now[0]

    monkeypatch.setattr(Store, "save_checkpoint", slow)
    job = jobs.job()
    store = Store(tmp_path, job)
    with store.opened({"key": job.key("none")}):
        record = optimize.run(job, jobs.prior(), store, jobs.SETUP, jobs.Deaf(), clock)
    assert record["seconds"] == 0.5 * job.recipe.steps


def test_other_errors_are_not_swallowed(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("a bug")

    monkeypatch.setattr(NeRF, "render", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        jobs.do(tmp_path, jobs.job())
    assert Store(tmp_path, jobs.job()).record() is None


def test_progress_runs_from_0_to_1_in_any_length(tmp_path):
    for steps in (4, 10):
        job = jobs.job(Constant(), seed=steps, steps=steps)
        jobs.do(tmp_path, job)
        log = [json.loads(line) for line in (tmp_path / job.path / "log.jsonl").read_text().splitlines()]
        assert [row["progress"] for row in log] == [k / steps for k in range(steps)]
