"""Beside the paper: every rule at its row, every number from the run's files, and no run taken for what it is not."""

import io
import json
import re
from functools import partial

import pandas as pd
import pytest
import torch
from rich.console import Console

from prompts import Prompt, paper43
from reports import load
from reports.columns import measured, paper
from reports.published import TABLE_1, compare
from reports.published.forms import latex, markdown, show
from reports.uncertainty import differences
from run_benchmark import main
from tests.reports.synthetic import random_scores, write_job

PROMPTS = paper43()
ODD = "own_rule&100%|[b]$x#{1}"
ORDER = ["sdi", "sdi-official", "sds"]


def job(
    run, method, prompt, scores, steps, views=50, pixels=512, suite="paper", prior="w/sd21-base", device="A6000",
    status="finished",
):  # fmt: skip
    """A job of the paper's suite, but for what is said."""
    folder = write_job(run, method, prompt, steps=steps, scores=scores, status=status)
    config, record = (json.loads((folder / f"{name}.json").read_text()) for name in ("config", "record"))
    config["recipe"] |= {"suite": suite, "track": "paper", "orbit": {"views": views, "resolution": pixels}}
    config["prior"]["name"] = prior
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "record.json").write_text(json.dumps(record | {"device": device}))


def exact(clip_score, views=50):
    """Scores that are all alike."""
    values = {"clip_score": clip_score, "iqa_quality": 82.0, "iqa_sharpness": 98.0, "iqa_real": 97.0}
    return {name: torch.full((views,), value) for name, value in (values | {"opacity": 0.3}).items()}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Three prompts in the world, at 20 steps; a job of sdi crashed, and one of sds diverged."""
    run, rng = tmp_path_factory.mktemp("run"), torch.Generator().manual_seed(0)
    small = partial(job, run, views=8, pixels=64, suite="world", prior="models/tiny-sd", device="x86_64")
    for method in ("sds", "sdi", "sdi-official", "ism", "sds-anneal", ODD):
        for prompt in PROMPTS[:3]:
            small(method, prompt, random_scores(rng), 20)
    small("sdi", PROMPTS[3], None, 20, status="crashed")
    small("sds", PROMPTS[3], random_scores(rng, -20, opacity=0.0), 20, status="non-finite")
    return run


@pytest.fixture(scope="module")
def frames(run):
    return load(run)


@pytest.fixture(scope="module")
def compared(frames):
    return compare.make(frames, ORDER)


def rules(compared):
    """(table, ours, the paper's) in order."""
    return list(compared[["table", "method", "published"]].drop_duplicates().itertuples(index=False, name=None))


def test_every_rule_of_the_run_and_of_the_paper_is_there_once(compared):
    assert rules(compared) == [
        ("1", "sds", "SDS"), ("1", "-", "SJC"), ("1", "-", "VSD"), ("1", "-", "ESD"), ("1", "-", "HIFA"),
        ("1", "sdi", "SDI"), ("1", "sdi-official", "SDI"),
        ("2", "ism", "ISM"), ("2", "-", "SDI"),
        ("mv-sdi", "sdi", "Baseline SDI"), ("mv-sdi", "sdi-official", "Baseline SDI"),
        *(("mv-sdi", "-", f"MV-SDI K={k}") for k in ("2 uniform", "2 antithetic", "4 antithetic")),
        ("-", ODD, "-"), ("-", "sds-anneal", "-"),
    ]  # fmt: skip
    assert len(compared) == 16 * len(paper())


@pytest.mark.parametrize(
    ("method", "steps", "rows"),
    [
        ("sdi", "10000", [("1", "SDI"), ("mv-sdi", "Baseline SDI")]),
        ("sdi", "5000", [("2", "SDI")]),
        ("sdi-official", "5000", [("2", "SDI")]),
        ("sdi", "5000/10000", [("1", "SDI"), ("mv-sdi", "Baseline SDI")]),
        ("sds", "5000", [("1", "SDS")]),
        ("hifa", "25000", [("1", "HIFA")]),
        ("ism", "20", [("2", "ISM")]),
        ("SDS", "10000", []),
        ("nfsd", "10000", []),
    ],
)
def test_a_rule_has_its_rows(method, steps, rows):
    assert compare.partners(method, steps) == rows


def test_what_another_laboratory_measured_otherwise_has_no_difference(tmp_path):
    for prompt in PROMPTS:
        job(tmp_path, "sdi", prompt, exact(33.0), 10_000)
    frames = load(tmp_path)
    compared = compare.make(frames)
    found = compared.query("method == 'sdi' and table == 'mv-sdi'").set_index("metric")
    assert found.loc["clip_score", "difference"] == pytest.approx(33.0 - 29.7, abs=1e-4)
    assert found.loc["image_reward", "published_mean"] == -0.47
    assert found.loc["iqa_quality", ["mean", "published_mean"]].tolist() == [82, 56]
    assert pd.isna(found.loc["iqa_quality", "difference"])  # of another encoder
    assert set(found["inside"]) == {"-"}  # it gives no spreads
    assert any("ViT-B/16" in line and "no comparison" in line for line in compare.notes(frames, compared))


def test_sdi_of_5000_steps_stands_in_table_2_and_is_missed_in_table_1(tmp_path):
    job(tmp_path, "sdi", PROMPTS[0], exact(28.0), 5000)
    found = compare.make(load(tmp_path))
    assert ("2", "sdi", "SDI") in rules(found)
    assert ("1", "-", "SDI") in rules(found)
    row = found[(found["method"] == "sdi") & (found["metric"] == "clip_score")].iloc[0]
    assert row["published_mean"] == 28.47
    assert row["published_steps"] == "5000"
    div = found[(found["method"] == "sdi") & (found["metric"] == "diverged_pct")].iloc[0]
    assert (div["mean"], div["inside"]) == (0, "-")
    assert pd.isna(div["published_mean"])  # Table 2 has no such column


@pytest.mark.parametrize(
    ("clip_score", "inside"), [(33.0, "yes"), (35.95, "yes"), (35.97, "no"), (30.99, "yes"), (30.97, "no")]
)
def test_inside_is_within_the_published_spread(tmp_path, clip_score, inside):
    """SDI of Table 1 has 33.47 ± 2.49."""
    job(tmp_path, "sdi", PROMPTS[0], exact(clip_score), 10_000)
    found = compare.make(load(tmp_path)).query("method == 'sdi' and table == '1'").set_index("metric")
    assert found.loc["clip_score", "inside"] == inside
    assert found.loc["clip_score", "difference"] == pytest.approx(clip_score - 33.47, abs=1e-5)
    assert found.loc[["diverged_pct", "time_min", "memory_gb", "image_reward"], "inside"].tolist() == ["-"] * 4
    assert pd.isna(found.loc["clip_score", "stderr"])  # a single prompt tells nothing of others


def test_numbers_are_the_runs(frames, compared):
    views = frames.wide[(frames.wide["method"] == "sds") & (frames.wide["status"] == "ok")]
    found = compared[compared["method"] == "sds"].set_index("metric")
    by_prompt = views.groupby("prompt_id")["iqa_real"].mean()
    assert found.loc["iqa_real", "mean"] == pytest.approx(views["iqa_real"].mean())
    assert found.loc["iqa_real", "std"] == pytest.approx(views["iqa_real"].std())
    assert found.loc["iqa_real", "stderr"] == pytest.approx(by_prompt.std() / 3**0.5)
    assert found.loc["iqa_real", ["published_mean", "published_std"]].tolist() == [98, 2.4]
    assert found.loc["diverged_pct", ["mean", "difference"]].tolist() == pytest.approx([25, 25 - 18.6])
    assert found.loc["time_min", ["mean", "published_mean", "difference"]].tolist() == [2, 66, -64]
    assert found.loc["memory_gb", "difference"] == pytest.approx(2 - 6.2)
    assert found.loc["clip_score", ["n", "n_failed", "n_prompts", "steps"]].tolist() == [3, 1, 3, "20"]


def test_what_is_on_one_side_alone_has_no_difference(compared):
    alone = compared[(compared["method"] == "-") | (compared["published"] == "-")]
    assert set(alone["inside"]) == {"-"}
    assert alone["difference"].isna().all()
    missing = compared[compared["published"] == "SJC"]
    assert missing[["mean", "std", "stderr", "n", "n_prompts"]].isna().all(axis=None)
    assert missing["published_mean"].notna().all()
    assert set(missing["steps"]) == {"-"}


def test_the_csv_holds_all_that_is_said(run, frames, compared):
    files = compare.write(run, frames, compared)
    assert [f.name for f in files] == ["compare.md", "compare.csv", "compare.tex"]
    again = pd.read_csv(run / "compare.csv", dtype={"table": str, "steps": str, "published_steps": str})
    pd.testing.assert_frame_equal(again, compared, check_dtype=False)
    unlike = (again["table"] == "mv-sdi") & (again["metric"] == "iqa_quality")
    difference = (again["mean"] - again["published_mean"]).mask(unlike)
    pd.testing.assert_series_equal(again["difference"], difference, check_names=False)
    known = again[["mean", "published_mean", "published_std"]].notna().all(axis=1)
    within = difference.abs() <= again["published_std"]
    assert again["inside"].tolist() == [
        "-" if not k else "yes" if w else "no" for k, w in zip(known, within, strict=True)
    ]
    assert {"yes", "no", "-"} <= set(again["inside"])
    scores = load(run).wide.query("method == 'ism'")["clip_score"]
    mean = again[(again["method"] == "ism") & (again["metric"] == "clip_score")]["mean"].item()
    assert mean == pytest.approx(scores.mean())


def test_notes_say_in_what_a_run_is_not_the_papers(frames, compared):
    first, *others = compare.notes(frames, compared)
    assert first.removeprefix("This run is no reproduction: ").rstrip(".").split("; ") == [
        "suite world",
        "prompts 4 of 43 (sds), 3 of 43 (sdi, sdi-official, ism)",
        "steps 20 of 10,000 (sds, sdi, sdi-official), 20 of 5,000 (ism)",
        "views 8 of 50",
        "views at 64 pixels, not 512",
        "prior tiny-sd, not SD 2.1-base",
    ]
    assert any("3D Gaussians" in line for line in others)
    assert any("x86_64" in line and "A6000" in line for line in others)
    assert "not an error of the mean" in others[-1]


def test_a_run_as_the_papers_says_so(tmp_path):
    for prompt in PROMPTS:
        job(tmp_path, "sdi", prompt, exact(33.0), 10_000)
    frames = load(tmp_path)
    lines = compare.notes(frames, compare.make(frames))
    assert len(lines) == 5
    assert "this run is as the paper's" in lines[0]
    assert lines[1] == TABLE_1.protocol
    assert "read a reproduction beside both" in lines[2]
    assert lines[4] == compare.SPREAD


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steps": 9_999}, "steps 9,999 of 10,000"),
        ({"views": 49, "scores": exact(33.0, 49)}, "views 49 of 50"),
        ({"pixels": 256}, "views at 256 pixels, not 512"),
        ({"prior": "random:sd21"}, "prior random:sd21, not SD 2.1-base"),
        ({"suite": "world"}, "suite world"),
        ({"prompt": Prompt("44-a-cat", "a cat")}, "prompts 42 of 43 and 1 of its own"),
    ],
)
def test_one_departure_is_enough(tmp_path, change, said):
    """Of the last of 43 jobs; the note names it and nothing else."""
    usual = {"prompt": PROMPTS[-1], "scores": exact(33.0), "steps": 10_000}
    for prompt in PROMPTS[:-1]:
        job(tmp_path, "sdi", **usual | change | {"prompt": prompt})
    job(tmp_path, "sdi", **usual | change)
    frames = load(tmp_path)
    assert compare.notes(frames, compare.make(frames))[0] == f"This run is no reproduction: {said}."


def test_a_diverged_job_is_an_outcome_and_a_missing_one_is_not(tmp_path):
    for prompt in PROMPTS[:-1]:
        job(tmp_path, "sdi", prompt, exact(33.0), 10_000)
    frames = load(tmp_path)
    assert "prompts 42 of 43" in compare.notes(frames, compare.make(frames))[0]
    job(tmp_path, "sdi", PROMPTS[-1], None, 10_000, status="out-of-memory")
    frames = load(tmp_path)
    assert "as the paper's" in compare.notes(frames, compare.make(frames))[0]


def test_own_rules_alone_are_beside_nothing(tmp_path):
    write_job(tmp_path, "mine", PROMPTS[0], scores=exact(30.0, views=8))
    frames = load(tmp_path)
    assert "No rule of this run" in compare.notes(frames, compare.make(frames))[0]


def test_latex_is_whole_and_in_the_papers_order(frames, compared):
    text = latex(compared, compare.notes(frames, compared), "prior a_b & 100 %")
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1
    assert text.count(r"\midrule") == 4
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert text.isascii()
    assert r"a\_b \& 100 \%" in text
    columns = 3 + len(paper())
    assert len(re.search(r"\\begin\{tabular\}\{(\w+)\}", text).group(1)) == columns
    rows = [line for line in text.splitlines() if line.endswith(r" \\") and "multicolumn" not in line]
    assert len(rows) == 1 + 6 * 3 + 8 * 2 + 2  # rules on both sides, the paper's alone, ours alone
    assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {columns}
    assert all(row.count("$") % 2 == row.count(r"\$") % 2 for row in rows)
    heads = ["CLIP score", "quality", "sharp", "real", "ImageReward", "Div.", "Time", "Memory"]
    at = [rows[0].index(head) for head in heads]
    assert at == sorted(at)
    assert r"own\_rule\&100\%\textbar{}[b]\$x\#\{1\} & 20 & 3 &" in text
    k = next(k for k, row in enumerate(rows) if row.startswith("sdi &"))
    assert rows[k].startswith("sdi & 20 & 3 (1) &")
    assert rows[k + 1].startswith(r"SDI, paper & 10,000 & -- & $33.47 \pm 2.49$ &")
    gap = compared[(compared["method"] == "sdi") & (compared["metric"] == "clip_score")].iloc[0]
    star = "^{*}" if gap["inside"] == "no" else ""
    assert rows[k + 2].startswith(rf"difference &  &  & ${gap['difference']:+.2f} \pm {gap['stderr']:.2f}{star}$ &")


def test_markdown_is_whole(frames, compared):
    text = markdown(compared, compare.notes(frames, compared), "prior x")
    tables = [[line for line in part.splitlines() if line.startswith("|")] for part in text.split("\n\n")]
    tables = [table for table in tables if table]
    assert len(tables) == 4
    for table in tables:
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {3 + len(paper()) + 1}
    assert "- This run is no reproduction" in text
    assert "not run" in text
    stars = sum(line.count(r"\*") for table in tables for line in table)
    assert stars == (compared["inside"] == "no").sum() > 0
    assert not re.search(r"(?<!\\)\*", text)


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_printed_comparison_fits_and_loses_nothing(frames, compared, width):
    out = io.StringIO()
    show(frames, compared, compare.notes(frames, compared), Console(file=out, width=width))
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for shown in measured("paper"):
        for _, row in compared[(compared["metric"] == shown.key) & compared["difference"].notna()].iterrows():
            star = "*" if row["inside"] == "no" else ""
            assert f"{star}{row['difference']:+.{shown.decimals}f}" in text
    assert "sds: 1 non-finite" in text
    assert ODD in text


def test_the_command(run, capsys):
    assert main(["table", str(run), "--compare", "published"]) == 0
    text = capsys.readouterr().out
    assert "Beside the paper's Table 1" in text
    assert "no reproduction" in text
    for name in ("compare.md", "compare.csv", "compare.tex"):
        assert str(run / name) in text
    found = pd.read_csv(run / "compare.csv")
    for name in ("compare.md", "compare.tex"):  # what the numbers' file has, in words
        written = (run / name).read_text()
        ours = found[(found["metric"] == "clip_score") & found["difference"].notna()]
        assert len(ours)
        assert all(f"{mean:.2f}" in written for mean in ours["mean"])
    assert not list(run.glob("*.aside"))
    order = pd.read_csv(run / "compare.csv").query("table == '1' and published == 'SDI'")["method"].unique()
    assert order.tolist() == ["sdi", "sdi-official"]


def test_pictures_of_unknown_making_are_said_to_be(tmp_path):
    """No config, no record: nothing is known but pictures."""
    folder = tmp_path / "sdi" / PROMPTS[0].id / "0"
    folder.mkdir(parents=True)
    (folder / "rgb_000.png").touch()
    frames = load(tmp_path)
    found = compare.make(frames)
    lines = compare.notes(frames, found)
    assert lines[0].endswith("prompts 0 of 43; suite, steps, resolution, prior not said by its folders.")
    assert any("ours not known" in line for line in lines)
    compare.report(tmp_path, ORDER, Console(file=io.StringIO(), width=100))
    assert "\n.\n" not in (tmp_path / "compare.md").read_text()


def test_open_results_are_marked_and_held_against_no_row_of_the_papers(run):
    from reports import markdown as md
    from reports import tables

    frames = load(run)
    frames.jobs.loc[frames.jobs["method"] == "sds", "open"] = "the prior predicts v"
    table = tables.make(frames, ORDER)
    assert set(table.loc[table["method"] == "sds", "open"]) == {"the prior predicts v"}
    assert set(table.loc[table["method"] != "sds", "open"]) == {"no"}
    said = tables.remarks(frames, table)
    assert "sds: open results, for the prior predicts v; not to be compared with Table 1." in said
    text = md.markdown(table, TABLE_1.read(), differences.differences(frames, "sdi"), "", said)
    assert "sds (open)" in text
    assert "sdi (open)" not in text
    compared = compare.make(frames, ORDER)
    assert set(compared.loc[compared["method"] == "sds", "published"]) == {"-"}
    assert set(compared.loc[compared["method"] == "sdi", "published"]) == {"SDI", "Baseline SDI"}
