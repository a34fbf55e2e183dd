"""The figure of means: its dots stand where the table's means do."""

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from eval.statistics import reach
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
    table, panel = make(frames).set_index("method"), Figure().subplots()
    measures._panel(panel, frames.wide, column("iou"), ["sds", "sdi"])
    for bars, method in zip(panel.containers, ("sds", "sdi"), strict=True):
        dot, _, (line,) = bars
        assert np.isclose(dot.get_xdata()[0], table.loc[method, "iou_mean"])
        low, high = line.get_segments()[0][:, 0]
        assert np.isclose(high - low, 2 * reach(3) * table.loc[method, "iou_stderr"])


def test_the_figure_is_written_whole_whatever_ran(tmp_path):
    write_job(tmp_path, "sdi", WORLD[0], 0, ball(8), scores=random_scores(torch.Generator().manual_seed(0)))
    path = measures.measures(tmp_path, load(tmp_path))  # one prompt: no interval
    assert Image.open(path).width > 800
    assert not list(tmp_path.glob("*.aside"))
