"""Training: resumable to the bit, captions that say where from, and what the judges are taught."""

from __future__ import annotations

import itertools
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from errors import UserError
from eval.clip_iqa import SENTENCES
from priors.text import COARSE, SECTORS, view_index
from prompts import paper43
from scene.cameras import look_at
from world import captions, dataset, models
from world.dataset import Pictures, over_grey
from world.train import clip, curves, distort, reward, run, unet
from world.train.check import Quality
from world.train.held_out import HELD_OUT


def trained(folder: Path, steps: int, stop_at: int | None = None, until: int | None = None) -> run.Training:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    training = run.Training(run.Plan("line", 1, steps, folder, until), model, peak=1e-2)

    def loss_of(rng: torch.Generator):
        if training.step == stop_at:
            raise KeyboardInterrupt
        x = torch.randn(8, 3, generator=rng)
        return (model(x) - x[:, :2]).square().mean(), {}

    training.run(loss_of)
    return training


def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path):
    whole = trained(tmp_path / "whole", 60).averaged().state_dict()
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "line", 60, stop_at=37)
    again = trained(tmp_path / "line", 60)
    assert again.step == 60
    assert all(torch.equal(v, whole[k]) for k, v in again.averaged().state_dict().items())
    steps = [int(row.split(",")[0]) for row in (tmp_path / "line/curve.csv").read_text().splitlines()[1:]]
    assert steps == [20, 40, 60]


def test_a_training_may_last_some_minutes(tmp_path, monkeypatch):
    clock = iter(range(0, 10_000, 3))  # each look at the clock is 3 s later
    monkeypatch.setattr(run.time, "monotonic", lambda: next(clock))
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    training = run.Training(run.Plan("line", 1, 10**9, tmp_path, minutes=2.0), model, peak=1e-2)
    training.run(lambda rng: (model(torch.randn(8, 3, generator=rng)).square().mean(), {}))
    assert training.step == 40  # steps of 3 s
    again = run.Training(run.Plan("line", 1, 10**9, tmp_path, minutes=2.0), model, peak=1e-2)
    assert again.progress == 1


def test_a_prior_may_learn_on_from_finished_weights(tmp_path):
    prompts = [prompt.text for prompt in paper43()]
    model = unet.Conditioned(models.tokenizer(captions.every_caption(prompts)), prompts)
    model.begin_with(models.TINY_SD)
    kept = load_file(models.TINY_SD / "unet/diffusion_pytorch_model.safetensors")
    assert all(torch.equal(value, kept[name].float()) for name, value in model.unet.state_dict().items())
    other = unet.Conditioned(models.tokenizer(["a red ball"]), ["a red ball"])
    with pytest.raises(UserError, match="not a prior of this world's sizes"):
        other.begin_with(models.TINY_SD)


def test_the_empty_caption_learns_what_the_averaged_weights_say_of_the_true_one(tmp_path, monkeypatch):
    monkeypatch.setattr(unet, "BATCH", {"cpu": 32})
    monkeypatch.setattr(run, "EVERY", 3)
    prompts = [prompt.text for prompt in paper43()]
    rng = torch.Generator().manual_seed(0)
    rgba, label = torch.zeros(4, 4, 64, 64, dtype=torch.uint8), torch.tensor([0, 6, 13, 42])
    data = dataset.Pictures(rgba, label, torch.tensor([0.0, 100, 200, 300]), torch.full((4,), 15.0))
    words = models.tokenizer(captions.every_caption(prompts))
    plan, teachers = run.Plan("unet", 0, 3, tmp_path, start=models.TINY_SD, teach=True), []
    kept = SimpleNamespace(deepcopy=lambda model: teachers.append(deepcopy(model)) or teachers[0])
    monkeypatch.setattr(unet, "copy", kept)
    model = unet.train(data, torch.randn(1, 4, 8, 16, 16, generator=rng), prompts, words, plan)
    head, row = (line.split(",") for line in (tmp_path / "curve.csv").read_text().splitlines())
    said = {name: float(value) for name, value in zip(head, row, strict=True)}
    assert said["empty"] < 0.5 * said["told"]  # pictures of noise can be told by nothing
    assert not model.training
    first = load_file(models.TINY_SD / "unet/diffusion_pytorch_model.safetensors")["conv_in.weight"].float()
    (teacher,) = teachers
    assert torch.equal(teacher.unet.conv_in.weight, model.unet.conv_in.weight)
    assert not torch.equal(teacher.unet.conv_in.weight, first)


def test_muon_takes_kernels_as_matrices_in_place():
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 4, 3, bias=False).to(memory_format=torch.channels_last)
    before = layer.weight.detach().clone()
    layer(torch.randn(2, 3, 8, 8)).square().mean().backward()
    run.Muon([layer.weight], lr=0.1, weight_decay=0.0).step()
    change = (layer.weight.detach() - before).permute(0, 2, 3, 1).flatten(1) / (0.1 * 0.2 * 27**0.5)
    assert (torch.linalg.svdvals(change) - 1).abs().max() < 0.4  # near an orthogonal matrix, times the rate


def test_the_first_steps_again_follow_the_kept_curve(tmp_path, monkeypatch):
    kept, again = (run.Plan("line", 1, 400, tmp_path / name, 60) for name in ("kept", "again"))
    monkeypatch.setattr(curves, "KEPT", tmp_path / "curves")
    trained(kept.folder, 400)
    curves.keep(kept)
    with pytest.raises(run.Paused):
        trained(again.folder, 400, until=60)
    assert curves.difference(again) == 0
    (again.folder / "curve.csv").write_text("step,loss\n20,9.0\n")
    assert curves.difference(again) > 1


def test_a_curve_by_its_own_teacher_is_kept_beside_the_first():
    first = run.Plan("unet", 0, 100, Path("folder"))
    assert curves.kept(first) != curves.kept(replace(first, teach=True))
    assert curves.kept(first).exists()
    assert curves.kept(replace(first, teach=True)).exists()


def test_the_rate_rises_holds_and_falls():
    rates = [run.rate(k, k / 1000) for k in range(1000)]
    assert rates[0] == pytest.approx(1 / 200)
    assert rates[200:600] == [1.0] * 400
    assert all(a >= b for a, b in itertools.pairwise(rates[600:]))
    assert rates[-1] == pytest.approx(0.01)


def drawn(n: int = 40_000, toys: int = 3) -> tuple[list[str], list[str], torch.Tensor]:
    """Captions of the second of three toys, seen from azimuth 100, 10 degrees past its left side."""
    texts = captions.every_caption(["A shell", "A tulip", "A lion"][:toys])
    view = view_index(look_at(15.0, 100.0, 2.0, 40.0)).expand(n)
    rng = torch.Generator().manual_seed(0)
    made = captions.draw(torch.full((n,), 1), torch.full((n,), 100.0 - 360), view, toys, rng)
    return [texts[i] for i in made.first], [texts[i] for i in made.second], made.share


def test_captions_name_the_sectors_between_which_a_camera_stands():
    first, second, share = drawn()
    n = len(first)
    own = [i for i in range(n) if first[i] == "A tulip" + SECTORS[2] and second[i] == "A tulip" + SECTORS[3]]
    assert all(share[i] == pytest.approx(10 / 45, abs=1e-5) for i in own if share[i] < 0.2223 and share[i] > 0.2221)
    fine = 1 - captions.WEB.empty - captions.WEB.plain - captions.WEB.coarse
    true = 1 - captions.WEB.other_toy * 2 / 3
    assert len(own) / n == pytest.approx(fine * true * (1 - captions.WEB.other_view * 7 / 8), abs=0.01)
    next_to = dict(zip(SECTORS, (*SECTORS[1:], SECTORS[0]), strict=True))
    mixed = [(one.split(",")[1], two.split(",")[1]) for one, two in zip(first, second, strict=True) if one != two]
    assert len(mixed) / n == pytest.approx(fine, abs=0.01)
    assert all(f",{two}" == next_to[f",{one}"] for one, two in mixed)


def test_captions_are_as_often_empty_plain_coarse_and_wrong_as_they_say():
    first, second, _ = drawn()
    n = len(first)
    assert sum(text == "" for text in first) / n == pytest.approx(captions.WEB.empty, abs=0.01)
    assert sum(text in ("A shell", "A tulip", "A lion") for text in first) / n == pytest.approx(
        captions.WEB.plain, abs=0.01
    )
    named = [text for text in first if text]
    other = sum(not text.startswith("A tulip") for text in named) / len(named)
    assert other == pytest.approx(captions.WEB.other_toy * 2 / 3, abs=0.01)
    coarse = [text for text, words in zip(first, second, strict=True) if text.endswith(tuple(COARSE.values()))]
    assert len(coarse) / n == pytest.approx(captions.WEB.coarse, abs=0.01)
    wrong = sum(not text.endswith(COARSE["side"]) for text in coarse) / len(coarse)
    assert wrong == pytest.approx(captions.WEB.other_view * 3 / 4, abs=0.01)


def test_the_tokenizer_reads_any_text():
    words = models.tokenizer(captions.every_caption(["A ripe strawberry"]))
    assert len(words("A ripe strawberry, seen from the front left").input_ids) < 16
    assert words.decode(words("Zebra 42!").input_ids, skip_special_tokens=True).split() == ["zebra", "4", "2", "!"]


def test_pictures_lie_over_greys():
    rgba = torch.zeros(3, 4, 8, 8, dtype=torch.uint8)
    image = over_grey(rgba, torch.Generator().manual_seed(0))
    assert ((image > 0.3) & (image < 0.9)).all()
    assert (image.amax(1) - image.amin(1)).max() < 0.07


PROMPTS = ["A red block", "A green block", "A blue block", "A white block"]


@pytest.fixture(scope="module")
def blocks() -> Pictures:
    """Forty textured squares of the four colours, at random places."""
    rng, label = torch.Generator().manual_seed(0), torch.arange(40) % 4
    rgba = torch.zeros(40, 4, 64, 64)
    for n, (y, x) in enumerate(torch.randint(8, 24, (40, 2), generator=rng).tolist()):
        colour = torch.tensor([[0.8, 0.2, 0.2], [0.2, 0.7, 0.2], [0.2, 0.2, 0.8], [0.8, 0.8, 0.8]])[label[n]]
        stripes = 0.75 + 0.25 * (torch.arange(32) // 4 % 2)
        rgba[n, :3, y : y + 32, x : x + 32] = colour[:, None, None] * stripes
        rgba[n, 3, y : y + 32, x : x + 32] = 1
    return Pictures((rgba * 255).to(torch.uint8), label, 90.0 * (torch.arange(40) // 4 % 4), torch.zeros(40))


def test_rungs_of_a_ladder_differ_by_the_strength_alone(blocks):
    rgba, rng = blocks.rgba[:6].float() / 255, torch.Generator
    others, strength = distort.beside(blocks, blocks.label[:6], rng().manual_seed(1)), torch.full((6,), 0.8)
    true, mild, strong = reward.ladder(rgba, others, distort.faded, strength, rng().manual_seed(0))
    torch.testing.assert_close(mild, 0.5 * (true + strong), atol=1.1 / 255, rtol=0)  # it is linear in the strength
    inside = rgba[:, 3:].expand(-1, 3, -1, -1) == 1
    torch.testing.assert_close(true[inside], rgba[:, :3][inside], atol=0.6 / 255, rtol=0)
    assert (strong - true).abs().mean() > 0.02
    same = reward.ladder(rgba, others, distort.dropped, torch.zeros(6), rng().manual_seed(0))
    assert torch.equal(same[0], same[1])
    assert torch.equal(same[0], same[2])
    _, mild, strong = reward.ladder(rgba, others, distort.dropped, strength, rng().manual_seed(0))
    cut = (mild - same[0]).abs().amax(1) > 0.1
    assert cut.any()
    assert ((strong - same[0]).abs().amax(1) > 0.1)[cut].all()  # the holes of half the strength lie in those of all


def test_a_batch_holds_every_distortion_and_its_mismatches_are_of_other_prompts(blocks):
    images, label = reward.batch(blocks, torch.Generator().manual_seed(0))
    assert images.shape == (3, reward.BATCH, 3, 64, 64)
    assert all((a - b).abs().mean() > 0.003 for a, b in itertools.pairwise(images.transpose(0, 1).flatten(0, 1)[:3]))

    class ByColour:
        """Rewards a picture by its mean green, whatever is asked: the pairs can be told from the scores."""

        processor = models.reward(models.word_pieces(PROMPTS)).processor

        def look(self, pixels):
            return pixels[:, 1].mean((1, 2))[:, None, None]

        def judge(self, seen, words):
            return seen[:, 0, 0] + 100 * words["input_ids"][:, 0]

    r = reward.rewards(ByColour(), images, label, {"input_ids": torch.arange(4)[:, None]}, torch.Generator())
    assert r.own.shape == (3, reward.BATCH)
    asked = ((r.own + 50) // 100).long()
    assert torch.equal(asked, label.expand(3, -1))
    assert torch.equal(((r.other + 50) // 100).long(), label)
    assert 0 < r.differs.sum() < reward.BATCH
    looked = r.other - 100 * label
    greens = r.own - 100 * label
    for i in range(reward.BATCH):
        neighbour = (greens[r.at[i]] - looked[i]).abs().argmin().item()
        assert neighbour != i
        assert bool(r.differs[i]) == bool(label[neighbour] != label[i])
    assert len(r.mismatched) == r.differs.sum()


def test_the_reward_learns_to_rank_and_its_scores_are_standard(tmp_path, blocks, monkeypatch):
    small = models.reward
    monkeypatch.setattr(models, "reward", lambda words: small(words, width=32))
    monkeypatch.setattr(run, "rate", lambda *_: 1.0)
    words = models.word_pieces(PROMPTS)
    model = reward.train(blocks, PROMPTS, words, run.Plan("reward", 0, 60, tmp_path))
    curve = (tmp_path / "curve.csv").read_text().splitlines()
    assert curve[0] == "step,loss,distorted,mild,mismatched"
    shares = reward.right(model, blocks, PROMPTS, run.rng_of(1, 0))
    assert [*shares] == [*(way.__name__ for way in HELD_OUT), "mismatched"]
    assert sum(shares.values()) / 7 > 60  # chance is 50
    again = reward.standardised(model, blocks, model.words(PROMPTS), run.rng_of(2, 0), batches=20)
    before = dict(model.config)
    assert again.config["mean"] == pytest.approx(before["mean"], abs=0.5 * before["std"])
    assert again.config["std"] == pytest.approx(before["std"], rel=0.4)


def test_what_a_clip_is_taught_falls_with_the_strength(blocks, monkeypatch):
    made = clip.batch(blocks, torch.Generator().manual_seed(0))
    half = clip.BATCH // 2
    assert made.image.shape == (clip.BATCH, 3, 64, 64)
    assert (made.strength[half:] == 0).all()
    assert (made.strength[:half] > 0).all()
    assert torch.equal(made.named[:, 0], made.strength)  # all is of worse quality; soft or abstract, one of the two
    assert torch.equal(made.named[:, 1:].sum(1), made.strength)
    assert (made.named[:half, 1:] > 0).any(0).all()

    class Says:
        """A CLIP that is told its cosines."""

        logit_scale = torch.tensor(100.0).log()

        def __init__(self, strength: float):
            p = clip.BEST - clip.FALL * strength
            own = 1 - clip.DOUBT * strength + clip.DOUBT * strength / 4
            log = torch.tensor([own, *[(1 - own) / 3] * 3, *[p, 1 - p] * 3]).log() / 100
            self.image_embeds, self.text_embeds = log[None], torch.eye(10)

        def __call__(self, **_):
            return self

    def loss(said: float, true: float) -> float:
        s = torch.tensor([true])
        one = clip.Batch(torch.zeros(1, 3, 64, 64), torch.tensor([0]), s, s.expand(3)[None])
        return clip.loss(Says(said), one, {})[0].item()

    steps = (0.1, 0.4, 0.7, 1.0)
    for true in steps:  # what is wanted of each strength is that strength's answer, and no other's
        assert min(steps, key=lambda said: loss(said, true)) == true


def test_clips_of_other_sizes_train(tmp_path, blocks):
    words = models.tokenizer([*PROMPTS, *SENTENCES])
    small = clip.train(blocks, PROMPTS, words, run.Plan("clip2", 5, 2, tmp_path), width=32, layers=1)
    assert small.config.vision_config.hidden_size == small.config.text_config.hidden_size == 32
    assert len(small.vision_model.encoder.layers) == 1


def test_a_quality_is_met_from_its_own_side():
    assert Quality(models.TINY_CLIP, "ranked", 98.0, 98.0, "%").met
    assert not Quality(models.TINY_CLIP, "ranked", 97.9, 98.0, "%").met
    apart = Quality(models.TINY_CLIP_2, "apart", 5.1, 5.0, "points", at_most=True)
    assert not apart.met
    assert apart._replace(value=0.0).met
    assert apart.cells == ("apart", "5.1 points", "<= 5 points")


def test_pictures_are_traced_on_a_device_as_in_processes(tmp_path, monkeypatch):
    """On a device, chunks are traced together, in this process: of the CPU by its number, with the same bits."""
    monkeypatch.setattr(dataset, "CACHE", tmp_path)
    monkeypatch.setattr(dataset, "CHUNK", 3)
    monkeypatch.setattr(dataset, "ProcessPoolExecutor", lambda *_: pytest.fail("a process was started"))
    made = dataset.pictures(["A ripe strawberry"], 6, seed=3, device="cpu:0")
    for k in range(2):
        (alone,) = dataset._render([("A ripe strawberry", 0, 3 * 1_000_003 + k, dataset.CAMERAS)])
        assert torch.equal(made.rgba[3 * k : 3 * k + 3], alone["rgba"])
        assert torch.equal(made.azimuth[3 * k : 3 * k + 3], alone["azimuth"])
