"""What is in a store and what is here: what is damaged, removed or not to be brought."""

import json
import shutil

import pytest

from engine.remote.mirror import ALL, SCORES, needed
from engine.remote.objects import Objects
from engine.remote.sharing import worked_on
from errors import UserError
from records import RECORD
from tests.engine import jobs
from tests.engine.remote.machines import JOB, NAME, scene, tree


@pytest.mark.parametrize("damage", ["cut", "gone"])
@pytest.mark.parametrize("name", [RECORD, "config.json"])
def test_a_damaged_object_is_named_and_its_job_is_made_again(machine, url, damage, name):
    one, two = machine(), machine("two")
    one.launched()
    store, before = Objects(url), scene(one.run)
    store.remove([f"{NAME}/{name}"]) if damage == "gone" else store.write(f"{NAME}/{name}", b"{")
    said = f"{url}/{NAME}/{name} is damaged or gone"
    with pytest.raises(UserError, match=said):
        needed(machine("reader").run, SCORES)
    assert two.launched()[JOB.path]["status"] == "finished"
    assert said in two.said
    assert scene(two.run) == before
    needed(machine("another reader").run, ALL)


def test_a_damaged_scene_is_named_by_who_reads_it_and_made_again_once_removed(machine, url):
    one = machine()
    one.launched()
    before = scene(one.run)
    Objects(url).write(f"{NAME}/scene.safetensors", before[:-1] + b"x")
    two = machine("two")
    needed(two.run, SCORES)
    with pytest.raises(UserError, match=r"scene\.safetensors is damaged or gone: remove it"):
        needed(two.run, ALL)
    Objects(url).remove([f"{NAME}/scene.safetensors"])
    three = machine("three")
    three.launched()
    assert f"{NAME}/scene.safetensors is damaged or gone" in three.said
    assert scene(three.run) == before


def test_scores_that_are_damaged_are_left_out_and_made_again_from_what_is_whole(machine, url):
    one = machine()
    with worked_on(one.run, one.console):
        jobs.do(one.run, JOB)
        (one.run / JOB.path / "scores.csv").write_text("view,azimuth\n")
    Objects(url).write(f"{NAME}/scores.csv", b"torn")
    two = machine("two")
    with worked_on(two.run, two.console):
        assert (two.run / JOB.path / RECORD).exists()
        assert not (two.run / JOB.path / "scores.csv").exists()
        (two.run / JOB.path / "scores.csv").write_text("view,azimuth\n")
    assert two.said == ""
    assert Objects(url).read([f"{NAME}/scores.csv"]) == {f"{NAME}/scores.csv": b"view,azimuth\n"}


@pytest.mark.parametrize("name", ["../../escaped.txt", "{}/escaped.txt", "views/../../../../escaped.txt"])
def test_nothing_is_written_outside_the_folder(machine, url, name, tmp_path):
    one, name = machine(), name.format(tmp_path / "root")
    one.launched()
    store = Objects(url)
    sums = json.loads(store.read([f".sums/{NAME}.json"])[f".sums/{NAME}.json"])
    sums[name] = sums[RECORD]
    store.write(f"{NAME}/{name}", store.read([f"{NAME}/{RECORD}"])[f"{NAME}/{RECORD}"])
    store.write(f".sums/{NAME}.json", json.dumps(sums).encode())
    two = machine("two")
    with pytest.raises(UserError, match="is damaged or gone"):
        needed(two.run)
    assert not list(tmp_path.rglob("escaped.txt"))


def test_a_folder_that_was_removed_here_is_brought_again(machine):
    one = machine()
    one.launched()
    before = tree(one.run)
    shutil.rmtree(one.run)
    assert one.launched() == {}
    needed(one.run)
    assert tree(one.run) == before


def test_what_somebody_removed_there_is_removed_here_and_what_was_never_put_is_kept(machine, url):
    one, two, other = machine(), machine("two"), jobs.job(seed=1)
    one.launched([JOB, other])
    needed(two.run)
    jobs.do(two.run, jobs.job(seed=2))
    Objects(url).remove([f".sums/{NAME}.json", f"{NAME}/{RECORD}"])
    needed(two.run, SCORES)
    assert sorted(path.parent.name for path in two.run.rglob(RECORD)) == ["1", "2"]
