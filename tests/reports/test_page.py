"""A page of a synthetic run: its numbers are the tables', its pictures the views', its text is text."""

import json
import re
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from rich.console import Console

import run_benchmark
from errors import UserError
from eval.truth import Truth
from files import digest
from prompts import Prompt
from reports import load, page, tables
from reports.columns import measured, shown
from reports.page import sheets
from reports.page.content import RESPONSES, curves, fixed, gaps
from reports.page.divisions import divide, names_of
from reports.uncertainty.statistics import UNBOUNDED, paired_difference
from tests.reports.synthetic import WORLD, ball, random_scores, save, write_job

EVIL = Prompt("90-script", "<script>alert(1)</script>")
ORDER = ["sdi", "sds"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two methods, three prompts and one that is a script; a job of sds diverged."""
    run, rng = tmp_path_factory.mktemp("runs") / "mine", torch.Generator().manual_seed(0)
    for method, level in (("sds", 0.0), ("sdi", 2.0)):
        for k, prompt in enumerate((*WORLD[:3], EVIL)):
            write_job(run, method, prompt, 0, ball(8, hue=k), scores=random_scores(rng, level))
    write_job(run, "sds", WORLD[3], 0, None, "non-finite", random_scores(rng, opacity=0.0))
    return run


@pytest.fixture(scope="module")
def made(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("pages") / "page"
    page.write([run], out, ORDER, lambda run: truth(), Console(quiet=True))
    return out


def truth() -> Truth:
    rgb, opacity = ball(8)
    return Truth(lambda text: ((rgb * opacity)[None], opacity[None]), lambda text: f"fingerprint of {text}")


def held(folder, number=0):
    """What the page's script reads."""
    html = (folder / "index.html").read_text("utf-8")
    return json.loads(re.findall(r'<script type="application/json" class="data">(.*?)</script>', html)[number])


def test_the_page_is_whole_and_asks_nothing_of_a_network(made):
    html = (made / "index.html").read_text("utf-8")
    asked = re.findall(r'(?:src|href)="([^"#]+)"', html)
    assert {name for name in asked if name != "data:,"} == {
        "page.css",
        "page.js",
        "models.js",
        "table.csv",
        "jobs.csv",
    }
    assert all((made / name).is_file() for name in asked if name != "data:,")
    for name in page.FILES:
        text = (made / name).read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//[a-z]+\.|@import|fetch\(|innerHTML", text)
    data = held(made)
    named = {sheet[0] for job in data["pictures"]["jobs"] for sheet in job.values()}
    named |= {sheet[0] for prompt in data["pictures"]["truth"] for sheet in prompt.values()}
    assert named == {f"turntables/{file.name}" for file in (made / "turntables").iterdir()}
    assert str(made.parent) not in html


def test_a_prompt_that_is_a_script_is_text(made):
    found = []

    class Scripts(HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag == "script":
                found.append(dict(attrs))

    Scripts().feed((made / "index.html").read_text("utf-8"))
    assert [s.get("src") or s.get("type") for s in found] == ["page.js", "models.js", "application/json"]
    assert EVIL.text in [prompt["text"] for prompt in held(made)["prompts"]]


def test_numbers_are_those_of_the_tables(run, made):
    frames, data = load(run), held(made)
    table = tables.make(frames, ORDER).query("block == 'survivors'").set_index("method")
    assert data["methods"] == ORDER
    for m, method in enumerate(ORDER):
        for key in data["metrics"]:
            assert data["table"][key][m][0] == pytest.approx(table.loc[method, f"{key}_mean"], rel=1e-5)
        own = frames.wide.query("method == @method and prompt_id == @WORLD[1].id")["psnr"].mean()
        assert data["means"]["psnr"][m][[p["id"] for p in data["prompts"]].index(WORLD[1].id)] == pytest.approx(
            own, rel=1e-5
        )
    both = frames.wide[frames.wide["status"] == "ok"].set_index(["prompt_id", "seed", "view"])
    a, b = (both[both["method"] == method]["iou"] for method in ("sds", "sdi"))
    a, b = a.align(b, "inner")
    d = paired_difference(
        a.to_numpy(), b.to_numpy(), a.index.get_level_values("prompt_id").to_numpy(), bounds=(0.0, 1.0)
    )
    assert data["gaps"]["iou"][1][0] == pytest.approx([d.mean, d.low, d.high], rel=1e-5)
    html = (made / "index.html").read_text("utf-8")
    assert f">{table.loc['sdi', 'clip_score_mean']:.2f}<small>" in html
    assert data["statuses"]["non-finite"] == [0, 1]
    assert "the rule&#39;s gradient is not finite" in html


def test_curves_of_the_judges_are_those_that_were_measured_and_the_worlds_alone(made):
    assert curves({"paper"}) == []
    assert 'id="judges"' not in (made / "index.html").read_text("utf-8")  # it does not say its suite
    found, measured_ones = {c["key"]: c for c in curves({"world"})}, pd.read_csv(RESPONSES)
    assert set(found) == {m.key for m in measured() if m.key in measured_ones}
    for line in found["image_reward"]["lines"]:
        own = measured_ones[measured_ones["distortion"] == line["name"].replace("-", "_")].sort_values("strength")
        assert line["values"] == pytest.approx(list(own["image_reward"]), rel=1e-5)
        assert found["image_reward"]["strengths"] == list(own["strength"])


def test_every_column_says_what_it_is():
    assert all(column.about.endswith(".") for column in (*shown(), *measured("hidden")))


def test_gaps_are_of_what_both_have():
    cube = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)).double().numpy()
    cube[0, 1] = float("nan")
    found = gaps(cube, np.array(["a", "b", "c"]), UNBOUNDED)
    assert found[0] == []
    assert found[1][0][0] == pytest.approx((cube[1, [0, 2]] - cube[0, [0, 2]]).mean(), rel=1e-5)
    cube[1, [0, 2]] = float("nan")
    assert gaps(cube, np.array(["a", "b", "c"]), UNBOUNDED)[1][0] is None


def test_a_sheet_shows_the_views_in_their_order(run, tmp_path):
    job = run / "sdi" / WORLD[0].id / "0"
    sheet = sheets.of_job(job, "rgb", tmp_path)
    assert (sheet.frames, sheet.width, sheet.height) == (8, 32, 32)
    with Image.open(tmp_path.parent / sheet.file) as strip:
        seen = torch.from_numpy(np.array(strip.convert("RGB"))).float() / 255
    rgb, _ = ball(8)
    for v in range(8):
        assert (seen[:, 32 * v : 32 * (v + 1)] - rgb[v].permute(1, 2, 0)).abs().mean() < 0.03
    assert sheets.of_job(job, "normal", tmp_path) is None
    assert sheets.of_job(job, "rgb", tmp_path) == sheet
    assert len(list(tmp_path.iterdir())) == 1


def test_a_view_is_read_once_to_name_its_sheet_and_to_show_it(run, tmp_path, monkeypatch):
    job, read, read_bytes = run / "sdi" / WORLD[0].id / "0", [], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: read.append(self) or read_bytes(self))
    sheet = sheets.of_job(job, "rgb", tmp_path)
    monkeypatch.undo()
    files = sorted(job.glob("views/rgb_*.png"))
    assert read == files
    assert Path(sheet.file).stem == sha256(f"{sheets.FORM} rgb {digest(files)}".encode()).hexdigest()[:20]


@pytest.mark.parametrize(("views", "frames"), [(1, 1), (50, 50), (60, 60), (120, 60), (100, 60)])
def test_frames_lie_evenly_round_the_turn(views, frames):
    picked = sheets.picked(views)
    assert len(set(picked)) == frames
    assert all(abs(360 * v / views - 360 * k / frames) <= 180 / views + 1e-9 for k, v in enumerate(picked))


def test_large_views_are_averaged_down(tmp_path):
    for v in range(3):
        save(torch.full((3, 256, 256), v / 2), tmp_path / f"rgb_{v}.png")
    assert sheets.of_job(tmp_path, "rgb", tmp_path)[1:] == (3, sheets.SIDE, sheets.SIDE)


def test_normals_are_shown_where_there_are_some(run, tmp_path):
    job = write_job(tmp_path / "r", "sdi", WORLD[0], 0, ball(4), scores=random_scores(torch.Generator(), views=4))
    for v in range(4):
        save(torch.full((3, 32, 32), 0.5), job / "views" / f"normal_{v:03d}.png")
    page.write([tmp_path / "r"], tmp_path / "page", [], lambda run: None, Console(quiet=True))
    assert held(tmp_path / "page")["pictures"]["kinds"] == ["rgb", "opacity", "normal"]


def test_a_damaged_view_is_said_and_the_page_is_made(tmp_path):
    job = write_job(tmp_path / "r", "sdi", WORLD[0], 0, ball(4), scores=random_scores(torch.Generator(), views=4))
    (job / "views" / "rgb_002.png").write_bytes(b"no picture")
    console = Console(record=True, width=400)
    page.write([tmp_path / "r"], tmp_path / "page", [], lambda run: None, console)
    assert "rgb_002.png is damaged" in console.export_text()
    assert held(tmp_path / "page")["pictures"]["jobs"] == [{"damaged": True}]


def test_pictures_that_are_shown_no_more_are_removed(tmp_path):
    rng = torch.Generator()
    for method in ("sdi", "sds"):
        write_job(
            tmp_path / "r", method, WORLD[0], 0, ball(4, hue=int(method == "sds")), scores=random_scores(rng, views=4)
        )
    page.write([tmp_path / "r"], tmp_path / "page", [], lambda run: None, Console(quiet=True))
    before = set((tmp_path / "page" / "turntables").iterdir())
    page.write([tmp_path / "r"], tmp_path / "page", [], lambda run: None, Console(quiet=True), pictures="none")
    assert len(before) == 3  # both have the same opacities
    assert not list((tmp_path / "page" / "turntables").iterdir())


def test_runs_become_one_leaderboard_and_other_judges_stand_apart(run, tmp_path):
    rng = torch.Generator().manual_seed(1)
    for prompt in WORLD[:3]:
        write_job(tmp_path / "b" / "mine", "vsd", prompt, 0, ball(8), scores=random_scores(rng))
        write_job(tmp_path / "b" / "mine", "sdi", prompt, 0, ball(8), scores=random_scores(rng))
        job = write_job(tmp_path / "c", "ism", prompt, 0, ball(8), scores=random_scores(rng))
        told = json.loads((job / "scores.json").read_text())
        told["about"]["encoder"] = "f" * 16
        (job / "scores.json").write_text(json.dumps(told))
    divisions = divide([run, tmp_path / "b" / "mine", tmp_path / "c"])
    methods = [sorted(division.frames.jobs["method"].unique()) for division in divisions]
    name, other = names_of([run, tmp_path / "b" / "mine"])
    assert methods == [sorted(["sds", "vsd", f"sdi · {name}", f"sdi · {other}"]), ["ism"]]
    assert len({division.title for division in divisions}) == 2
    page.write([run, tmp_path / "b" / "mine", tmp_path / "c"], tmp_path / "page", ORDER, lambda run: None,
               Console(quiet=True), pictures="none")  # fmt: skip
    assert held(tmp_path / "page", 1)["methods"] == ["ism"]


def test_parts_of_one_run_made_in_two_places_are_one_row(tmp_path):
    rng = torch.Generator().manual_seed(1)
    for k, prompt in enumerate(WORLD[:4]):
        write_job(tmp_path / "ab"[k % 2], "sdi", prompt, 0, ball(8), scores=random_scores(rng))
    (division,) = divide([tmp_path / "a", tmp_path / "b"])
    assert list(division.frames.jobs["method"].unique()) == ["sdi"]
    assert len(division.frames.jobs) == 4


def test_an_open_prior_stands_apart(tmp_path):
    rng = torch.Generator().manual_seed(1)
    for method in ("sdi", "sds"):
        job = write_job(tmp_path, method, WORLD[0], 0, ball(8), scores=random_scores(rng))
        config = json.loads((job / "config.json").read_text())
        config["prior"]["open"] = "it predicts v" if method == "sds" else ""
        (job / "config.json").write_text(json.dumps(config))
    assert [d.title.endswith("open division") for d in divide([tmp_path])] in ([True, False], [False, True])


@pytest.mark.parametrize("what", ["nothing there", "no jobs", "two without --out", "something else", "pictures"])
def test_what_cannot_be_a_page_is_one_sentence(what, run, tmp_path, capsys):
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "thesis.txt").write_text("years of work")
    arguments = {
        "nothing there": [tmp_path / "gone"],
        "no jobs": [tmp_path / "else"],
        "two without --out": [run, run / "sdi"],
        "something else": [run, "--out", tmp_path / "else"],
        "pictures": [run, "--pictures", "some"],
    }[what]
    assert run_benchmark.main(["report", *map(str, arguments)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("run_benchmark.py: ")
    assert said.count("\n") == 1
    assert (tmp_path / "else" / "thesis.txt").read_text() == "years of work"
    assert sorted(f.name for f in (tmp_path / "else").iterdir()) == ["thesis.txt"]


def test_a_file_in_the_place_of_the_page_is_not_written_over(run, tmp_path):
    (tmp_path / "page").write_text("mine")
    with pytest.raises(UserError, match="would be written over"):
        page.write([run], tmp_path / "page", ORDER, lambda run: None, Console(quiet=True))


def test_nothing_is_not_less_than_nothing():
    assert [fixed(x, 2) for x in (-0.004, 0.0, -0.006, 12.3456)] == ["0.00", "0.00", "-0.01", "12.35"]


def test_true_views_are_made_by_a_thread_each_and_torchs_own_are_as_before(run, tmp_path):
    before, seen = torch.get_num_threads(), set()

    def views(text):
        seen.add(torch.get_num_threads())
        return truth().views(text)

    torch.set_num_threads(2)
    try:
        page.write([run], tmp_path, ORDER, lambda run: Truth(views, truth().fingerprint), Console(quiet=True))
        assert (seen, torch.get_num_threads()) == ({1}, 2)
    finally:
        torch.set_num_threads(before)


def test_a_second_report_draws_no_truth_and_writes_no_sheet_again(run, tmp_path):
    asked = []

    def views(text):
        asked.append(text)
        return truth().views(text)

    def report():
        page.write([run], tmp_path, ORDER, lambda run: Truth(views, truth().fingerprint), Console(quiet=True))
        return {sheet.name: sheet.stat().st_mtime_ns for sheet in (tmp_path / "turntables").iterdir()}

    first = report()
    assert set(asked) == {prompt.text for prompt in (*WORLD[:4], EVIL)}
    assert len(first) == 3 + 1 + 2 * 5  # balls of three colours and one shape, and the truth of each prompt
    asked.clear()
    assert report() == first
    assert not asked
