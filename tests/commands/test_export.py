"""What is exported of a run: what is there is kept, what is not to be had is said."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.exports import write
from files import write_json
from run_benchmark import main
from tests.engine import jobs

COARSE = ["--resolution", "24", "--faces", "300", "--size", "33", "--device", "cpu"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two finished jobs."""
    folder = tmp_path_factory.mktemp("export") / "run"
    for seed in (0, 1):
        done(folder, jobs.job(seed=seed, steps=4))
    return folder


def done(run, job):
    """Do a job; returns its folder."""
    jobs.do(run, job)
    folder = run / job.path
    write_json(folder / "config.json", {"prompt": job.prompt.text, "seed": job.seed, **job.settings})
    return folder


def export(run, *words):
    return main(["export", str(run), *COARSE, *words])


def stamps(run):
    found = [f for name in ("mesh.glb", "turntable.mp4", "normal_*.png") for f in sorted(run.rglob(name))]
    return {f: f.stat().st_mtime_ns for f in found}


def test_a_job_has_a_mesh_a_turn_and_normals_and_they_are_kept(run, capsys):
    import av
    import trimesh

    assert export(run, "--seeds", "0") == 0
    assert "1 of 1 scenes were exported" in capsys.readouterr().out
    (job,) = {f.parent for f in run.rglob("mesh.glb")}
    mesh = trimesh.load(job / "mesh.glb", force="mesh", process=False)
    assert 0 < len(mesh.faces) <= 300
    assert np.abs(mesh.bounds).max() < 0.6
    with av.open(str(job / "turntable.mp4")) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert [f.shape for f in frames] == [(34, 34, 3)] * 3  # an even size
    normals = [np.asarray(Image.open(f)) for f in sorted(job.glob("views/normal_*.png"))]
    assert [n.shape for n in normals] == [(16, 16, 3)] * 3
    assert (normals[0][0, 0] == 128).all()  # nothing there
    assert normals[0][8, 8, 2] > 160  # the ball's middle looks at the camera
    before = stamps(run)
    assert export(run) == 0
    assert "1 of 2 scenes were exported, the others were there" in capsys.readouterr().out
    assert before.items() <= stamps(run).items()
    assert not list(run.rglob("*.aside"))


def test_other_settings_are_refused_before_anything_is_made(run, capsys):
    assert export(run) == 0
    before = stamps(run)
    assert export(run, "--faces", "200") == 2
    assert "2 exports were made with other settings" in capsys.readouterr().err
    assert stamps(run) == before
    assert export(run, "--faces", "200", "--formats", "glb", "--overwrite") == 0
    after = stamps(run)
    assert {f.name for f in after if after[f] != before[f]} == {"mesh.glb"}


def test_elsewhere_it_is_a_folder_that_evaluate_reads(run, tmp_path, capsys):
    assert export(run, "--out", str(tmp_path / "out"), "--seeds", "1") == 0
    made = {f.relative_to(tmp_path / "out").as_posix() for f in (tmp_path / "out").rglob("*.*")}
    assert {f"sds/01-a-red-ball/1/{name}" for name in ("mesh.glb", "turntable.mp4", "normals/normal_002.png")} <= made
    other = tmp_path / "out/sds/01-a-red-ball/1/mesh.glb"
    (other.parent / "export.json").unlink()
    assert export(run, "--out", str(tmp_path / "out"), "--seeds", "1") == 2  # whose is it?
    assert "--overwrite" in capsys.readouterr().err


def test_an_empty_surface_is_said_and_not_written(tmp_path, capsys):
    run = tmp_path / "run"
    emptied(done(run, jobs.job(steps=1)))
    assert export(run, "--formats", "glb") == 0
    out = capsys.readouterr().out
    assert "sds/01-a-red-ball/0: no mesh, as its surface is empty" in out
    assert not list(run.rglob("mesh.glb"))
    assert export(run, "--formats", "glb", "--out", str(tmp_path / "out")) == 0
    assert not list((tmp_path / "out").rglob("0"))  # no folder of nothing


def emptied(job: Path) -> None:
    """Let a field be thin everywhere: in place of the blob that it starts from is its opposite."""
    settings = json.loads((job / "config.json").read_text())
    settings["recipe"]["scene"] |= {"blob_strength": -50.0, "blob_radius": 1e3}
    write_json(job / "config.json", settings)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--methods", "sdx"], "There is no method in"),
        (["--prompts", "a green cube"], "There is no prompt 'a green cube' in the run"),
        (["--seeds", "7"], "no finished scene"),
        (["--formats", "gbl"], "did you mean 'glb'?"),
        (["--resolution", "4"], "too coarse"),
    ],
    ids=lambda v: v[0] if isinstance(v, list) else "",
)
def test_what_is_not_there_is_one_sentence(run, capsys, words, part):
    assert main(["export", str(run), *words]) == 2
    err = capsys.readouterr().err
    assert part in err
    assert err.count("\n") == 1


def test_a_library_that_is_missing_is_one_sentence(run, monkeypatch, capsys):
    monkeypatch.setattr(write, "find_spec", lambda name: None if name == "skimage" else True)
    assert export(run) == 2
    assert "uv sync --extra export" in capsys.readouterr().err
