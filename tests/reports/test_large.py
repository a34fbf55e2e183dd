"""What keeps the table of a large run quick: no torch, each file read once, numbers written as they were."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from eval.metrics import METRICS
from reports import columns, load, write
from reports.columns import measured
from run_benchmark import main
from tests.reports.many import synthesise

ROOT = Path(__file__).parents[2]
PROBE = """
import sys, run_benchmark
code = run_benchmark.main(sys.argv[1:])
sys.exit(code or 10 * ("torch" in sys.modules))
"""


def test_a_table_whose_figure_is_there_imports_no_torch(tmp_path):
    synthesise(tmp_path, methods=2, prompts=3, seeds=1, views=4, size=8)
    assert main(["table", str(tmp_path)]) == 0  # draws comparison.png, which asks for the truth
    names = ("scores.csv", "table.csv", "table.md", "table.tex", "differences.csv", "measures.png", "comparison.png")
    before = {name: written(tmp_path / name) for name in names}
    again = subprocess.run([sys.executable, "-c", PROBE, "table", str(tmp_path)], cwd=ROOT, capture_output=True)
    assert again.returncode == 0, again.stderr
    assert before == {name: written(tmp_path / name) for name in names}


def test_the_glance_is_drawn_again_where_the_table_says_something_else(tmp_path):
    synthesise(tmp_path, methods=2, prompts=3, seeds=1, views=4, size=8)
    assert main(["table", str(tmp_path)]) == 0
    before = {name: written(tmp_path / name) for name in ("table.csv", "measures.png")}
    shutil.rmtree(next(tmp_path.glob("sdi/03-*")))
    assert main(["table", str(tmp_path)]) == 0
    assert all(written(tmp_path / name) != was for name, was in before.items())


def written(file):
    """When, and what."""
    return file.stat().st_mtime_ns, file.read_bytes()


def test_metrics_read_from_their_files_are_those_that_are_imported():
    read = columns._read("eval.metrics").METRICS
    assert [dataclasses.replace(a, function=b.function) for a, b in zip(read, METRICS, strict=True)] == [*METRICS]


def test_a_metric_that_only_an_import_gives_is_imported(monkeypatch):
    def fails(module):
        raise NameError("torch")

    monkeypatch.setattr(columns, "_read", fails)
    monkeypatch.delitem(sys.modules, "eval.metrics")
    assert [m.key for m in measured("paper", "more", "hidden")] == [m.key for m in METRICS]


def test_each_file_of_a_job_is_read_once(tmp_path, monkeypatch):
    synthesise(tmp_path, methods=2, prompts=2, seeds=2, views=4, size=8)
    read, read_bytes = Counter(), Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: read.update([self]) or read_bytes(self))
    assert len(load(tmp_path).jobs) == 8
    own = {file: n for file, n in read.items() if tmp_path in file.parents}
    assert len(own) == 4 * 8  # record, settings, scores, and by what they were scored
    assert set(own.values()) == {1}


def test_rows_are_written_as_pandas_writes_them():
    texts, x = ["sdi", 'my "rule", mine', "a\nb\r"], [0.1, np.nan, 1e-7]
    frame = pd.DataFrame({"method": texts, "view": [0, 1, 2], "x": x, "y": [1.0, 2.0, 1e22], "cause": [None, "", "ä"]})
    assert write.rows_as_csv(frame) == frame.to_csv(index=False)
