import json
from io import StringIO

import pytest
import torch
from rich.console import Console

from errors import UserError
from reports import load, sweep
from reports.columns import selectable
from tests.reports.synthetic import WORLD, random_scores, write_job

GRID = {
    "cfg5": {"cfg": 5.0, "inversion_cfg": None, "lr": 0.01, "guidance_weight": 1.0},
    "cfg7": {"cfg": 7.0, "inversion_cfg": None, "lr": 0.01, "guidance_weight": 2.0},
}
FACTS = {"method": "sds", "suite": "world", "track": "controlled", "steps": 300, "prompts": ["a", "b"], "source": None}


@pytest.fixture
def run(tmp_path):
    """cfg7 is the better by 5; cfg9 is of an earlier sweep."""
    for name, level in (("cfg5", 0.0), ("cfg7", 5.0), ("cfg9", 50.0)):
        rng = torch.Generator().manual_seed(0)
        for prompt in WORLD[:3]:
            write_job(tmp_path, name, prompt, pictures=None, scores=random_scores(rng, level))
    return tmp_path


def found(run, select="clip_score", grid=GRID):
    frames = sweep.only(load(run), {(name, p.id, "0") for name in grid for p in WORLD[:3]})
    return sweep.table(frames, grid, select)


def test_the_best_has_its_evidence(run):
    table = found(run)
    assert table["setting"].tolist() == ["cfg5", "cfg7"]
    assert table["best"].tolist() == [False, True]
    own = load(run).wide.query("method == 'cfg5'")
    by_prompt = own.groupby("prompt_id")["clip_score"].mean()
    assert table["mean"][0] == pytest.approx(own["clip_score"].mean())
    assert table["stderr"][0] == pytest.approx(by_prompt.std() / 3**0.5)  # clustered: prompts of equal size
    assert table["gap"][0] == pytest.approx(-5, abs=1e-4)
    assert table["gap_stderr"][0] == pytest.approx(0, abs=1e-4)  # the same draws
    sweep.write(run, table, "clip_score", FACTS)
    best = json.loads((run / "best.json").read_text())
    assert (best["best"]["cfg"], best["best"]["guidance_weight"], best["select"]) == (7.0, 2.0, "clip_score")
    assert [row["n"] for row in best["evidence"]] == [3, 3]
    text = (run / "sweep.md").read_text()
    assert "| **cfg7** " in text
    assert "edge of what was swept (--cfg 7)" in text
    heard = StringIO()
    sweep.show(table, "clip_score", Console(file=heard, width=120))
    assert all(name in heard.getvalue() for name in GRID)


@pytest.mark.parametrize(("select", "best"), [("iou", "cfg7"), ("fog", "cfg5"), ("sharpness", "cfg5")])
def test_a_metric_has_its_own_direction(run, select, best):
    """Sharpness is .7 and 1.2 here: nearest to 1 wins."""
    table = found(run, select)
    means = dict(zip(table["setting"], table["mean"], strict=True))
    if select == "sharpness":
        best = min(means, key=lambda name: abs(means[name] - 1))
    assert table.loc[table["best"], "setting"].tolist() == [best]


def test_a_setting_gains_nothing_by_losing_jobs(run):
    """A diverged job counts as its background; a crashed one rules the setting out."""
    rng = torch.Generator().manual_seed(1)
    write_job(run, "cfg7", WORLD[4], status="non-finite", scores=random_scores(rng, -500.0))
    frames = load(run)
    table = sweep.table(frames, GRID, "clip_score")
    assert table.loc[table["best"], "setting"].tolist() == ["cfg5"]
    assert table["diverged_pct"].tolist() == [0, 25]
    write_job(run, "cfg5", WORLD[4], status="crashed")
    assert sweep.table(load(run), GRID, "clip_score").set_index("setting")["best"].to_dict() == {
        "cfg5": False, "cfg7": True,
    }  # fmt: skip
    write_job(run, "cfg7", WORLD[5], status="crashed")
    with pytest.raises(UserError, match="No setting has CLIP score in all its jobs"):
        sweep.table(load(run), GRID, "clip_score")


def test_a_setting_is_selected_by_what_is_measured():
    known = selectable({"clip", "iqa", "candidates", "opacity", "truth"})
    unknown = selectable({"clip", "iqa", "candidates", "opacity", "directions"})
    assert {"iou", "psnr_paired"} <= {*known}
    assert {*unknown} - {*known} == {"view_preference"}
    assert not {"iou", "image_reward", "clip_score_2", "opacity"} & {*unknown}
