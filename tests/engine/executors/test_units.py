"""One function for each of many jobs' folders: whatever its places meet, each unit has one result."""

import os
import shutil
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from engine.executors import EXECUTORS, Where, local, starting
from engine.executors.base import Away, Ended, Fatal, Lost, Over, Room
from engine.executors.units import LOSSES, WORTH, Carried, Lack, Spread, Unit, done
from engine.job import Job
from engine.scoring import runs as scoring
from engine.scoring.judges import Judges
from engine.scoring.runs import Told as Scored
from errors import UserError
from eval.score import due_of
from files import write_json
from prompts import Prompt
from run_benchmark import main
from suites.world import WORLD
from tests.engine import jobs
from tests.eval.clip import write_clip
from tests.reports.synthetic import ball, write_job

UNITS = [Unit(Path(f"sds/01-a/{k}"), k) for k in range(3)]


class Told:
    """An executor of two places that is told what happens: a list of events for each look."""

    def __init__(self, *happens):
        self.happens, self.given, self.stops = iter(happens), [], 0

    def room(self, jobs, device, missing, folders):
        return min(2, missing)

    def start(self, run, setup, places):
        assert (run / ".unfinished" / "commands").is_dir()  # by which nodes know that they see the run

    def submit(self, place, jobs):
        self.given.append((place, [work["more"] for _, work in jobs]))

    def events(self):
        return next(self.happens)

    def stop(self):
        self.stops += 1
        return True


def ended(k):
    return Ended(UNITS[k].path, {"result": 10 * k})


def spread(run, told):
    return [(unit.more, result) for unit, result in Spread(run, UNITS, told).done("cpu", ())]


def test_places_are_filled_until_nothing_is_left_and_results_come_as_they_end(tmp_path):
    told = Told([ended(1)], [ended(0), ended(2)])
    assert spread(tmp_path, told) == [(1, 10), (0, 0), (2, 20)]
    assert told.given == [(0, [0]), (1, [1]), (1, [2]), (0, []), (1, [])]
    assert told.stops
    assert not (tmp_path / ".unfinished").exists()


def test_what_a_lost_process_or_node_had_is_done_again(tmp_path):
    told = Told([Lost(0, "it was killed")], [Away(1, "its node is gone"), ended(2)], [Room(2)], [ended(0), ended(1)])
    assert sorted(spread(tmp_path, told)) == [(0, 0), (1, 10), (2, 20)]
    assert told.given[:4] == [(0, [0]), (1, [1]), (0, [2]), (0, [0])]
    assert sorted(given[0] for _, given in told.given if given) == [0, 0, 1, 1, 2]


def test_a_unit_that_its_processes_die_of_is_given_up_and_the_others_are_done(tmp_path):
    events = [event for _ in range(LOSSES + 1) for event in ([Lost(0, "it was killed")], [])]
    told = Told([ended(1)], [ended(2)], *events)
    assert spread(tmp_path, told) == [(1, 10), (2, 20), (0, Lack("it could not be done: it was killed"))]


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (Over("The head at h:1 is gone"), "The head at h:1 is gone: 1 of 3 jobs are done. The same command"),
        (Fatal("The disk is full."), "The disk is full."),
    ],
)
def test_what_ends_all_is_one_sentence(tmp_path, event, said):
    told = Told([ended(0)], [event])
    with pytest.raises(UserError, match=said):
        spread(tmp_path, told)
    assert told.stops


def refused(folder, more, device):
    raise UserError("The disk is full.")


def broken(folder, more, device):
    raise RuntimeError(f"{folder.name} {more} {device}")


def test_an_error_of_a_unit_is_its_own_and_a_sentence_ends_all(tmp_path):
    from engine.job import Setup

    work = UNITS[1], {"more": 1}
    found = Carried(broken)(work, tmp_path, Setup("none", "cpu", 1), None, None)
    assert found["result"].why.startswith("it could not be done: RuntimeError: 1 1 cpu")
    with pytest.raises(UserError, match="The disk is full"):
        Carried(refused)(work, tmp_path, Setup("none", "cpu", 1), None, None)


def gone(address):
    raise UserError(f"No Ray cluster answers at {address}.")


def test_a_cluster_that_is_gone_by_now_leaves_the_rest_to_this_machine(monkeypatch):
    monkeypatch.setitem(EXECUTORS, "gone", (__name__, "gone"))
    monkeypatch.setattr("engine.executors.SPREADS", {"gone"})
    console = Console(file=StringIO(), width=200)
    assert Where("gone", "h:1", "cpu", "2").if_there(console) == Where(device="cpu", jobs="2")
    assert Where("gone", "h:1", "cuda").if_there(console) == Where()  # the head may have no GPU
    assert "No Ray cluster answers at h:1. What is left is done on this machine." in console.file.getvalue()
    assert Where().if_there(console) == Where()


@pytest.mark.parametrize("command", ["score", "export", "report"])
def test_a_command_says_what_is_wrong_with_where_it_is_to_be_done(tmp_path, capsys, command):
    words = [command, str(tmp_path)]
    assert main([*words, "--executor", "rya"]) == 2
    assert "There is no executor 'rya': did you mean 'ray'?" in capsys.readouterr().err
    assert main([*words, "--address", "h:1"]) == 2
    assert "--address is that of a Ray cluster: give --executor ray with it." in capsys.readouterr().err


def test_what_nodes_export_of_a_store_lies_in_the_store(capsys):
    assert main(["export", "memory://nothing/there", "--out", "meshes", "--executor", "ray"]) == 2
    assert "beside the jobs of memory://nothing/there: leave out --out." in capsys.readouterr().err


def test_judges_in_environments_of_this_machine_are_not_asked_by_nodes(tmp_path, capsys):
    assert main(["score", str(tmp_path), "--judge", "pyiqa:musiq", "--executor", "ray"]) == 2
    assert "leave out --executor" in capsys.readouterr().err


def numbered(folder, more, device):
    if more == "refuse":
        raise UserError("The disk is full.")
    return os.getpid(), folder.name, device


def test_many_units_are_done_by_processes_of_this_machine_and_few_in_this_one(tmp_path):
    units = [Unit(Path(f"sds/01-a/{k}")) for k in range(WORTH)]
    for several, at_once, count in ((units, "2", 2), (units, "1", 1), (units[1:], "2", 1)):
        found = dict(done(tmp_path, several, numbered, Where(device="cpu", jobs=at_once), Console(quiet=True), ""))
        assert {unit.path.name: result[1:] for unit, result in found.items()} == {
            unit.path.name: (unit.path.name, "cpu") for unit in several
        }
        pids = {pid for pid, *_ in found.values()}
        assert (pids == {os.getpid()}) == (count == 1)
        assert len(pids) <= count
    assert not (tmp_path / ".unfinished").exists()


def test_a_sentence_of_one_process_ends_all(tmp_path):
    units = [Unit(Path(f"sds/01-a/{k}"), "refuse") for k in range(WORTH)]
    with pytest.raises(UserError, match="The disk is full"):
        list(done(tmp_path, units, numbered, Where(device="cpu", jobs="2"), Console(quiet=True), ""))


def test_scores_and_exports_by_processes_are_those_of_one_after_another(tmp_path, monkeypatch):
    clip, alone, spread = write_clip(tmp_path / "clip"), tmp_path / "a" / "run", tmp_path / "b" / "run"
    for seed in range(WORTH + 1):
        job = Job(jobs.recipe(steps=4), Prompt("07-a-ripe-strawberry", jobs.PROMPT.text), seed)
        jobs.do(alone, job)
        write_json(alone / job.path / "config.json", {"prompt": job.prompt.text, "seed": seed, **job.settings})
    (alone / job.path / "views" / "rgb_001.png").write_bytes(b"")  # which is said alike
    shutil.copytree(alone, spread)
    begun, looked = [], []
    monkeypatch.setattr(local, "started", lambda target, *rest: begun.append(target) or starting.started(target, *rest))
    monkeypatch.setattr(scoring, "due_of", lambda *of: looked.append(of) or due_of(*of))
    for run, slots in ((alone, 1), (spread, 2)):
        monkeypatch.setattr(local, "slots_of", lambda *_, slots=slots: slots)
        looked.clear()
        assert main(["score", str(run), "--suite", "world", "--clip", str(clip), "--device", "cpu"]) == 1
        assert len(looked) == WORTH  # enough for processes to begin, which look at the rest
        export = ["export", str(run), "--formats", "glb", "normals", "--resolution", "16", "--device", "cpu"]
        assert main(export) == 0
        assert len(begun) == 4 * (slots > 1)
    made = {path.relative_to(alone): path.read_bytes() for path in alone.rglob("*") if path.is_file()}
    assert {path.relative_to(spread): path.read_bytes() for path in spread.rglob("*") if path.is_file()} == made
    assert len(list(spread.rglob("*/scores.csv"))) == WORTH  # and none of the damaged one
    assert main(["score", str(spread), "--suite", "world", "--clip", str(clip), "--device", "cpu"]) == 1
    assert len(begun) == 4  # what is scored begins none


def test_what_another_command_has_is_scored_last_and_once(tmp_path, monkeypatch):
    turns = []

    def told(run, units, function, *_):
        turns.append([(unit.path.name, unit.more[1]) for unit in units])
        return [
            (unit, None if len(turns) == 1 and unit.path.name == "1" else Scored(True, "", False)) for unit in units
        ]

    for seed in range(3):
        write_job(tmp_path, "sds", Prompt("07-a-ripe-strawberry", "A ripe strawberry"), seed, ball(4))
    monkeypatch.setattr(scoring, "done", told)
    monkeypatch.setattr(scoring, "_as_they_are", lambda *_: {})
    scored, flat = scoring.at_once(tmp_path, WORLD, Judges(Path("clip")), Where(device="cpu"), Console(quiet=True))
    assert turns == [[("0", False), ("1", False), ("2", False)], [("1", True)]]
    assert [folder.name for folder in scored.fresh] == ["0", "1", "2"]
    assert flat == []


def test_few_units_go_to_the_first_of_several_gpus(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    for asked, first in (("cuda:1,cuda:0", "cuda:1"), ("auto", "cuda")):
        ((_, found),) = done(tmp_path, UNITS[:1], numbered, Where(device=asked), Console(quiet=True), "")
        assert found == (os.getpid(), "0", first)
