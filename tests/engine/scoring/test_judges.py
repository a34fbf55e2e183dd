"""With which models a suite is scored, what is left out where one is missing, and that a reader is told."""

import json
from dataclasses import asdict, replace

import pandas as pd
import pytest
from safetensors.torch import save_file

from commands.shared import results
from engine.recipes.base import Orbit
from engine.scoring.judges import (
    UNSCORED,
    Judges,
    cut_off,
    judges_of,
    needs_of,
    remarks,
    scorer_of,
    truth_from,
    truths_of,
)
from engine.weights import manifest as weights
from errors import UserError
from eval.published_reward import MED, WEIGHTS
from eval.score import Scorer, score_run
from eval.truth import over
from prompts import Prompt, paper43
from reports import load as load_run
from run_benchmark import main
from scene.background import GREY
from suites import SUITES
from suites.paper import PAPER
from suites.world import MODELS, WORLD, Toys
from tests.eval import clip_iqa_equality, image_reward_equality
from tests.eval.clip import encoder, write_clip
from tests.reports.synthetic import ball, save, write_job
from tests.tiny import write_prior

PROMPTS = paper43()
IQA = ["iqa_quality", "iqa_sharpness", "iqa_real"]


def write_published_clip(folder):
    """With the older files that the published one has beside tokenizer.json and the processor's settings."""
    words = json.loads((write_clip(folder) / "tokenizer.json").read_text())["model"]
    (folder / "vocab.json").write_text(json.dumps(words["vocab"]))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(m) for m in words["merges"]))
    (folder / "special_tokens_map.json").write_text("{}")
    pictures = json.loads((folder / "processor_config.json").read_text())["image_processor"]
    (folder / "preprocessor_config.json").write_text(json.dumps(pictures))


def write_published_reward(folder):
    from transformers import BertTokenizer

    vocabulary = image_reward_equality.vocabulary()
    BertTokenizer(vocab={word: k for k, word in enumerate(vocabulary)}).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    save_file(image_reward_equality.weights(), folder / WEIGHTS)
    (folder / MED).write_text(json.dumps(image_reward_equality.MED))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Where fetched weights lie: none yet."""
    monkeypatch.setenv(weights.PLACE, str(tmp_path / "weights"))
    return tmp_path / "weights"


@pytest.fixture
def fetched(place):
    """Small models in place of all that `fetch` brings to score with."""
    write_published_clip(place / "clip-vit-b32")
    clip_iqa_equality.write_folder(place / "clip-iqa-rn50")
    write_published_reward(place / "image-reward")
    return place


@pytest.fixture
def run(tmp_path):
    write_job(tmp_path / "run", "sds", PROMPTS[3], 0, ball(4))
    return tmp_path / "run"


def scores_of(run):
    return pd.read_csv(run / "sds" / PROMPTS[3].id / "0" / "scores.csv", dtype=str)


def test_the_worlds_judges_are_shipped(place):
    judges = judges_of(WORLD)
    assert judges == Judges(*(MODELS / n for n in ("tiny-clip", "tiny-clip", "tiny-reward", "tiny-clip-2")))
    scorer = scorer_of(WORLD, judges)
    assert scorer.judges["iqa"] is scorer.judges["clip"]
    assert list(scorer.judges) == ["clip", "iqa", "clip2", "reward"]
    assert needs_of(WORLD, judges) == {*scorer.judges, "candidates", "opacity", "truth", "shape", "depth"}
    assert not scorer.asked
    assert remarks(judges, scorer) == []


def test_a_clip_given_takes_the_first_place(place, tmp_path):
    clip = write_clip(tmp_path / "clip")
    world = judges_of(WORLD, str(clip))
    assert (world.clip, world.iqa, world.second) == (clip, clip, MODELS / "tiny-clip-2")
    assert judges_of(PAPER, str(clip)) == Judges(clip)
    with pytest.raises(UserError, match="There is no CLIP at nowhere"):
        judges_of(PAPER, "nowhere")


def test_the_papers_judges_are_those_fetched(fetched, run, capsys):
    judges = judges_of(PAPER)
    names = ("clip-vit-b32", "clip-iqa-rn50", "image-reward")
    assert judges == Judges(*(fetched / name for name in names))
    assert main(["score", str(run), "--suite", "paper", "--device", "cpu"]) == 0
    assert "left out" not in capsys.readouterr().out
    scorer, scores = scorer_of(PAPER, judges), scores_of(run)
    assert {*IQA, "image_reward", "view_preference"} <= {*scores}
    judged = dict(zip(("encoder", "encoder_iqa", "reward"), scorer.judges.values(), strict=True))
    assert len({model.checksum for model in judged.values()}) == 3
    said = load_run(run).jobs["judges"].item()
    assert said == {name: model.checksum[:16] for name, model in judged.items()}
    for name, model in judged.items():
        assert f"{name.replace('_', ' ')} {model.checksum[:12]}" in (run / "table.md").read_text()


def test_what_is_missing_is_left_out_and_said_and_comes_back(fetched, run, capsys):
    command = ["score", str(run), "--suite", "paper"]
    (fetched / "clip-iqa-rn50").rename(fetched / "aside")
    assert main(command) == 0
    said = capsys.readouterr().out
    assert said.count("run_benchmark.py fetch clip-iqa-rn50 brings it") == 1
    assert "image-reward" not in said
    scores = scores_of(run)
    assert not {*IQA} & {*scores}
    assert "encoder_iqa" not in load_run(run).jobs["judges"].item()
    (fetched / "aside").rename(fetched / "clip-iqa-rn50")
    (fetched / "image-reward" / MED).unlink()
    assert main(command) == 0
    assert "ImageReward is left out, for its weight image-reward" in capsys.readouterr().out
    scores = scores_of(run)
    assert {*IQA} <= {*scores}
    assert "image_reward" not in scores


def test_without_a_clip_nothing_is_scored_and_a_sentence_says_so(place, run, tmp_path, capsys, monkeypatch):
    assert main(["score", str(run), "--suite", "paper"]) == 2
    assert capsys.readouterr().err == f"run_benchmark.py: {UNSCORED}\n"
    assert not (run / "sds" / PROMPTS[3].id / "0" / "scores.csv").exists()
    prior = str(write_prior(tmp_path / "prior"))
    monkeypatch.setattr(results, "carried_out", lambda todo, console: False)
    command = ["--suite", "paper", "--prior", prior, "--methods", "sds", "--limit", "1", "--device", "cpu"]
    assert main([*command, "--out", str(tmp_path / "new")]) == 0
    assert UNSCORED in capsys.readouterr().out


def test_prompts_that_are_cut_are_named_once(fetched, run, capsys, monkeypatch):
    longer = tuple(replace(p, text=p.text * 9) if p in PROMPTS[5:7] else p for p in PROMPTS)
    monkeypatch.setitem(SUITES, "paper", replace(PAPER, prompts=longer))
    assert main(["score", str(run), "--suite", "paper"]) == 0
    ids = f"{PROMPTS[5].id}, {PROMPTS[6].id}"
    sentence = f"2 prompts are longer than CLIP reads (32 tokens), and scored without the rest: {ids}."
    assert capsys.readouterr().out.count(sentence) == 1


def test_judges_of_other_packages_that_cut_alike_are_named():
    judges = {"clip": encoder(), "torchmetrics:clip_score": None, "hpsv2": None, "pyiqa:musiq": None}
    (said,) = cut_off(Scorer(judges, (Prompt("01-a-word", "a word " * 99),)))
    assert said.startswith("1 prompt is longer than CLIP, torchmetrics:clip_score, hpsv2 read (")


def test_a_device_that_is_not_there_is_a_sentence(fetched, run, capsys):
    assert main(["score", str(run), "--suite", "paper", "--device", "gpu"]) == 2
    assert "There is no device 'gpu'" in capsys.readouterr().err


def test_the_truth_has_another_fingerprint_when_toy_orbit_or_variants_change(monkeypatch):
    """And only then: a look at it is made anew each time."""
    from world.objects import OBJECTS

    text, other = "A ripe strawberry", "A blue tulip"
    first = truth_from(Toys(), Orbit(views=8)).fingerprint(text)
    assert truth_from(Toys(), Orbit(views=8)).fingerprint(text) == first
    for orbit, variants in ((Orbit(views=9), 1), (Orbit(views=8, elevation=30.0), 1), (Orbit(views=8), 2)):
        assert truth_from(Toys(), orbit, variants).fingerprint(text) != first
    assert truth_from(Toys(), Orbit(views=8)).fingerprint(other) != first
    monkeypatch.setitem(OBJECTS, text, OBJECTS[other])
    assert truth_from(Toys(), Orbit(views=8)).fingerprint(text) != first
    assert truth_from(Toys(), Orbit(views=8)).fingerprint("nothing that is known")


def test_each_job_is_held_against_the_truth_from_its_own_orbit(tmp_path):
    """Jobs of a run may be seen from several, and a failed one from that of its settings."""
    orbits = {"low": Orbit(views=4), "high": Orbit(views=5, elevation=60.0, resolution=48)}
    for method, orbit in orbits.items():
        rgb, opacity = truth_from(Toys(), orbit).views(PROMPTS[6].text)
        folder = write_job(tmp_path, method, PROMPTS[6], 0, (over(rgb[0], opacity[0], GREY), opacity[0]))
        (folder / "views" / "orbit.json").write_text(json.dumps(asdict(orbit)))
    write_job(tmp_path, "lost", PROMPTS[6], 0, None, "non-finite")
    assert score_run(tmp_path, Scorer({"clip": encoder()}, PROMPTS), truth=truths_of(WORLD)).bad == {}
    wide = load_run(tmp_path).wide.groupby("method")
    assert wide.size().to_dict() == {"high": 5, "low": 4, "lost": 8}
    means = wide[["iou", "yaw", "psnr_paired"]].mean()
    assert means["iou"].to_dict() == pytest.approx({"high": 1, "low": 1, "lost": 0}, abs=0.06)  # edges in 8 bits
    assert (means.loc[["high", "low"], "psnr_paired"] > 40).all()
    assert means.loc[["high", "low"], "yaw"].tolist() == [0, 0]
    assert truths_of(PAPER)(tmp_path / "low" / PROMPTS[6].id / "0") is None


def test_bad_jobs_are_listed_and_the_others_scored(fetched, run, capsys):
    """Exit 1, a table of what is sound, and no advice to delete what is not ours."""
    for name in ("good", "torn"):
        folder = run / name / PROMPTS[3].id / "0"
        folder.mkdir(parents=True)
        for v, rgb in enumerate(ball(4)[0]):
            save(rgb, folder / f"rgb_{v}.png")
    (folder / "rgb_2.png").write_bytes(b"torn")
    assert main(["score", str(run), "--suite", "paper", "--device", "cpu"]) == 1
    said = capsys.readouterr().out
    assert f"The view {run / 'torn' / PROMPTS[3].id / '0' / 'rgb_2.png'} is damaged: put it there again." in said
    table = pd.read_csv(run / "table.csv").set_index("method")
    assert table["n"].to_dict() == {"sds": 1, "good": 1, "torn": 0}
