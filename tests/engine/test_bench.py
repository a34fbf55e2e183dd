"""The bench: what it compares is the same, its ratios are those of the times it took, and it leaves all as it was."""

import json

import pytest
import torch

import run_benchmark
from engine.bench import kernels, timing
from engine.bench.floor import floor
from engine.bench.parts import PARTS
from engine.bench.step import PLACES, Bench
from methods.sdi import SDI
from scene.hash_grid import HashGrid
from tests.engine import jobs


def small(**changes):
    recipe = jobs.recipe(SDI(perp_neg=False), **changes)
    return Bench(recipe, jobs.PROMPT, jobs.prior(), "cpu", age=2, tick=lambda: None)


def test_times_are_taken_in_turns_and_every_other_round_the_other_way_about():
    order, ticks = [], []
    tasks = {name: lambda name=name: order.append(name) for name in "ab"}
    times = timing.in_turns(tasks, 3, "cpu", lambda: ticks.append(0))
    assert "".join(order) == "abbaab"
    assert len(ticks) == 6
    assert {name: len(taken) for name, taken in times.items()} == {"a": 3, "b": 3}


def test_a_ratio_is_of_medians_and_its_spread_of_the_rounds():
    ratio = timing.speedup(fast=[1.0, 2.0, 9.0], plain=[10.0, 10.0, 18.0])
    assert ratio == {"speedup": 5.0, "spread": [2.0, 10.0], "fast_ms": 2000.0, "plain_ms": 10000.0}


def test_the_usual_encoding_is_the_projects():
    rng = torch.Generator().manual_seed(0)
    grid = HashGrid(6, 2, 10, 3, 60, rng)
    x = torch.rand(200, 3, generator=rng)
    with torch.no_grad():
        tables = kernels.levels_of(grid, [*grid.tables])
        assert [len(table) for table in tables] == [(n + 1) ** 3 for n in grid.resolutions[:3]] + [1024] * 3
        usual = kernels.usual_encoding(x, tables, grid.resolutions, grid.dense)
        torch.testing.assert_close(usual, grid.plain(x, 6, slopes=False)[0], rtol=1e-5, atol=1e-10)


def test_the_command_writes_what_it_prints(tmp_path, capsys):
    before, file = torch.get_num_threads(), tmp_path / "bench.json"
    arguments = ["bench", "--quick", "--only", "hash_encoding", "kernels", "--threads", "1", "--json", str(file)]
    assert run_benchmark.main(arguments) == 0
    numbers = json.loads(file.read_text())
    encoding = numbers["hash_encoding"]
    assert encoding["speedup"] == pytest.approx(encoding["plain_ms"] / encoding["fast_ms"])
    assert encoding["forward_error"] < 1e-6
    assert encoding["gradient_error"] < 1e-5
    assert {row["error"] < 1e-4 for row in numbers["kernels"].values()} == {True}
    assert f"{encoding['speedup']:.1f} times faster" in capsys.readouterr().out
    assert torch.get_num_threads() == before


def test_parts_make_up_the_step(monkeypatch):
    """The loop's own share is what is left: together they are the time of the steps."""
    bench = small()
    clock = iter(range(10**6))
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    advance, whole = bench.training.advance, []

    def timed():
        start = next(clock)
        advance()
        whole.append(next(clock) - start)

    bench.training.advance = timed
    parts = bench.parts(steps=1)
    assert parts.keys() == {"render", "encode", "inversion", "guidance", "backward", "optimiser", "harness"}
    assert min(parts.values()) > 0
    # the outer clock is read once more on either side of a step
    assert sum(parts.values()) / 1e3 == pytest.approx(sum(whole) / len(PLACES) + 2)


def test_a_part_leaves_what_it_watches_as_it_was():
    bench, noise_of, backward = small(), SDI.noise_of, torch.Tensor.backward
    bench.parts(steps=1)
    assert SDI.noise_of is noise_of
    assert torch.Tensor.backward is backward
    assert "render" not in vars(bench.training.scene)
    assert "advance" not in vars(bench.training)


def test_every_step_starts_from_the_same_scene():
    bench = small()
    scenes = []
    for _ in range(2):
        bench.put(bench.training, 0.5).advance()
        scenes.append({name: tensor.clone() for name, tensor in bench.training.tensors().items()})
    assert all(torch.equal(scenes[0][name], scenes[1][name]) for name in scenes[0])


def test_scenes_together_costs_and_memory_are_told_beside_one():
    bench = small()
    together = bench.together(rounds=1, counts=(1, 2))
    assert together["1"]["speedup"] == 1
    assert together["2"]["speedup"] == pytest.approx(
        together["2"]["scenes_per_hour"] / together["1"]["scenes_per_hour"]
    )
    costs = bench.sweeps(rounds=1)
    assert {name: sorted(row, key=int) for name, row in costs.items()} == {
        "resolution": ["8", "32"], "samples": ["8", "32"], "inversion_steps": ["5", "20"],
    }  # fmt: skip
    assert bench.peak()["peak_gb"] > 0.01


def test_the_floor_counts_a_steps_arithmetic():
    found = floor(small())
    assert found["floor_ms"] == pytest.approx(1e3 * found["tflop"] / found["tflop_per_s"])  # no weights are read
    assert found["share"] == pytest.approx(found["floor_ms"] / found["step_ms"])
    assert 0 < found["share"] < 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "hash"], "There is no part of bench 'hash'"),
        (["--threads", "0"], "--threads takes"),
        (["--json", "/no/such/folder/bench.json"], "There is no folder /no/such/folder"),
        (["--prior", "random:sd21", "--device", "cpu"], "takes minutes on a CPU"),
        (["--prior", "/no/such/prior", "--only", "memory"], "/no/such/prior"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_sentence(arguments, words, capsys):
    assert run_benchmark.main(["bench", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert len(error.strip().splitlines()) == 1


def test_every_part_is_explained(capsys):
    with pytest.raises(SystemExit):
        run_benchmark.main(["bench", "--help"])
    said = capsys.readouterr().out
    assert all(part in said for part in PARTS)
