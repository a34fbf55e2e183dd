"""`evaluate`: from what people hand in to the tables."""

import math
import shutil

import pandas as pd
import pytest
import torch

from engine.views import depths_of
from eval.views import depth_beside, read
from prompts import own, paper43
from run_benchmark import main
from tests.intake.made import box, run, views

S, T = "07-a-ripe-strawberry", "14-a-blue-tulip"
BERRY, TULIP = paper43()[6], paper43()[13]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    from tests.eval.clip import write_clip

    return str(write_clip(tmp_path_factory.mktemp("clip")))


def evaluate(capsys, clip, *arguments):
    code = main(["evaluate", *map(str, arguments), "--suite", "world", "--clip", clip])
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return code, " ".join((out + err).split())  # the terminal breaks lines


def state(folder):
    return {f: (f.stat().st_mtime_ns, f.read_bytes()) for f in sorted(folder.rglob("*")) if f.is_file()}


def test_a_threestudio_tree_scores_as_the_same_pictures_in_our_layout(capsys, tmp_path, clip):
    tree, ours, out = tmp_path / "outputs", tmp_path / "ours", tmp_path / "run"
    for method in ("sds", "sdi"):
        for prompt in (BERRY, TULIP):
            run(tree, method, prompt.text, n=4)
            views(ours / f"{method}-again" / prompt.id / "0")
    before = state(tmp_path)
    code, said = evaluate(capsys, clip, tree, ours, "--out", out)
    assert code == 0
    assert "4 objects in a threestudio outputs tree" in said
    assert "4 objects in this benchmark's layout" in said
    assert "Views of an object (objects): 4 (8)" in said
    assert "open results, for renders made elsewhere; not to be compared with Table 1" in said
    table = pd.read_csv(out / "table.csv").query("block == 'survivors'").set_index("method")
    assert table["n"].to_dict() == dict.fromkeys(("sdi", "sds", "sdi-again", "sds-again"), 2)
    assert table["clip_score_mean"].nunique() == 1
    assert table["clip_score_mean"].iloc[0] > 0
    assert (out / "comparison.png").is_file()
    assert {f: s for f, s in state(tmp_path).items() if out not in f.parents and "clip" not in f.parts} == before
    first = state(out)
    code, said = evaluate(capsys, clip, tree, ours, "--out", out)
    assert (code, "8 objects, 0 of them new" in said) == (0, True)
    jobs = {f: s for f, s in state(out).items() if f.parent != out}
    assert jobs == {f: s for f, s in first.items() if f.parent != out}


def test_what_is_damaged_is_named_and_counted_and_the_rest_scored(capsys, tmp_path, clip):
    root, out = tmp_path / "in [v2]", tmp_path / "run"
    for prompt in (S, T):
        views(root / "a" / prompt / "0")
    views(root / "b" / S / "0")
    (root / "b" / S / "0" / "rgb_002.png").write_bytes(b"\x89PNG\r\n")
    views(root / "b" / T / "0")
    (root / "a" / T / "0" / "rgb_001.png").unlink()
    views(root / "a" / "own hat" / "0")
    code, said = evaluate(capsys, clip, root, "--out", out)
    assert code == 1, said
    assert f"Not taken: in [v2]/b/{S}/0: rgb_002.png is damaged." in said
    assert f"Not taken: in [v2]/a/{T}/0: view 1 is missing" in said
    assert "Not taken: in [v2]/a/own hat/0: no folder or file name in it is a prompt" in said
    table = pd.read_csv(out / "table.csv").query("block == 'survivors'").set_index("method")
    assert table["n_failed"].to_dict() == {"a": 1, "b": 1}
    assert not list((out / "b" / S).rglob("*.png"))
    views(root / "b" / S / "0")
    assert evaluate(capsys, clip, root, "--out", out)[0] == 1
    assert list((out / "b" / S).rglob("rgb_003.png"))


def test_prompts_of_ones_own_in_an_archive(capsys, tmp_path, clip):
    text, out = "A hat of glass " + "and glass " * 80, tmp_path / "run"
    views(tmp_path / "in" / "0", name="{}.png")
    (tmp_path / "prompts.txt").write_text(text)
    file = shutil.make_archive(str(tmp_path / "mine"), "zip", tmp_path / "in")
    code, said = evaluate(capsys, clip, file, "--prompts", tmp_path / "prompts.txt", "--out", out)
    assert code == 0
    assert "have no truth in the world suite" in said
    assert "longer than CLIP reads" in said
    assert "longer than ImageReward reads" in said
    assert (out / "mine" / own(text).id / "0" / "views" / "rgb_003.png").is_file()
    assert not list(out.glob(".*"))
    assert main(["score", str(out)]) == 0  # as the run says its suite


def test_a_mesh_is_measured_against_the_truth_from_the_suites_own_views(capsys, tmp_path, clip):
    pytest.importorskip("embreex")
    out = tmp_path / "run"
    box(tmp_path / "in" / "boxes" / f"{S}.ply")
    assert evaluate(capsys, clip, tmp_path / "in", "--out", out, "--views", "6")[0] == 0
    scores = pd.read_csv(out / "boxes" / S / "0" / "scores.csv")
    assert len(scores) == 6
    assert scores["iou"].between(0.1, 0.9).all()
    assert scores["volume_iou"].between(0.05, 0.9).all()  # a mesh has depth
    assert scores["front_back_cosine"].isna().all()  # a strawberry has no front


def test_fronts_are_compared_where_the_suite_says_or_cannot_say_that_there_is_one(capsys, tmp_path, clip):
    """Of renders, whose cameras nobody knows: of its own toys the suite knows it, of a prompt of one's own not."""
    dragon, out = "A plush dragon toy", tmp_path / "run"
    for prompt in (BERRY.text, dragon, "A hat of glass"):
        views(tmp_path / "in" / "a" / prompt / "0")
    told = ("--prompts", BERRY.text, dragon, "A hat of glass")
    code, said = evaluate(capsys, clip, tmp_path / "in", *told, "--out", out)
    assert code == 0
    assert "(an object without a front has no back): Front-back cosine over 2 of 3." in " ".join(said.split())
    known = {f.parent.parent.name: pd.read_csv(f)["front_back_cosine"].notna().sum() for f in out.rglob("0/scores.csv")}
    assert known == {S: 0, "17-a-plush-dragon-toy": 1, own("A hat of glass").id: 1}
    row = pd.read_csv(out / "table.csv").query("block == 'survivors'").iloc[0]
    assert (row["n_prompts"], row["front_back_cosine_prompts"], row["clip_score_prompts"]) == (3, 2, 3)


def test_a_mesh_has_a_depth_and_pictures_of_it_have_none(capsys, tmp_path, clip):
    """A box about the origin, as it is: its side lies at .5 before the camera at 2, and its views agree."""
    pytest.importorskip("embreex")
    meshes, out = tmp_path / "in" / "boxes", tmp_path / "run"
    box(meshes / f"{S}.ply", (0.6, 0.6, 0.6))
    code, said = evaluate(capsys, clip, tmp_path / "in", "--as-it-is", "--out", out, "--views", "24")
    assert code == 0
    assert "Warp error needs depth" not in said
    job = out / "boxes" / S / "0"
    assert pd.read_csv(job / "scores.csv")["warp_error"].mean() < 2
    depths, opacity = depth_beside(job)
    assert torch.equal(opacity, read(job).opacity)
    assert ((depths > 0) == (opacity > 0)).all()
    slope = 1 / math.cos(math.radians(15))  # of the ray to the middle, which meets the side x = .3
    assert float(depths[0, 0, 31:33, 31:33].mean()) == pytest.approx(2 - 0.3 * slope, abs=0.01)
    whole = depths_of(job).at(64)
    assert (whole.isfinite() == (opacity > 0.5)).all()
    assert torch.allclose(whole[whole.isfinite()], depths[whole.isfinite()], atol=1e-5)
    half = depths_of(job).at(32)
    assert float(half[0, 0, 15:17, 15:17].mean()) == pytest.approx(2 - 0.3 * slope, abs=0.01)
    (job / "views" / "depth_003.png").unlink()
    code = main(["score", str(out), "--clip", clip])
    assert (code, "are not as many as its views" in capsys.readouterr().out) == (2, False)
    pictures = tmp_path / "pictures" / "flat" / S
    shutil.copytree(job / "views", pictures)
    for file in pictures.glob("depth_*"):
        file.unlink()
    code, said = evaluate(capsys, clip, tmp_path / "pictures", "--out", tmp_path / "other")
    assert (code, "Warp error needs depth, which the views of 1 job lack" in said) == (0, True)
    assert "warp_error" not in pd.read_csv(tmp_path / "other" / "flat" / S / "0" / "scores.csv")


def test_what_cannot_be_carried_out_is_one_sentence(capsys, tmp_path, clip):
    views(tmp_path / "in" / "a" / S)
    (tmp_path / "void").mkdir()
    for arguments, part in (
        (["nowhere"], "There is nothing at nowhere"),
        ([tmp_path / "in", "--out", tmp_path / "in" / "run"], "lie in each other"),
        ([tmp_path / "in", "--out", tmp_path], "lie in each other"),
        ([tmp_path / "in", "--name", "a/b"], "cannot be a method's name"),
        ([tmp_path / "in", "--prompts", "gone.txt"], "There is no file gone.txt"),
        ([tmp_path / "void", "--out", tmp_path / "run"], "There are no renders in"),
        ([tmp_path / "in", "--prompts", "A torn hat", "--out", tmp_path / "run"], "Nothing that was handed in"),
    ):
        code, said = evaluate(capsys, clip, *arguments)
        assert (code, part in said) == (2, True), said
    assert not (tmp_path / "run").exists()
    assert main(["score", str(tmp_path / "in"), "--suite", "world"]) == 2  # whose layout is not a run's
    assert f"other layouts are read by run_benchmark.py evaluate {tmp_path / 'in'}" in capsys.readouterr().err


def test_a_run_of_ones_own_is_not_overwritten(capsys, tmp_path, clip):
    from tests.reports.synthetic import ball, write_job

    views(tmp_path / "in" / "sdi" / S)
    write_job(tmp_path / "run", "sdi", BERRY, 0, ball(4))
    code, said = evaluate(capsys, clip, tmp_path / "in", "--out", tmp_path / "run")
    assert (code, "holds a result that was not handed in" in said) == (2, True)


def test_what_an_archive_hides_is_named_though_nothing_is_left(capsys, tmp_path, clip):
    import zipfile

    views(tmp_path / "in" / "a" / S)
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as held:
        held.writestr("../out.png", b"x")
        held.writestr("inner/c.zip", b"x")
    out = tmp_path / "run"
    code, said = evaluate(capsys, clip, tmp_path / "b.zip", "--out", out)
    assert (code, out.exists()) == (2, False)
    assert "Not taken: b.zip: ../out.png: its name leads out of the archive" in said
    assert "Not taken: b/inner/c.zip: it is an archive within what was handed in" in said
    code, said = evaluate(capsys, clip, tmp_path / "b.zip", tmp_path / "in", "--prompts", S, T, "--out", out)
    assert code == 1
    assert "Of the prompts given 1 have no object: 'A blue tulip'." in said
    assert pd.read_csv(out / "table.csv").query("block == 'survivors'")["n"].tolist() == [1]
