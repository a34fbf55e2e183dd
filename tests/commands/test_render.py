"""Generation and evaluation apart: a finished scene is looked at again, and nothing trains."""

import json
import shutil

import pytest
from PIL import Image

from engine import optimize, training, views
from engine.recipes.base import Orbit
from engine.store import Store
from engine.views import has_scene
from errors import UserError
from files import sha256
from run_benchmark import main
from say import Console
from tests.engine import jobs
from tests.eval.clip import write_clip
from tests.tiny import write_prior


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The words of a command that does two jobs, and its run."""
    folder = tmp_path_factory.mktemp("render")
    prior, clip, run = write_prior(folder / "prior"), write_clip(folder / "clip"), folder / "run"
    words = ["--methods", "sds", "sds-anneal", "--prompts", "strawberry", "--steps", "2", "--jobs", "1"]
    words += ["--prior", str(prior), "--clip", str(clip), "--resolution", "16", "--device", "cpu"]
    assert main([*words, "--views", "4", "--out", str(run)]) == 0
    return words, run


def pictures(run):
    return {f.relative_to(run): sha256(f) for f in sorted(run.glob("*/*/*/views/*"))}


def test_other_views_are_those_that_a_job_of_them_would_have(made, monkeypatch, tmp_path, capsys):
    words, run = made
    scenes = {f: (sha256(f), f.stat().st_mtime_ns) for f in run.glob("*/*/*/scene.safetensors")}
    assert len(scenes) == 2
    assert main([*words, "--views", "6", "--out", str(tmp_path / "six")]) == 0
    monkeypatch.setattr(training.Training, "advance", lambda self: pytest.fail("a step was made"))
    assert main(["render", str(run), "--views", "6", "--device", "cpu"]) == 0
    assert "2 of 2 scenes were rendered" in capsys.readouterr().out
    assert pictures(run) == pictures(tmp_path / "six")
    assert {f: (sha256(f), f.stat().st_mtime_ns) for f in run.glob("*/*/*/scene.safetensors")} == scenes
    assert main(["render", str(run), "--views", "6", "--device", "cpu"]) == 0
    assert "0 of 2 scenes" in capsys.readouterr().out
    assert main(["score", str(run), "--clip", words[words.index("--clip") + 1]]) == 0
    assert {len((j / "scores.csv").read_text().splitlines()) for j in run.glob("*/*/*")} == {7}


def test_the_orbit_is_in_no_key_and_the_same_command_renders_what_it_asks_for(made, monkeypatch, capsys):
    words, run = made
    monkeypatch.setattr(training.Training, "advance", lambda self: pytest.fail("a step was made"))
    before = {f: json.loads(f.read_text())["key"] for f in run.glob("*/*/*/config.json")}
    assert main([*words, "--views", "5", "--out", str(run)]) == 0
    assert "2 jobs, 2 of them done" in capsys.readouterr().out
    assert {f: json.loads(f.read_text())["key"] for f in run.glob("*/*/*/config.json")} == before
    assert {len(list(j.glob("views/rgb_*.png"))) for j in run.glob("*/*/*")} == {5}


def test_a_render_that_was_killed_is_made_up_for(made):
    _, run = made
    job = next(j for j in run.glob("*/*/*") if has_scene(j))
    (job / ".views-old").mkdir()
    (job / "views").rename(job / ".views-old" / "old")
    assert main(["render", str(run), "--views", "3", "--device", "cpu"]) == 0
    assert len(list(job.glob("views/rgb_*.png"))) == 3
    assert not list(job.glob(".views-*"))


def test_pictures_that_were_changed_are_not_scored_and_are_made_again(made, capsys):
    words, run = made
    clip = words[words.index("--clip") + 1]
    assert main([*words, "--views", "3", "--out", str(run)]) == 0
    first, before = min(run.glob("*/*/*/views/rgb_*.png")), pictures(run)
    Image.new("RGB", Image.open(first).size, "red").save(first)
    assert main(["score", str(run), "--clip", clip]) == 1
    assert f"run_benchmark.py render {run} makes them again" in capsys.readouterr().out
    assert main(["render", str(run), "--device", "cpu"]) == 0
    assert "1 of 2 scenes were rendered" in capsys.readouterr().out
    assert pictures(run) == before
    assert main(["score", str(run), "--clip", clip]) == 0


def test_a_scene_that_is_not_its_jobs_own_is_not_rendered(made, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(made[1], run)
    one, other = sorted(run.glob("*/*/*/scene.safetensors"))
    shutil.copy(one, other)
    assert main(["render", str(run), "--views", "2", "--device", "cpu"]) == 2
    assert f"The file {other} cannot be read: delete" in capsys.readouterr().err


def test_what_cannot_be_rendered_is_said(made, tmp_path, capsys):
    assert main(["render", str(tmp_path), "--views", "3"]) == 2
    assert "There are no jobs in" in capsys.readouterr().err
    assert main(["render", str(made[1]), "--fov", "180"]) == 2
    assert "less than 180" in capsys.readouterr().err


def test_a_scene_of_latents_is_decoded_by_the_prior_of_its_job(tmp_path, monkeypatch):
    from scene.voxels import VoxelConfig

    monkeypatch.setattr(views, "open_prior", lambda name, device: jobs.prior())
    sizes = {"scene": VoxelConfig(channels=3, size=8, radius=0.6), "regularisers": (), "steps": 2}
    orbits = {n: Orbit(views=n, resolution=16) for n in (2, 3)}
    job = {n: jobs.job(orbit=orbit, **sizes) for n, orbit in orbits.items()}
    assert job[2].key("none") == job[3].key("none")
    config = {"key": "", **job[2].settings, "prior": {"name": "none"}}
    for n, one in job.items():
        store = Store(tmp_path / str(n), one)
        with store.opened(config):
            optimize.run(one, jobs.prior(), store, jobs.SETUP, jobs.Deaf())
    here, there = (tmp_path / str(n) / job[n].path for n in (2, 3))
    assert views.renew({here: orbits[3]}, "cpu", Console()) == [here]
    assert {f.name: sha256(f) for f in (here / "views").iterdir()} == {
        f.name: sha256(f) for f in (there / "views").iterdir()
    }
    config = json.loads((here / "config.json").read_text())
    (here / "config.json").write_text(json.dumps(config | {"prior": {"name": "none", "checksum": "of before"}}))
    monkeypatch.setattr(views, "identity", lambda name: "of now")
    with pytest.raises(UserError, match="other weights than it was made with"):
        views.renew({here: orbits[2]}, "cpu", Console())
    assert len(list(here.glob("views/rgb_*.png"))) == 3
