"""The live viewer: what it shows of a camera is what the scene renders from there."""

import math
import urllib.request

import pytest
import torch

from engine.views import eight_bits, reopened, seen
from files import write_json
from run_benchmark import main
from scene.cameras import look_at
from tests.engine import jobs

pytest.importorskip("viser", reason="there is no viser: uv sync --extra view")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder, job = tmp_path_factory.mktemp("live") / "run", jobs.job(steps=2)
    jobs.do(folder, job)
    write_json(folder / job.path / "config.json", job.settings)
    return folder


@pytest.fixture(scope="module")
def viewer(run):
    from engine.exports import live

    with live.opened([next(run.glob("*/*/*"))], "cpu", 32, 18322) as made:
        yield made


def test_a_frame_is_what_the_scene_renders_from_there(viewer):
    from engine.exports.live import quaternion

    camera = look_at(20.0, 130.0, 2.0, 40.0)
    scene, _ = reopened(next(iter(viewer.jobs.values())), "cpu")
    wxyz = quaternion(camera.c2w[0, :3, :3] * torch.tensor([1.0, -1.0, -1.0]))
    square = viewer.frame(wxyz, camera.c2w[0, :3, 3].numpy(), math.radians(40), 1.0, 32)
    own = eight_bits(seen(scene, camera, 32).rgb)[0].numpy()
    assert abs(square.astype(int) - own).max() <= 1
    assert own.std() > 5  # there is something on it
    wide = viewer.frame(wxyz, camera.c2w[0, :3, 3].numpy(), math.radians(40), 2.0, 64)
    assert wide.shape == (32, 64, 3)
    assert abs(wide[:, 16:48].astype(int) - own).mean() < 4  # the middle of it is the same


def test_its_page_is_for_this_machine_alone_and_cameras_are_drawn(viewer):
    with urllib.request.urlopen(f"http://127.0.0.1:{viewer.port}/", timeout=20) as page:
        assert page.status == 200
    assert viewer.server.get_host() == "127.0.0.1"
    assert len(viewer.drawn["evaluation"]) == 3
    assert len(viewer.drawn["training"]) == 24


def test_a_port_that_is_taken_and_a_missing_library_are_one_sentence(run, viewer, monkeypatch, capsys):
    assert main(["view", str(run), "--port", str(viewer.port)]) == 2
    assert "give another --port" in capsys.readouterr().err
    monkeypatch.setattr("commands.runs.view.find_spec", lambda name: None)
    assert main(["view", str(run)]) == 2
    assert "uv sync --extra view" in capsys.readouterr().err
