"""The figure of means: its dots stand where the table's means do."""

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from eval.metrics import METRICS
from reports import load, measures
from reports.columns import column
from reports.tables import make
from tests.reports.synthetic import WORLD, ball, random_scores, write_job


def test_a_dot_is_the_tables_mean_and_its_bar_the_interval(tmp_path):
    rng = torch.Generator().manual_seed(0)
    for method in ("sdi", "sds"):
        for prompt in WORLD[:3]:
            write_job(tmp_path, method, prompt, 0, ball(8), scores=random_scores(rng))
    frames = load(tmp_path)
    table, panel = make(frames), Figure().subplots()
    measures._panel(panel, table, column("iou"))
    bars, *_, dots = panel.collections
    assert np.allclose(dots.get_offsets(), [(mean, y) for y, mean in enumerate(table["iou_mean"])])
    for segment, (_, row) in zip(bars.get_segments(), table.iterrows(), strict=True):
        low, high = segment[:, 0]
        assert np.allclose((low, high), (row["iou_low"], row["iou_high"]))
        assert 0 <= low < row["iou_mean"] < high <= 1


def test_the_figure_has_a_panel_a_measure_and_a_row_a_method(tmp_path, monkeypatch):
    rng, figures, rows = torch.Generator().manual_seed(0), [], ["sds", "sdi"]  # from below: the first on top
    for method in rows:
        write_job(tmp_path, method, WORLD[0], 0, ball(8), scores=random_scores(rng))
    savefig = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: figures.append(self) or savefig(self, *a, **k))
    path = measures.measures(tmp_path, make(load(tmp_path), ["sdi", "sds"]))  # one prompt: no interval
    (figure,) = figures
    shown = [axes for axes in figure.axes if axes.get_visible()]
    wide = load(tmp_path).wide
    columns = [c for c in METRICS if c.group != "hidden" and c.key in wide and wide[c.key].notna().any()]
    assert [axes.get_title() for axes in shown] == [c.heading for c in columns]
    assert len(columns) > measures.PANELS
    for axes, metric in zip(shown, columns, strict=True):
        dots = axes.collections[-1].get_offsets()
        assert np.allclose(dots, [(wide.loc[wide["method"] == m, metric.key].mean(), y) for y, m in enumerate(rows)])
    assert [label.get_text() for label in shown[0].get_yticklabels()] == rows
    wide_inches, high = figure.get_size_inches()
    assert Image.open(path).size == (round(110 * wide_inches), round(110 * high))
    assert not list(tmp_path.glob("*.aside"))
