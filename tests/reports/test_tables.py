"""Tables of synthetic runs: every number by hand, every failure counted, every form readable."""

import io
import re
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

from errors import UserError
from eval.statistics import clustered_stderr
from prompts import Prompt
from reports import load, tables, terminal
from reports.columns import BEYOND, CLIP
from reports.latex import escape, latex
from tests.reports.synthetic import WORLD, ball, random_scores, write_job

ORDER = ["sds", "sdi"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two methods, four prompts; one job of sds diverged, one left nothing, one crashed."""
    run, rng = tmp_path_factory.mktemp("run"), torch.Generator().manual_seed(0)
    for method, level in (("sds", 0.0), ("sdi", 2.0)):
        for prompt in WORLD[:4]:
            write_job(run, method, prompt, 0, ball(8), scores=random_scores(rng, level))
    write_job(run, "sds", WORLD[4], 0, None, "non-finite", random_scores(rng, -20, opacity=0.0))
    write_job(run, "sds", WORLD[5], 0, ball(8), "finished", random_scores(rng, -20, opacity=0.0))
    write_job(run, "sds", WORLD[6], 0, None, "crashed")
    return run


@pytest.fixture(scope="module")
def frames(run):
    return load(run)


def test_frames_hold_every_view_and_every_job(frames):
    assert len(frames.wide) == 10 * 8
    assert len(frames.jobs) == 11
    assert dict(frames.jobs["status"].value_counts()) == {"ok": 8, "non-finite": 1, "empty": 1, "failed": 1}
    values = frames.wide.drop(
        columns=["method", "prompt_id", "seed", "status", "view", "azimuth", "encoder", "candidates"]
    )
    assert len(frames.long) == values.notna().to_numpy().sum()
    one = frames.long.query("method == 'sdi' and metric == 'psnr' and view == 3 and prompt_id == @WORLD[1].id")
    wide = frames.wide.query("method == 'sdi' and view == 3 and prompt_id == @WORLD[1].id")
    assert one["value"].item() == wide["psnr"].item()


def test_means_are_over_survivors_and_again_over_all(frames):
    table = tables.make(frames, ORDER).set_index(["block", "method"])
    views = frames.wide[frames.wide["method"] == "sds"]
    for block, rows in (("survivors", views[views["status"] == "ok"]), ("all", views)):
        row, x = table.loc[(block, "sds")], rows["clip_score"].to_numpy()
        assert row["clip_score_mean"] == pytest.approx(x.mean())
        assert row["clip_score_std"] == pytest.approx(x.std(ddof=1))
        assert row["clip_score_stderr"] == pytest.approx(clustered_stderr(x, rows["prompt_id"].to_numpy()))
        assert row["n_views"] == len(x)
    assert [table.loc[("survivors", "sds"), k] for k in ("n", "n_failed", "n_prompts")] == [4, 3, 4]
    assert [table.loc[("all", "sds"), k] for k in ("n", "n_failed")] == [6, 1]
    assert table.loc[("survivors", "sds"), "diverged_pct"] == pytest.approx(100 * 2 / 6)
    assert table.loc[("survivors", "sdi"), "diverged_pct"] == 0
    assert table.loc[("survivors", "sdi"), ["nfe", "time_min", "memory_gb"]].tolist() == [900, 2, 2]


def test_without_divergence_there_is_one_block(tmp_path):
    write_job(tmp_path, "sdi", WORLD[0], 0, ball(8), scores=random_scores(torch.Generator().manual_seed(0)))
    assert tables.make(load(tmp_path))["block"].tolist() == ["survivors"]


def test_methods_come_in_the_order_asked_for(frames):
    assert tables.in_order(frames, ["sdi"]) == ["sdi", "sds"]
    assert tables.in_order(frames, ["sds", "vsd", "sdi"]) == ["sds", "sdi"]


def test_differences_are_paired_by_prompt_seed_and_view(frames):
    gaps = tables.differences(frames, "sds").set_index("metric")
    ok = frames.wide[frames.wide["status"] == "ok"].sort_values(["prompt_id", "view"])
    a, b = (ok[ok["method"] == m]["iou"].to_numpy() for m in ("sdi", "sds"))
    assert gaps.loc["iou", "mean"] == pytest.approx((a - b).mean())
    assert gaps.loc["iou", "low"] < gaps.loc["iou", "mean"] < gaps.loc["iou", "high"]
    assert gaps.loc["iou", ["n_views", "n_prompts"]].tolist() == [32, 4]


def test_published_rows_are_the_papers():
    paper = tables.published().set_index("method")
    assert len(paper) == 6
    assert paper.loc["SDI", ["clip_score_mean", "diverged_pct", "memory_gb"]].tolist() == [33.47, 4.7, 39.2]
    assert tables.cell(paper.loc["SDS"], CLIP[0]) == "29.81 ± 2.49"


def test_files_of_a_run(run, frames):
    table = tables.write(run, frames, ORDER, "sds")
    again = pd.read_csv(run / "table.csv", dtype={"steps": str})
    pd.testing.assert_frame_equal(again, table, check_dtype=False)
    assert len(pd.read_csv(run / "scores.csv")) == 80
    assert set(pd.read_csv(run / "differences.csv")["method"]) == {"sdi"}
    text = (run / "table.md").read_text()
    for heading in (*tables.BLOCKS.values(), tables.PUBLISHED_TITLE, "Paired differences to sds"):
        assert f"## {heading}" in text
    assert "CLIP score ↑" in text
    assert "Div. (%) ↓" in text
    assert re.search(r"\| sds +\| +300 +\| 4 \(3\)", text) or re.search(r"\| sds +\| 300 +\| 4 \(3\)", text)
    for block in re.split(r"\n\n", text):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in rows}) <= 1
    assert not list(run.glob("*.aside"))


def test_what_cannot_be_measured_is_a_dash(frames):
    row = tables.make(frames, ORDER).iloc[0]
    image_reward = next(c for c in CLIP if c.key == "image_reward")
    assert tables.cell(row, image_reward) == "-"
    assert "-" in tables.cell(tables.published().iloc[0], BEYOND[0])


def test_a_metric_of_some_views_alone_is_a_mean_over_those(tmp_path):
    rng, nan = torch.Generator().manual_seed(0), float("nan")
    for number, behind in enumerate(((100.0, 0.0, 0.0), (0.0, 0.0, 0.0))):
        views = torch.tensor([nan, nan, nan, *behind, nan, nan])
        scores = {**random_scores(rng), "view_preference": views}
        write_job(tmp_path, "sdi", WORLD[number], 0, ball(8), scores=scores)
        other = {**random_scores(rng), "view_preference": views.where(views.isnan(), 100.0)}
        write_job(tmp_path, "sds", WORLD[number], 0, ball(8), scores=other)
    frames = load(tmp_path)
    assert len(frames.long[frames.long["metric"] == "view_preference"]) == 12
    table = tables.write(tmp_path, frames).set_index("method")
    assert table.loc["sdi", "view_preference_mean"] == pytest.approx(100 / 6)
    assert table.loc["sds", "view_preference_mean"] == 100
    gap = tables.differences(frames, "sdi").set_index("metric").loc["view_preference"]
    assert gap["mean"] == pytest.approx(500 / 6)
    assert gap["n_views"] == 6
    again = pd.read_csv(tmp_path / "scores.csv")["view_preference"]
    assert again.notna().sum() == 12
    assert "View preference (%) ↓" in (tmp_path / "table.md").read_text()


def test_runs_without_scores_have_a_table(tmp_path):
    write_job(tmp_path, "sdi", WORLD[0], 0, ball(8))
    frames = load(tmp_path)
    table = tables.write(tmp_path, frames)
    assert table["n"].tolist() == [0]
    assert terminal.troubles(frames) == ["1 jobs are not scored yet."]


def test_latex_is_booktabs_with_every_row_of_the_same_length(frames):
    text = latex(tables.make(frames, ORDER), tables.published(), "a_b & 100 % #1")
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1
    assert text.count(r"\midrule") == 3
    columns = int(re.search(r"\\multicolumn\{(\d+)\}", text).group(1))
    assert len(re.search(r"\\begin\{tabular\}\{(\w+)\}", text).group(1)) == columns
    rows = [line for line in text.splitlines() if line.endswith(r" \\") and "multicolumn" not in line]
    assert len(rows) == 1 + 4 + 6
    assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {columns}
    assert r"a\_b \& 100 \% \#1" in text
    assert text.count("{") == text.count("}")
    assert text.isascii()
    ends = [(m.group(1), m.group(2)) for m in re.finditer(r"\\(begin|end)\{(\w+)\}", text)]
    assert ends == [("begin", "table"), ("begin", "tabular"), ("end", "tabular"), ("end", "table")]


def test_escapes():
    assert escape(r"50% of A_1 & B#2 {x} ~ ^ \ $") == (
        r"50\% of A\_1 \& B\#2 \{x\} \textasciitilde{} \textasciicircum{} \textbackslash{} \$"
    )


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_printed_table_fits_and_loses_nothing(frames, width):
    out = io.StringIO()
    table = tables.make(frames, ORDER)
    terminal.show(frames, table, Console(file=out, width=width))
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "4 (3)" in text
    assert "sds: 1 non-finite" in text
    assert "the rule's gradient is not finite" in text
    row = table.set_index(["block", "method"]).loc[("survivors", "sdi")]
    assert f"{row['clip_score_mean']:.2f}" in text
    assert f"± {row['fog_std']:.1f}" in text
    at = [text.index(title) for title in (*tables.BLOCKS.values(), tables.PUBLISHED_TITLE)]
    assert all(a < b for a, b in pairwise(at))


def test_a_job_with_another_number_of_steps_shows(tmp_path):
    rng = torch.Generator().manual_seed(0)
    for k, steps in enumerate((300, 500)):
        write_job(tmp_path, "sdi", WORLD[k], 0, ball(8), scores=random_scores(rng), steps=steps)
    assert tables.make(load(tmp_path))["steps"].tolist() == ["300/500"]


def test_damaged_scores_are_said(tmp_path):
    job = write_job(tmp_path, "sdi", Prompt("07-x", "x"), 0, ball(8))
    for content in ("", "view\n1\n", "\0\0"):
        (job / "scores.csv").write_text(content)
        with pytest.raises(UserError, match=r"scores\.csv"):
            load(tmp_path)


def test_nan_scores_are_not_in_the_means(tmp_path):
    scores = random_scores(torch.Generator().manual_seed(0))
    scores["chroma"][:5] = torch.nan
    write_job(tmp_path, "sdi", WORLD[0], 0, ball(8), scores=scores)
    row = tables.make(load(tmp_path)).iloc[0]
    assert row["chroma_mean"] == pytest.approx(np.mean(scores["chroma"][5:].tolist()), rel=1e-5)
