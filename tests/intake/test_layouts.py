"""Each layout is recognised by itself, and its views are those that were handed in."""

import json

import numpy as np
import pytest
from PIL import Image

import intake
from errors import UserError
from intake.base import Asked
from intake.names import Names
from prompts import known_or_own, own, paper43
from scene.cameras import orbit
from tests.intake.made import SIDE, box, gif, run, video, view, views

S, T = "07-a-ripe-strawberry", "14-a-blue-tulip"
BERRY, TULIP = paper43()[6], paper43()[13]


def asked(*texts, **more):
    names = Names(tuple(known_or_own(paper43(), t) for t in texts) or paper43(), given=bool(texts))
    return Asked(names, orbit(4), {"views": 4, "resolution": 32}, 32, **more)


def places(found):
    return sorted((u.place.method, u.place.prompt.id, u.place.seed) for u in found.units)


def look(root, *texts, **more):
    return intake.look(root, asked(*texts, **more), root)


@pytest.mark.parametrize(
    ("folder", "name", "start"),
    [
        (f"mine/{S}/0", "rgb_{:03d}.png", 0),
        (f"mine/{S}/0/views", "rgb_{}.png", 0),
        (f"mine/{S}", "rgb_{}.png", 1),
        ("mine/a-ripe-strawberry/seed_0", "rgb_{:05d}.jpg", 0),
        ("mine/A ripe strawberry/0", "rgb{}.webp", 0),
        ("mine/A_ripe_strawberry", "{}.png", 0),
        ("mine/003_a_ripe_strawberry/renders", "frame-{:02d}.png", 1),
        ("mine", "a_ripe_strawberry_{:03d}.png", 0),
        ("A ripe strawberry/mine/0", "{}.png", 0),
    ],
)
def test_folders_of_numbered_views(tmp_path, folder, name, start):
    root = tmp_path / "handed in"
    views(root / folder, 12, name, start)
    (root / "notes.txt").write_text("not a view")
    found = look(root)
    assert (places(found), found.refused) == ([("mine", S, 0)], [])
    (unit,) = found.units
    frames = [frame.rgb for frame in unit.source.frames()]
    assert len(frames) == len(unit.source) == 12
    tolerance = 60 if name.endswith(("jpg", "webp")) else 0
    assert all(np.abs(f.astype(int) - view(k)).mean() <= tolerance for k, f in enumerate(frames))


def test_the_name_of_a_folder_that_is_a_method_alone_is_the_methods(tmp_path):
    views(tmp_path / "mine" / S / "3")
    assert places(look(tmp_path / "mine")) == [("mine", S, 3)]
    assert places(look(tmp_path / "mine", method="other")) == [("other", S, 3)]


def test_opacity_beside_views_or_in_them(tmp_path):
    views(tmp_path / "a" / S)
    for k in range(4):
        Image.fromarray(np.full((SIDE, SIDE), 64 * k, np.uint8)).save(tmp_path / "a" / S / f"opacity_{k:03d}.png")
        layers = np.dstack([view(k), np.full((SIDE, SIDE), 128, np.uint8)])
        (tmp_path / "b" / S).mkdir(parents=True, exist_ok=True)
        Image.fromarray(layers).save(tmp_path / "b" / S / f"rgb_{k}.png")
    a, b = (list(u.source.frames()) for u in look(tmp_path).units)
    assert [f.opacity.max() for f in a] == [0, 64, 128, 192]
    assert all((f.opacity == 128).all() for f in b)
    assert np.allclose(b[1].rgb, view(1) * (128 / 255) + 153 * 127 / 255, atol=1)  # over the grey of evaluation


def test_normals_beside_views_are_no_views(tmp_path):
    views(tmp_path / "a" / S)
    views(tmp_path / "a" / S, name="normal_{}.png", n=3)
    views(tmp_path / "b" / S / "rgb", name="{}.png")
    views(tmp_path / "b" / S / "normal", name="{}.png", n=9)
    assert [len(u.source) for u in look(tmp_path).units] == [4, 4]


def test_gpteval3d_counts_its_prompts_from_0(tmp_path):
    root = tmp_path / "tournament"
    views(root / "methods" / "mine" / "0" / "0", name="rgb_{}.png")
    views(root / "methods" / "mine" / "1" / "seed2", name="rgb_{}.png")
    views(root / "methods" / "mine" / "7" / "0", name="rgb_{}.png")
    found = look(root, "A torn hat", "A blue tulip")
    hat = own("A torn hat").id
    assert places(found) == [("mine", T, 2), ("mine", hat, 0)]
    assert [r.why for r in found.refused] == ["it counts to 7 from 0, and there are 2 prompts"]
    assert "give --prompts FILE" in look(root).refused[0].why
    (root / "prompts.json").write_text(json.dumps(["A torn hat", "A blue tulip"]))
    assert places(look(root)) == places(look(root / "methods")) == places(found)


def test_folders_that_are_numbers_count_the_prompts_given(tmp_path):
    for k in (1, 2):
        views(tmp_path / "mine" / str(k), name="{}.png")
    assert places(look(tmp_path / "mine", "A blue tulip", "A ripe strawberry")) == [("mine", S, 0), ("mine", T, 0)]
    assert len(look(tmp_path / "mine").refused) == 2
    views(tmp_path / "mine" / "0", name="{}.png")
    assert len(look(tmp_path / "mine", "A blue tulip", "A ripe strawberry", "A torn hat").units) == 3


def test_threestudio_is_cropped_and_its_newest_finished_run_counts(tmp_path):
    root = tmp_path / "outputs"
    run(root, "sds", BERRY.text, time="20240101-120000", n=5)
    run(root, "sds", BERRY.text, time="20240103-120000", steps=50)
    newest = run(root, "sds", BERRY.text, time="20240102-120000", n=6)
    run(root, "sdi", BERRY.text, seed=3, again=False, panels=2)
    run(root, "sdi", "a hat of glass")
    run(root, "sdi", TULIP.text, steps=0)
    found = look(root)
    assert places(found) == [("sdi", S, 3), ("sdi", own("a hat of glass").id, 0), ("sds", S, 0)]
    (taken,) = [u for u in found.units if u.place.method == "sds"]
    assert taken.where.endswith(newest.name)
    assert sum("the newest that is finished" in note for note in found.notes) == 1
    frames = list(taken.source.frames())
    assert len(frames) == 6  # without the last, which is the first again
    assert all((f.rgb == view(k)).all() for k, f in enumerate(frames))
    assert all(((f.opacity > 0) == (view(k) != 153).any(2)).all() for k, f in enumerate(frames))
    assert [r.place.prompt for r in found.refused] == [TULIP]
    assert "it is not finished" in found.refused[0].why
    assert len(look(root / "sds").units) == len(look(newest).units) == 1


def test_threestudio_runs_of_one_name_in_two_places_are_two_methods(tmp_path):
    for place in ("baseline", "k2"):
        run(tmp_path / "outputs" / place, "multi-view-sdi", BERRY.text)
    run(tmp_path / "outputs", "sds", BERRY.text)
    methods = [u.place.method for u in look(tmp_path / "outputs").units]
    assert sorted(methods) == ["baseline-multi-view-sdi", "k2-multi-view-sdi", "sds"]
    assert [u.place.method for u in look(tmp_path / "outputs" / "k2").units] == ["multi-view-sdi"]


def test_t3bench_takes_meshes_and_the_prompt_from_the_folders_name(tmp_path):
    pytest.importorskip("embreex")
    root = tmp_path / "outputs_mesh_t3"
    box(root / "sjc_single" / "A_hat_of_glass@20231001-101010" / "save" / "it10000-export" / "model.obj")
    box(root / "sjc_single" / "A_ripe_strawberry@20231001-101010" / "save" / "it10000-export" / "model.obj")
    found = look(root)
    assert places(found) == [("sjc", S, 0), ("sjc", own("A hat of glass").id, 0)]
    assert all("T3Bench" in u.layout for u in found.units)


def test_turntables(tmp_path):
    pytest.importorskip("av")
    video(tmp_path / "mine" / "A ripe strawberry.mp4", 8)
    (tmp_path / "other" / T).mkdir(parents=True)
    gif(tmp_path / "other" / T / "turntable.gif", 3)
    found = look(tmp_path)
    assert places(found) == [("mine", S, 0), ("other", T, 0)]
    film, moving = (list(u.source.frames()) for u in found.units)
    assert (len(film), len(moving)) == (4, 3)  # as many as the suite has, evenly
    assert all(np.abs(f.rgb.astype(int) - view(2 * k, 32)).mean() < 8 for k, f in enumerate(film))
    assert all((f.rgb == view(k)).all() for k, f in enumerate(moving))


def test_what_our_own_commands_draw_beside_views_is_no_turntable(tmp_path):
    views(tmp_path / "sdi" / S / "0" / "views")
    gif(tmp_path / "sdi" / S / "0" / "turntable.gif")
    Image.fromarray(view(0)).save(tmp_path / "sdi" / S / "0" / "contact.png")
    found = look(tmp_path)
    assert (len(found.units), found.refused) == (1, [])


def test_names_that_mean_no_prompt_are_refused_with_the_nearest(tmp_path):
    views(tmp_path / "mine" / "a-ripe-strawbery" / "0")
    views(tmp_path / "mine" / "hat" / "0")
    first, second = sorted(r.why for r in look(tmp_path).refused)
    assert "did you mean 'A ripe strawberry'? Else give --prompts FILE" in first
    assert second.endswith("suite: give --prompts FILE with your own")
    (only, _) = look(tmp_path, "A torn hat").refused
    assert "one of the 1 prompts given" in only.why


def test_a_start_that_two_prompts_have_names_neither():
    names = Names((own("a photo of a red hat on a table"), own("a photo of a red hat on a chair")))
    assert names.of("a_photo_of_a_red_hat_on") is None
    assert names.of("a_photo_of_a_red_hat_on_a_ch").text.endswith("chair")


def test_nothing_to_score_is_one_sentence(tmp_path):
    (tmp_path / "notes.md").write_text("nothing")
    with pytest.raises(UserError, match="There are no renders in"):
        look(tmp_path)
