"""A judge that an option names is loaded once, and again where its files have changed."""

from collections import Counter
from pathlib import Path

import pytest
import transformers

from eval import opened
from prompts import paper43
from run_benchmark import main
from tests.eval.clip import write_clip
from tests.intake.made import views
from tests.reports.synthetic import ball, write_job


@pytest.fixture
def loads(monkeypatch):
    """How often each folder's network was built."""
    found, build = Counter(), transformers.CLIPModel.from_pretrained.__func__

    def counted(cls, folder, **settings):
        found[Path(folder).name] += 1
        return build(cls, folder, **settings)

    monkeypatch.setattr(transformers.CLIPModel, "from_pretrained", classmethod(counted))
    opened._loaded.cache_clear()
    return found


@pytest.fixture
def clips(tmp_path):
    return [str(write_clip(tmp_path / name)) for name in ("first", "second")]


def test_options_that_name_a_clip_load_it_once(tmp_path, loads, clips):
    write_job(tmp_path / "run", "sds", paper43()[3], 0, ball(8))
    first, second = clips
    given = ["--clip", first, "--clip2", second, "--device", "cpu"]
    assert main(["score", str(tmp_path / "run"), "--suite", "world", *given]) == 0
    assert loads == {"first": 1, "second": 1}


def test_prompts_of_ones_own_are_read_by_the_judges_that_score(tmp_path, loads, clips):
    """Whether they are too long is said before any work."""
    views(tmp_path / "in" / "mine" / "A hat of glass" / "0")
    (tmp_path / "prompts.txt").write_text("A hat of glass\n")
    given = ["--prompts", str(tmp_path / "prompts.txt"), "--clip", clips[0], "--clip2", clips[1]]
    assert main(["evaluate", str(tmp_path / "in"), "--suite", "world", *given, "--out", str(tmp_path / "run")]) == 0
    assert loads == {"first": 1, "second": 1}


class Judge:
    def __init__(self, name):
        self.text, self.device = name.read_text(), "cpu"

    def on(self, device):
        self.device = device
        return self


def test_a_changed_file_is_read_again_and_a_device_is_gone_to(tmp_path):
    file = tmp_path / "weights"
    file.write_text("one")
    one = opened.opened(Judge, file, file)
    assert (one.text, one.device) == ("one", "cpu")
    assert opened.opened(Judge, file, file, "cuda") is one
    assert one.device == "cuda"
    file.write_text("other")
    assert opened.opened(Judge, file, file).text == "other"
    folder = tmp_path / "folder"
    folder.mkdir()
    read = lambda path: Judge(path / "weights")  # noqa: E731
    (folder / "weights").write_text("one")
    assert opened.opened(read, folder, folder).text == "one"
    (folder / "weights").write_text("two")
    assert opened.opened(read, folder, folder).text == "two"
    with pytest.raises(FileNotFoundError):
        opened.opened(Judge, tmp_path / "gone", tmp_path / "gone")
