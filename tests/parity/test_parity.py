"""The recordings agree with the product; where the official code has a quirk that the product does not copy, the
recording agrees only through its shim, and the product is shown to do what it should instead."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from methods.sdi_official import SDIOfficial
from priors.guidance import guided_eps, perp_neg_weights
from scene.cameras import Cameras
from tests.helpers import cameras_at, mixture, views_of
from tests.parity.__main__ import main
from tests.parity.recording import Case, Recording, error_of
from tests.parity.replay import REPLAYS, SKIPPED, replay
from tests.parity.shared import cameras_of, prior_of, text_of

DATA = Path(__file__).parent / "data"
RECORDING = Recording(DATA)
NAMES = [case.name for case in RECORDING.cases if not case.entry.get("raises")]


def case_named(name: str) -> Case:
    return next(case for case in RECORDING.cases if case.name == name).load()


@pytest.mark.parametrize("name", NAMES)
def test_recording_agrees(name):
    result = replay(RECORDING, case_named(name))
    assert result.error is not None, result.verdict
    assert not result.failed, result.verdict


@pytest.mark.parametrize(
    "name",
    [
        "sds_sds_cfg100_pn_b2",
        "sds_fantasia3d_cfg7.5_pn_b2",
        "sds_vpred_model_unconverted",
        "sdi_b2_disabled_inversion_two_t",
        "sjc_novarred_cfg30_pn_b2_trand",
        "csd_perpneg_b2",
        "csd_grad_normalize",
    ],
)
def test_quirks_agree_only_through_their_shim(name):
    plain = replay(RECORDING, case_named(name), shimmed=False)
    assert plain.failed
    assert plain.error is not None
    assert plain.error > 1e-3


@pytest.mark.parametrize("name", ["sds_sds_cfg100_pn_b2", "sds_fantasia3d_cfg7.5_pn_b2"])
def test_perp_neg_of_a_batch_is_that_of_its_rows(name):
    """Official negatives meet the latents of another item (item 0's first and item 1's second meet their own); ours
    always meet their own, and an item from overhead has none."""
    case = case_named(name)
    cameras, x_t, t = cameras_of(case), case["out.latents_noisy"], case["out.t"]
    prior, text = prior_of(RECORDING, case, shimmed=False), text_of(case, cameras)
    scale = case.config["guidance_scale"]
    together = guided_eps(prior, x_t, t, text, cameras, scale, perp_neg=True)
    for i in range(len(x_t)):
        row = slice(i, i + 1)
        camera = Cameras(*(getattr(cameras, f)[row] for f in ("c2w", "fov", "elevation", "azimuth", "distance")))
        own = replace(text, uncond=text.uncond[row])
        alone = guided_eps(prior, x_t[row], t[row], own, camera, scale, perp_neg=True)
        assert error_of(together[row], alone) < 1e-4
        mispaired = perp_neg_weights(camera)[0, 1 - i].abs() > 0.01
        assert (error_of(case["out.noise_pred"][row], alone) > 1e-3) == mispaired


def test_velocity_is_converted_before_sds_sees_it():
    """The official SDS takes v for eps; ours converts: eps = a v + sigma x_t."""
    case = case_named("sds_vpred_model_unconverted")
    prior = prior_of(RECORDING, case, shimmed=False)
    x_t, t = case["out.latents_noisy"], case["out.t"]
    a, sigma = (c.float().view(-1, 1, 1, 1) for c in (prior.schedule.a(t), prior.schedule.sigma(t)))
    ours = guided_eps(
        prior, x_t, t, text_of(case, cameras_of(case)), cameras_of(case), case.config["guidance_scale"] + 1
    )
    assert error_of(ours, a * case["out.noise_pred"] + sigma * x_t) < 1e-4
    assert error_of(ours, case["out.noise_pred"]) > 1e-2


def test_sdi_without_inversion_gives_every_item_its_own_time():
    """The first item agrees with the recording, the second only when seen alone."""
    case = case_named("sdi_b2_disabled_inversion_two_t")
    pairs = REPLAYS["sdi"](RECORDING, case, False)
    ours, official = pairs["out.target"]
    t, x_t, eps = case["out.t"], case["out.latents_noisy"], case["out.noise_pred"]
    assert t[0] != t[1]
    assert error_of(ours[:1], official[:1]) < 1e-4
    assert error_of(ours[1:], official[1:]) > 1e-2
    schedule = prior_of(RECORDING, case, shimmed=False).schedule
    assert error_of(ours[1:], schedule.x0_of(x_t[1:], eps[1:], t[1:])) < 1e-4


def test_inversion_of_a_batch_where_the_official_code_raises():
    assert any(case.method == "sdi" and case.entry.get("raises") for case in RECORDING.cases)
    prior, text = mixture()
    x0 = torch.randn(2, *prior.latent_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    g = SDIOfficial().gradient(views_of(x0, text, cameras_at([10.0, 120.0])), prior, None).latent
    assert g.shape == x0.shape
    assert torch.isfinite(g).all()


def test_scale_of_the_other_convention_is_one_more():
    case = case_named("sds_sds_cfg7.5_nopn_b2")
    cameras = cameras_of(case)
    prior, text = prior_of(RECORDING, case, shimmed=False), text_of(case, cameras)
    uncond, cond = case["out.noise_pred_uncond"], case["out.noise_pred_text"]
    s = case.config["guidance_scale"]
    assert error_of(cond + s * (cond - uncond), case["out.noise_pred"]) < 1e-5
    same = guided_eps(prior, case["out.latents_noisy"], case["out.t"], text, cameras, s)
    assert error_of(same, uncond + s * (cond - uncond)) < 1e-5
    assert error_of(same, case["out.noise_pred"]) > 1e-2


def test_other_decays_of_perp_neg_are_not_ours():
    case = case_named("perpneg_table_luciddreamer")
    weights = case["out.weights"][:, 1:]
    assert error_of(perp_neg_weights(cameras_of(case)), weights) > 0.1


@pytest.fixture
def copy(tmp_path):
    """A folder of two small cases, to be spoilt."""
    folder = tmp_path / "like"
    (folder / "cases").mkdir(parents=True)
    index = json.loads((DATA / "index.json").read_text())
    names = ("perpendicular_component", "view_directions_default")
    index["cases"] = [c for c in index["cases"] if c["name"] in names]
    for c in index["cases"]:
        shutil.copyfile(DATA / c["file"], folder / c["file"])
    (folder / "index.json").write_text(json.dumps(index))
    return folder, index


def rewrite(folder: Path, index: dict) -> str:
    (folder / "index.json").write_text(json.dumps(index))
    return str(folder)


def test_command_prints_every_case_and_exits_0(copy, capsys):
    folder, index = copy
    index["cases"].append({"name": "later", "method": "unified_vsd", "file": "cases/none.safetensors"})
    assert main([rewrite(folder, index)]) == 0
    out = capsys.readouterr().out
    assert "perpendicular_component" in out
    assert "view_directions_default" in out
    assert "later" in out
    assert "skipped: threestudio's unified guidance" in out
    assert "3 cases: 2 agree, 1 skipped, 0 fail" in out


def test_command_names_the_option_for_which_it_skips_a_case(copy, capsys):
    folder, index = copy
    index["cases"][0]["config"] = {"colour": "red"}
    assert main([rewrite(folder, index)]) == 0
    assert "skipped: no replay reads the option colour = 'red'" in capsys.readouterr().out


def test_command_exits_1_for_an_unknown_method(copy, capsys):
    folder, index = copy
    index["cases"][0]["method"] = "tomorrow"
    assert main([rewrite(folder, index)]) == 1
    assert "unknown method" in capsys.readouterr().out


def test_command_exits_1_for_another_number(copy, capsys):
    folder, index = copy
    path = folder / index["cases"][0]["file"]
    tensors = load_file(path)
    tensors["out.perpendicular"][0, 0, 0, 0] += 2e-5 * tensors["out.perpendicular"].abs().max()
    save_file(tensors, path)
    assert main([str(folder)]) == 1
    assert "DIFFERS, worst in out.perpendicular" in capsys.readouterr().out


def test_command_exits_1_for_a_case_of_which_nothing_is_replayed(copy, capsys):
    folder, index = copy
    path = folder / index["cases"][0]["file"]
    save_file({"in.azimuth": torch.zeros(1), "out.unheard": torch.zeros(1)}, path)
    assert main([str(folder)]) == 1
    assert "nothing in this case could be replayed" in capsys.readouterr().out


@pytest.mark.parametrize(
    "spoil",
    ["no folder", "no index", "not JSON", "version", "no cases", "no name", "no file", "not tensors", "no tensor"],
)
def test_malformed_folder_is_one_sentence_and_exit_2(copy, capsys, spoil):
    folder, index = copy
    case = folder / index["cases"][0]["file"]
    if spoil == "no folder":
        folder = folder / "nowhere"
    elif spoil == "no index":
        (folder / "index.json").unlink()
    elif spoil == "not JSON":
        (folder / "index.json").write_text("{")
    elif spoil == "version":
        rewrite(folder, index | {"format_version": 9})
    elif spoil == "no cases":
        rewrite(folder, index | {"cases": []})
    elif spoil == "no name":
        del index["cases"][0]["name"]
        rewrite(folder, index)
    elif spoil == "no file":
        case.unlink()
    elif spoil == "not tensors":
        case.write_bytes(b"nothing")
    elif spoil == "no tensor":
        save_file({"out.perpendicular": torch.zeros(1)}, case)
    assert main([str(folder)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_missing_model_is_named(tmp_path, capsys):
    index = json.loads((DATA / "index.json").read_text())
    index["cases"] = [c for c in index["cases"] if c["name"] == "sds_sds_cfg7.5_pn_b1"]
    (tmp_path / "cases").mkdir()
    shutil.copyfile(DATA / index["cases"][0]["file"], tmp_path / index["cases"][0]["file"])
    (tmp_path / "index.json").write_text(json.dumps(index))
    assert main([str(tmp_path)]) == 2
    assert "unet/config.json" in capsys.readouterr().err.replace("\\", "/")


def test_the_map_names_every_file_and_every_method_that_is_skipped():
    folder = Path(__file__).parent
    text = (folder / "README.md").read_text()
    files = {file.name for file in folder.glob("*.py")} - {"__init__.py"}
    assert not [name for name in (*files, *SKIPPED) if f"`{name}`" not in text]
