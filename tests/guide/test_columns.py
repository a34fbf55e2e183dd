"""docs/metrics.md describes every column that a table, scores.csv or differences.csv can have, as it is declared."""

from __future__ import annotations

import re

import pandas as pd
import pytest
import torch

from reports import load, write
from reports.columns import measured, shown
from reports.uncertainty.differences import FACTS
from tests.guide.columns import PAGE, groups, renewed
from tests.reports.synthetic import WORLD, ball, random_scores, write_job

TEXT = PAGE.read_text("utf-8")
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))


def test_tables_are_those_of_the_declarations():
    assert renewed(TEXT) == TEXT, "renew it: python -m tests.guide.columns"


def test_every_column_is_in_one_group():
    grouped = [column.key for columns in groups().values() for column in columns]
    assert sorted(grouped) == sorted({c.key for c in (*shown(), *measured("hidden"))})


@pytest.mark.parametrize("group", groups())
def test_every_column_says_how_it_is_computed(group):
    said = "".join(re.findall(r"^- .*\n(?:  .*\n)*", SECTIONS[group], re.MULTILINE))
    for column in groups()[group]:
        assert f"**{column.title}**" in said, column.title
        assert f"`{column.key}`" in said, column.key


def test_every_column_of_a_run_s_files_is_described(tmp_path):
    rng = torch.Generator().manual_seed(0)
    for method, hue in (("sdi", 0), ("sds", 1)):
        for prompt in WORLD[:3]:
            for seed in (0, 1):
                write_job(tmp_path, method, prompt, seed, ball(8, hue=hue), scores=random_scores(rng))
    write.tables(tmp_path, load(tmp_path))
    named = set(re.findall(r"`_?([a-z_]+)`", SECTIONS["The files of a run"]))
    keys = {column.key for columns in groups().values() for column in columns}
    table, scores = (set(pd.read_csv(tmp_path / name)) for name in ("table.csv", "scores.csv"))
    assert any(name.endswith("_seed_sd") for name in table)
    for name in table - keys:
        (key,) = {key for key in keys if name.startswith(f"{key}_")} or {""}
        assert (name.removeprefix(f"{key}_") if key else name) in named, name
    assert scores - keys <= named
    assert {*FACTS, "method", "metric", "baseline"} <= named
