"""A page that is written again while jobs run: until all is done and scored, and then as it stays."""

import torch
from rich.console import Console

import run_benchmark
from commands.runs import report
from errors import UserError
from reports import page
from reports.page import Live
from tests.reports.synthetic import WORLD, ball, random_scores, write_job


def watch(monkeypatch, looks, fails=()):
    """What was written, and what was said, over looks at the runs, each some seconds after the last."""
    looks, clock, written = list(looks), [0.0], []
    monkeypatch.setattr(report, "looked", lambda runs, level: looks.pop(0))
    monkeypatch.setattr(report.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    monkeypatch.setattr(report.time, "monotonic", lambda: clock[0])

    def write(live):
        written.append(live and live.said)
        if len(written) in fails:
            raise UserError("There are no jobs yet.")
        return "index.html"

    console = Console(record=True, width=200)
    report.watched(["run"], 50.0, 1, write, console)
    assert not looks
    return written, console.export_text()


def test_it_is_written_until_jobs_are_done_and_scored(monkeypatch):
    looks = [
        (True, "none", 0, 0),
        (True, "one", 1, 0),
        (False, "two", 2, 0),
        (False, "scoring", 1, 1),
        (False, "", 0, 2),
    ]
    written, said = watch(monkeypatch, looks, fails=(1,))
    assert written == ["none", "one", "two", "scoring", None]
    assert "Not yet: There are no jobs yet." in said
    assert said.count("written again every 50 s") == 1


def test_jobs_that_nobody_scores_are_waited_for_a_while(monkeypatch):
    written, said = watch(monkeypatch, [(True, "a", 0, 0)] + [(False, "b", 2, 0)] * 3)
    assert written == ["a", "b", "b", None]
    assert "2 jobs are not scored: run_benchmark.py score RUN" in said


def test_a_run_that_is_done_is_written_once_and_asks_for_no_more(tmp_path, capsys):
    for prompt in WORLD[:2]:
        write_job(tmp_path, "sdi", prompt, 0, ball(4, 16), scores=random_scores(torch.Generator(), views=4))
    assert report.looked([tmp_path])[2:] == (0, 2)
    assert run_benchmark.main(["report", str(tmp_path), "--live", "5", "--pictures", "none"]) == 0
    html = (tmp_path / "page" / "index.html").read_text("utf-8")
    assert "data-live" not in html
    page.write(
        [tmp_path], tmp_path / "page", [], lambda run: None, Console(quiet=True), "none", live=Live(7, 1e9, "3 run.")
    )
    html = (tmp_path / "page" / "index.html").read_text("utf-8")
    assert 'data-live="7"' in html
    assert "3 run. This page is written again every 7 s" in html
    (tmp_path / "sdi" / WORLD[1].id / "0" / "scores.csv").unlink()
    assert report.looked([tmp_path])[2:] == (1, 1)
    assert run_benchmark.main(["report", str(tmp_path / "gone"), "--live"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
