"""The gate on what rules log: how a run trained, where its scores may be no worse."""

import json
import math
import random

import pytest
import torch
from safetensors.torch import save_file

from errors import UserError
from reports import gate, load
from reports.gate import course
from run_benchmark import main
from tests.reports.synthetic import WORLD, ball, random_scores, write_job
from tests.reports.test_gate import failed, told

STEPS = 40


def rows_of(seed, prompt):
    """A log as rules write it: times fall, a gradient's norm is random about 10, calls add up."""
    rng = random.Random(f"{seed} {prompt}")
    return [{"step": i, "t": 999.0 - 20 * i, "grad_norm": 10 + rng.gauss(0, 1), "nfe": 3 * i + 3, "note": "warm-up"}
            for i in range(STEPS)]  # fmt: skip


@pytest.fixture
def made(tmp_path):
    """One method, two prompts, four seeds, and a reference of them. Scenes are known."""
    rng = torch.Generator().manual_seed(0)
    for p, prompt in enumerate(WORLD[:2]):
        scores = random_scores(rng)
        for seed in range(4):
            job = write_job(tmp_path / "run", "sdi", prompt, seed, ball(8), scores=scores, steps=STEPS)
            written(job, rows_of(seed, p))
            save_file({"density": torch.tensor([seed])}, job / "scene.safetensors")
    gate.save(tmp_path / "run", tmp_path / "reference.json")
    return tmp_path


def written(job, rows):
    (job / "log.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")


def logs(run, seed="*"):
    return sorted(run.glob(f"sdi/*/{seed}/log.jsonl"))


def changed(run, how, seed="*"):
    """Other scenes, whose logs are others too; scores are what they were."""
    for log in logs(run, seed):
        rows = [json.loads(line) for line in log.read_text().splitlines()]
        written(log.parent, how(rows))
        save_file({"density": torch.tensor([99])}, log.parent / "scene.safetensors")


def judged(made):
    return gate.check(made / "run", made / "reference.json")


def test_means_are_of_each_half_of_what_is_a_number_and_no_count(made):
    run = made / "run"
    rows = rows_of(0, 0)
    written(logs(run)[0].parent, [*rows[:30], rows[30] | {"grad_norm": math.inf}, *rows[31:]])
    found = course.courses(run, load(run).jobs)
    assert list(found) == [f"log of {n}, {h}" for n in ("t", "grad_norm") for h in ("1st half", "2nd half")]
    one = found.loc[("sdi", WORLD[0].id, "0")]
    assert one["log of t, 1st half"] == pytest.approx(999 - 20 * 9.5)
    assert one["log of t, 2nd half"] == pytest.approx(999 - 20 * 29.5)
    kept = [row["grad_norm"] for i, row in enumerate(rows) if i >= 20 and i != 30]
    assert one["log of grad_norm, 2nd half"] == pytest.approx(sum(kept) / 19)


def test_what_a_rule_does_otherwise_fails_though_no_score_is_worse(made):
    run, reference = made / "run", made / "reference.json"
    before = gate.check(run, reference)
    assert before.passed
    assert before.reproduced
    changed(run, lambda rows: [row | {"grad_norm": row["grad_norm"] * 0.5} for row in rows])
    found = gate.check(run, reference)
    assert failed(found) == {("sdi", f"log of grad_norm, {h}"): "moved" for h in ("1st half", "2nd half")}
    text = told(found)
    assert "sdi: log of grad_norm, 1st half moved by" in text
    assert "log of t" not in text  # those that are as they were would hide it
    assert "2 more rows, of what rules logged, are ok" in text
    assert main(["check", str(run), "--baseline", str(reference)]) == 1


def test_the_same_times_in_another_order_are_seen(made):
    changed(made / "run", lambda rows: [row | {"t": other["t"]} for row, other in zip(rows, rows[::-1], strict=True)])
    assert failed(judged(made)) == {("sdi", f"log of t, {h}"): "moved" for h in ("1st half", "2nd half")}


def test_other_random_numbers_pass(made):
    """Of the reference's seeds, and of others."""
    run, reference = made / "run", made / "reference.json"
    for number, log in enumerate(logs(run)):
        written(log.parent, rows_of(100 + number, "other"))
        save_file({"density": torch.tensor([99])}, log.parent / "scene.safetensors")
    assert gate.check(run, reference).passed
    for job in sorted(run.glob("sdi/*/*")):
        job.rename(job.with_name(str(10 + int(job.name))))
    found = gate.check(run, reference)
    assert found.passed
    assert not found.paired
    for job in sorted(run.glob("sdi/*/*")):
        written(job, [row | {"grad_norm": 20 + row["grad_norm"]} for row in rows_of(0, 0)])
    assert ("sdi", "log of grad_norm, 1st half") in failed(gate.check(run, reference))


def test_a_log_that_lacks_a_number_cannot_be_judged(made):
    run = made / "run"
    written(logs(run)[0].parent, [{k: v for k, v in row.items() if k != "t"} for row in rows_of(0, 0)])
    with pytest.raises(UserError, match=r"a job of sdi lacks the log of t, 1st half, .* restore its log\.jsonl"):
        judged(made)
    logs(run)[1].unlink()
    assert main(["check", str(run), "--baseline", str(made / "reference.json")]) == 2


def test_a_reference_whose_jobs_logs_were_cut_is_refused(made):
    reference = made / "reference.json"
    content = json.loads(reference.read_text())
    next(iter(content["jobs"].values()))["log"].pop("log of t, 1st half")
    reference.write_text(json.dumps(content))
    with pytest.raises(UserError, match="The reference lacks its jobs' log of t, 1st half: renew it"):
        judged(made)


def test_a_number_that_not_all_jobs_log_is_not_looked_at(made):
    run, reference = made / "run", made / "reference.json"
    written(logs(run)[0].parent, [{k: v for k, v in row.items() if k != "t"} for row in rows_of(0, 0)])
    cells = gate.save(run, reference).methods["sdi"]
    assert [key for key in cells if course.is_course(key)] == [f"log of grad_norm, {h}" for h in course.HALVES]
    assert judged(made).passed


def test_a_log_that_was_cut_is_named(made):
    log = logs(made / "run")[0]
    written(log.parent, rows_of(0, 0)[:3])
    with pytest.raises(UserError, match=r"log\.jsonl ends at step 3 of 40: restore it"):
        judged(made)
    with pytest.raises(UserError, match="ends at step 3 of 40"):
        gate.save(made / "run", made / "reference.json")


def test_a_run_that_lost_a_log_is_no_reference(made):
    logs(made / "run")[0].unlink()
    with pytest.raises(UserError, match=f"the logs of sdi {WORLD[0].id[:2]}/0 are lost; restore each"):
        gate.save(made / "run", made / "reference.json")


def test_runs_without_logs_are_judged_by_their_scores(made):
    run, reference = made / "run", made / "reference.json"
    for log in logs(run):
        log.unlink()
    gate.save(run, reference)
    assert judged(made).passed
    assert not any(map(course.is_course, judged(made).rows["metric"]))


def test_the_least_change_that_matters_is_a_part_of_the_mean_and_stays_once_edited(made):
    run, reference = made / "run", made / "reference.json"
    cell = gate.read(reference).methods["sdi"]["log of t, 1st half"]
    assert cell["least"] == pytest.approx(course.MATTERS * cell["mean"])
    assert cell["better"] is None
    content = json.loads(reference.read_text())
    content["methods"]["sdi"]["log of t, 1st half"]["least"] = 300.0
    reference.write_text(json.dumps(content))
    assert gate.save(run, reference).methods["sdi"]["log of t, 1st half"]["least"] == 300.0
    changed(run, lambda rows: [row | {"t": row["t"] + 250} for row in rows])
    assert failed(judged(made)) == {("sdi", "log of t, 2nd half"): "moved"}
