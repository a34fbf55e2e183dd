"""Numbers of a page are those of the results that are committed: whoever changes one changes the other."""

from __future__ import annotations

import pandas as pd
import pytest

from engine.recipes.tables import recipe
from engine.recipes.tuned import SCALES
from engine.studies import tuned
from files import read_json
from methods.base import fields_of
from tests.guide.pages import ROOT

PAGE = (ROOT / "world" / "README.md").read_text("utf-8")
SCORES = pd.read_csv(ROOT / "results" / "reference" / "world-prompts.csv").set_index(["method", "prompt_id"])
MEANS = [
    *("clip_score", "iqa_quality", "image_reward", "r_precision", "r_precision_2", "iou", "volume_iou", "psnr"),
    *("janus", "sharpness", "chroma", "clipped", "fog"),
]
METHODS = ROOT / "docs" / "methods.md"
FRONT, ALL = ROOT / "README.md", ROOT / "results" / "reference" / "world.md"


def rows(header: str, page: str = PAGE, head: bool = False) -> list[list[str]]:
    """The cells of the table under a header that begins so; with its `head`, if asked."""
    _, found, below = page.partition(f"\n{header}")
    assert found, f"no table begins with {header}"
    lines = (header + below).split("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return cells if head else cells[2:]


def test_the_front_pages_table_is_that_of_the_committed_results():
    titles, _, *said = rows("| method | CLIP score", FRONT.read_text("utf-8"), head=True)
    names, _, *found = rows("| Method ", ALL.read_text("utf-8"), head=True)
    kept = {row[0]: dict(zip(names, row, strict=True)) for row in found}
    assert [row[0].strip("`") for row in said] == list(kept)
    for name, *cells in said:
        for title, cell in zip(titles[1:], cells, strict=True):
            assert cell == kept[name.strip("`")][title], (name, title)


def number(text: str) -> float:
    return float(text.rstrip("°"))


@pytest.mark.parametrize("method", ["sdi", "sds", "sds-cfg7.5", "sds-anneal", "vsd"])
def test_the_means_of_all_prompts_are_those_of_the_scores(method):
    (said,) = (row[1:] for row in rows("| | CLIP score | IQA quality %") if row[0] == f"`{method}`")
    scores = SCORES.loc[method]
    for metric, text in zip(MEANS, said, strict=True):
        mean = scores[metric].median() if metric == "iou" else scores[metric].mean()
        half = 0.5 * 10.0 ** -len(text.partition(".")[2])
        assert number(text) == pytest.approx(mean, abs=half + 0.0006), metric  # scores have three decimals


def test_each_prompt_has_the_numbers_of_its_scores():
    said = rows("| prompt | sdi | yaw | PSNR | sds | yaw | PSNR |")
    assert len(said) == 43
    for name, *cells in said:
        for method, (iou, yaw, psnr) in (("sdi", cells[:3]), ("sds", cells[3:])):
            scores = SCORES.loc[method]
            own = scores[scores.index.str.startswith(name.replace(" ", "-"))]
            assert len(own) == 1, name
            assert number(iou) == pytest.approx(own["iou"].iloc[0], abs=0.0056), name
            assert number(yaw) == pytest.approx(own["yaw"].iloc[0], abs=0.51), name
            assert number(psnr) == pytest.approx(own["psnr"].iloc[0], abs=0.051), name


def test_the_prompt_that_stays_below_is_the_one_that_the_page_names():
    assert "One prompt stays below IoU .6, the strawberry, and so does SDS there." in PAGE
    both = SCORES.loc[["sdi", "sds"]]
    below = both.index[both["iou"] < 0.6]
    assert set(below) == {(method, "07-a-ripe-strawberry") for method in ("sdi", "sds")}


@pytest.mark.parametrize(("metric", "column"), [("clip_score", 0), ("psnr", 2)])
def test_the_seeds_on_the_page_have_the_means_of_the_scores(metric, column):
    scores = pd.read_csv(ROOT / "results" / "reference" / "world-seeds-prompts.csv").set_index("method")
    said = {name.strip("`"): cells[column].split(",") for name, *cells in rows("| seeds 0, 1, 2 |")}
    assert sorted(said) == sorted(set(scores.index))
    for method, seeds in said.items():
        assert len(seeds) == 3
        assert sum(map(number, seeds)) / 3 == pytest.approx(scores.loc[method, metric].mean(), abs=0.051), method


def test_the_lengths_on_the_page_have_the_numbers_of_the_ablation():
    table = pd.read_csv(ROOT / "docs" / "ablations" / "length.csv")
    found = table[table["block"] == "survivors"].set_index("label")
    metrics = ("clip_score_mean", "psnr_mean", "sharpness_mean", "fog_mean")
    for name, *cells in rows("| 150, 300, 600, 1,500, 3,000 steps |"):
        for metric, cell in zip(metrics, cells, strict=True):
            said = cell.split(",")
            half = 0.5 * 10.0 ** -len(said[0].partition(".")[2])
            for times, text in zip((0.5, 1, 2, 5, 10), said, strict=True):
                value = found.loc[f"{name.strip('`')}, x{times:g}", metric]
                assert number(text) == pytest.approx(value, abs=half + 0.0006), (name, metric, times)


def test_the_sweeps_on_the_page_are_those_that_are_kept():
    said = {row[0].strip("`"): row[1:] for row in rows("| rule | settings |", METHODS.read_text("utf-8"))}
    kept = {path.stem: read_json(path) for path in (ROOT / "results" / "tuned" / "world").glob("*.json")}
    assert said.keys() == kept.keys()
    for method, (settings, best, mean, before, gap) in said.items():
        made, evidence = recipe("world", "controlled", method), kept[method]["evidence"]
        scales = {key: fields_of(made.method).get(field) for key, field in SCALES.items()}
        (own,) = [
            row for row in evidence if row["lr"] == made.lr and all(row[key] in (None, s) for key, s in scales.items())
        ]
        found = kept[method]["best"]
        assert (int(settings), best) == (len(evidence), tuned.said(found))
        assert (mean, before) == (f"{found['mean']:.1f}", f"{own['mean']:.1f}")
        assert gap == (f"{-own['gap']:.1f} ± {own['gap_stderr']:.1f}" if not own["best"] else "-")
