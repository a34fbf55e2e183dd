"""Tables of synthetic runs: every number by hand, every failure counted, every form readable."""

import io
import json
import re
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

from errors import UserError
from prompts import Prompt
from reports import gate, load, tables, terminal, write
from reports.columns import column
from reports.latex import escape, latex
from reports.published import TABLE_1
from reports.uncertainty import differences
from reports.uncertainty.statistics import clustered_stderr
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
    values = frames.wide.drop(columns=["method", "prompt_id", "seed", "status", "view", "azimuth"])
    assert len(frames.long) == values.notna().to_numpy().sum()
    one = frames.long.query("method == 'sdi' and metric == 'psnr' and view == 3 and prompt_id == @WORLD[1].id")
    wide = frames.wide.query("method == 'sdi' and view == 3 and prompt_id == @WORLD[1].id")
    assert one["value"].item() == wide["psnr"].item()


def test_means_are_over_survivors_and_again_over_all(frames):
    table = tables.make(frames, ORDER, common=False).set_index(["block", "method"])
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
    gaps = differences.differences(frames, "sds").set_index("metric")
    ok = frames.wide[frames.wide["status"] == "ok"].sort_values(["prompt_id", "view"])
    a, b = (ok[ok["method"] == m]["iou"].to_numpy() for m in ("sdi", "sds"))
    assert gaps.loc["iou", "mean"] == pytest.approx((a - b).mean())
    assert gaps.loc["iou", "low"] < gaps.loc["iou", "mean"] < gaps.loc["iou", "high"]
    assert gaps.loc["iou", ["n_views", "n_prompts"]].tolist() == [32, 4]


def test_published_rows_are_the_papers():
    paper = TABLE_1.read().set_index("method")
    assert len(paper) == 6
    assert paper.loc["SDI", ["clip_score_mean", "diverged_pct", "memory_gb"]].tolist() == [33.47, 4.7, 39.2]
    assert tables.cell(paper.loc["SDS"], column("clip_score")) == "29.81 ± 2.49"


def test_files_of_a_run(run, frames):
    table = write.tables(run, frames, ORDER, "sds", common=False)
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
    assert tables.cell(row, column("image_reward")) == "-"
    assert "-" in tables.cell(TABLE_1.read().iloc[0], column("iou"))


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
    table = write.tables(tmp_path, frames).set_index("method")
    assert table.loc["sdi", "view_preference_mean"] == pytest.approx(100 / 6)
    assert table.loc["sds", "view_preference_mean"] == 100
    gap = differences.differences(frames, "sdi").set_index("metric").loc["view_preference"]
    assert gap["mean"] == pytest.approx(500 / 6)
    assert gap["n_views"] == 6
    again = pd.read_csv(tmp_path / "scores.csv")["view_preference"]
    assert again.notna().sum() == 12
    assert "View preference (%) ↓" in (tmp_path / "table.md").read_text()


def test_runs_without_scores_have_a_table(tmp_path):
    write_job(tmp_path, "sdi", WORLD[0], 0, ball(8))
    frames = load(tmp_path)
    table = write.tables(tmp_path, frames)
    assert table["n"].tolist() == [0]
    assert terminal.troubles(frames) == [
        f"sdi: 1 without scores, in no mean ({WORLD[0].id[:2]}/0): score the run, which says why"
    ]


def test_latex_is_booktabs_with_every_row_of_the_same_length(frames):
    text = latex(tables.make(frames, ORDER), TABLE_1.read(), "a_b & 100 % #1")
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
    table = tables.make(frames, ORDER, common=False)
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


def outputs(run, frames, **options):
    """All that a reader sees of a table, without line ends."""
    out = io.StringIO()
    terminal.show(frames, write.tables(run, frames, ORDER, **options), Console(file=out, width=200))
    files = [(run / f"table.{ending}").read_text() for ending in ("md", "tex")]
    return [re.sub(r"\s+", " ", text) for text in (out.getvalue(), *files)]


@pytest.fixture
def uneven(tmp_path):
    """sdi on ten prompts, of which the last six are easy; sds on four, vsd on none that it did not crash in."""
    rng = torch.Generator().manual_seed(0)
    for k, prompt in enumerate(WORLD[:10]):
        write_job(tmp_path, "sdi", prompt, scores=random_scores(rng, 50.0 * (k >= 4)))
    for prompt in WORLD[:4]:
        write_job(tmp_path, "sds", prompt, scores=random_scores(rng))
    write_job(tmp_path, "vsd", WORLD[0], status="crashed")
    return tmp_path


def test_rows_are_over_what_all_methods_have_and_the_rest_is_said(uneven):
    frames = load(uneven)
    table = tables.make(frames, ORDER).set_index("method")
    assert table.loc[["sds", "sdi", "vsd"], "n"].tolist() == [4, 4, 0]
    assert table.loc[["sds", "sdi", "vsd"], "n_left_out"].tolist() == [0, 6, 0]
    assert table.loc["vsd", "n_failed"] == 1
    four = frames.wide.query("method == 'sdi' and prompt_id in @ids", local_dict={"ids": [p.id for p in WORLD[:4]]})
    assert table.loc["sdi", "clip_score_mean"] == pytest.approx(four["clip_score"].mean())
    assert all("Over the 4 prompts that all methods have; sdi has 6 more." in text for text in outputs(uneven, frames))


def test_all_jobs_can_be_asked_for_and_that_they_are_unlike_is_said(uneven):
    frames = load(uneven)
    table = tables.make(frames, ORDER, common=False).set_index("method")
    assert table.loc[["sds", "sdi"], "n"].tolist() == [4, 10]
    said = "Rows are over unlike jobs, and not to be compared: sds 4, sdi 10."
    assert all(said in text for text in outputs(uneven, frames, common=False))


def test_seeds_count_as_prompts_do(tmp_path):
    rng = torch.Generator().manual_seed(0)
    for seed in (0, 1, 2):
        write_job(tmp_path, "sdi", WORLD[0], seed, scores=random_scores(rng))
        if seed < 2:
            write_job(tmp_path, "sds", WORLD[0], seed, scores=random_scores(rng))
    frames = load(tmp_path)
    table = tables.make(frames, ORDER)
    assert table["n"].tolist() == [2, 2]
    assert tables.remarks(frames, table) == [
        "Over the 2 pairs of prompt and seed that all methods have; sdi has 1 more."
    ]


def test_methods_without_a_common_prompt_are_not_to_be_compared(tmp_path):
    rng = torch.Generator().manual_seed(0)
    for k, method in enumerate(("sds", "sdi")):
        write_job(tmp_path, method, WORLD[k], scores=random_scores(rng))
    frames = load(tmp_path)
    table = tables.make(frames, ORDER)
    assert table["n"].tolist() == [1, 1]
    assert tables.remarks(frames, table)[0].startswith("Methods have no prompt and seed in common.")


def test_jobs_that_a_method_lost_are_left_out_of_the_others(tmp_path):
    """A crash is no outcome; a divergence is one, and its prompt stays."""
    rng = torch.Generator().manual_seed(0)
    for prompt in WORLD[:4]:
        write_job(tmp_path, "sdi", prompt, scores=random_scores(rng))
    write_job(tmp_path, "sds", WORLD[0], scores=random_scores(rng))
    write_job(tmp_path, "sds", WORLD[1], status="non-finite", scores=random_scores(rng, opacity=0.0))
    write_job(tmp_path, "sds", WORLD[2], status="crashed")
    write_job(tmp_path, "sds", WORLD[3])
    table = tables.make(load(tmp_path), ORDER).set_index(["block", "method"])
    assert table.loc[("survivors", "sds"), ["n", "n_failed", "n_left_out", "diverged_pct"]].tolist() == [1, 2, 0, 50]
    assert table.loc[("survivors", "sdi"), ["n", "n_failed", "n_left_out", "diverged_pct"]].tolist() == [2, 0, 2, 0]
    assert table.loc["all", "n"].tolist() == [2, 2]


def test_jobs_of_several_commits_priors_and_settings_are_said(tmp_path):
    rng = torch.Generator().manual_seed(0)
    for k, (commit, steps, prior) in enumerate((("abc", 300, "p"), ("abc", 300, "p"), ("def+", 500, "q"))):
        scores = random_scores(rng)
        write_job(tmp_path, "sdi", WORLD[k], scores=scores, commit=commit, steps=steps, prior=prior * 64)
    frames = load(tmp_path)
    assert frames.jobs["commit"].tolist() == ["abc", "abc", "def+"]
    for text in outputs(tmp_path, frames):
        assert "Jobs are of several commits: abc (2 jobs), def+ (1 job)." in text
        assert f"Jobs are of several priors: {'p' * 24} (2 jobs), {'q' * 24} (1 job)." in text
        assert "Jobs of sdi are of 2 settings." in text


def test_a_run_of_one_kind_has_no_remarks(tmp_path):
    rng = torch.Generator().manual_seed(0)
    for method in ORDER:
        write_job(tmp_path, method, WORLD[0], scores=random_scores(rng), commit="abc")
    frames = load(tmp_path)
    assert tables.remarks(frames, tables.make(frames)) == []


def test_columns_of_which_a_prompt_has_no_number_say_over_how_many_they_are(tmp_path):
    rng = torch.Generator().manual_seed(0)
    for method in ORDER:
        for k, prompt in enumerate(WORLD[:4]):
            scores = random_scores(rng)
            scores["chroma"][:3] = torch.nan  # of some views: the prompt has a number still
            if k != 1:
                scores["iou"][:] = torch.nan
            if method == "sdi" and k == 0:
                scores["fog"][:] = torch.nan
            write_job(tmp_path, method, prompt, scores=scores)
    frames = load(tmp_path)
    table = tables.make(frames, ORDER)
    assert table[["n_prompts", "iou_prompts", "fog_prompts"]].to_numpy().tolist() == [[4, 1, 4], [4, 1, 3]]
    assert table["iou_mean"][0] == pytest.approx(
        frames.wide.query("method == 'sds' and prompt_id == @WORLD[1].id")["iou"].mean()
    )
    said = "Some means are over fewer prompts, as the others have no value: IoU over 1 of 4, Fog over 3 of 4."
    assert tables.remarks(frames, table) == [said]
    for text in outputs(tmp_path, frames):
        assert said in text


def test_columns_that_ask_for_a_front_say_why_prompts_without_one_have_no_value(tmp_path):
    rng = torch.Generator().manual_seed(0)
    for k, prompt in enumerate(WORLD[:4]):
        scores = random_scores(rng)
        scores["front_back_cosine"] = torch.full((8,), torch.nan if k else 0.7)
        scores["chroma"] *= 1 if k else torch.nan
        write_job(tmp_path, "sdi", prompt, scores=scores)
    frames = load(tmp_path)
    assert tables.remarks(frames, tables.make(frames)) == [
        "Some means are over fewer prompts, as the others have no value (an object without a front has no back): "
        "Front-back cosine over 1 of 4, Chroma over 3 of 4."
    ]


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"memory": "process peak"}, "on a CPU its peak is a process's"),
        ({"memory": "CUDA peak", "together": 4}, "jobs side by side share one peak"),
    ],
)
def test_memory_that_is_not_a_jobs_own_is_left_out(tmp_path, record, says):
    job = write_job(tmp_path, "sdi", WORLD[0], scores=random_scores(torch.Generator().manual_seed(0)))
    held = json.loads((job / "record.json").read_text())
    (job / "record.json").write_text(json.dumps(held | record))
    frames = load(tmp_path)
    table = tables.make(frames)
    assert tables.cell(table.iloc[0], column("memory_gb")) == "-"
    assert says in tables.remarks(frames, table)[0]


def test_a_damaged_record_is_a_failed_job(tmp_path):
    rng = torch.Generator().manual_seed(0)
    for prompt in WORLD[:2]:
        job = write_job(tmp_path, "sdi", prompt, scores=random_scores(rng))
    (job / "record.json").write_text("{torn")
    frames = load(tmp_path)
    assert tables.make(frames)[["n", "n_failed"]].to_numpy().tolist() == [[1, 1]]
    assert "record.json cannot be read" in terminal.troubles(frames)[0]


def test_scores_from_before_stamps_are_read(tmp_path):
    """As an earlier version wrote them: with what they were measured in columns."""
    job = write_job(tmp_path, "sdi", WORLD[0], scores=random_scores(torch.Generator().manual_seed(0)))
    (job / "scores.json").unlink()
    old = {"encoder": "e" * 16, "candidates": "07 14", "truth": "known", "encoder_2": "1234567890123456"}
    pd.read_csv(job / "scores.csv").assign(**old).to_csv(job / "scores.csv", index=False)
    frames = load(tmp_path)
    assert not {*old} & {*frames.wide}
    assert frames.jobs["candidates"].item() == "07 14"
    same = {"encoder": "e" * 16, "encoder_iqa": "e" * 16, "encoder_2": "1234567890123456"}
    assert frames.jobs["judges"].item() == same


def test_jobs_that_are_seen_from_several_orbits_are_said_and_no_reference(tmp_path):
    rng = torch.Generator().manual_seed(0)
    jobs = [write_job(tmp_path, m, WORLD[0], 0, ball(8), scores=random_scores(rng)) for m in ("sds", "sdi")]
    said = "Jobs are seen from 2 orbits"
    assert said not in " ".join(tables.mixed(load(tmp_path).jobs))
    (jobs[0] / "views" / "orbit.json").write_text('{"views": 8, "elevation": 60.0, "resolution": 32}')
    assert said in " ".join(tables.mixed(load(tmp_path).jobs))
    with pytest.raises(UserError, match="mixes orbits"):
        gate.save(tmp_path, tmp_path / "reference.json")


def test_damaged_settings_are_a_failed_job(tmp_path):
    job = write_job(tmp_path, "sds", WORLD[0], 0, ball(8))
    (job / "config.json").write_text("{torn")
    assert load(tmp_path).jobs["status"].tolist() == ["failed"]
