"""One function for each of many jobs' folders: whatever its places meet, each unit has one result."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from engine.executors import EXECUTORS, Where
from engine.executors.base import Away, Ended, Fatal, Lost, Over, Room
from engine.executors.units import LOSSES, Carried, Lack, Spread, Unit
from errors import UserError
from run_benchmark import main

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
    assert Where("gone", "h:1", "cpu").if_there(console) == Where(device="cpu")
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
