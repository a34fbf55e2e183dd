"""A spec is understood, or refused in a sentence before anything is started."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine.external import jobs, reading
from engine.external.spec import LAYOUTS, asked
from errors import UserError
from suites import SUITES
from tests.engine.external.test_launch import PROGRAM, engine, request

GOOD = """
command = ["python", "a.py", "{prompt}", "{out}"]
renders = { files = "*.png" }
"""


@pytest.mark.parametrize("name", reading.shipped())
def test_shipped_specs_are_sound_and_say_where_they_are_from(name, tmp_path):
    spec = reading.read(f"{name}={PROGRAM}")
    assert (spec.name, spec.suite, spec.folder) == (name, "paper", PROGRAM)
    assert re.search(r"github\.com/\S+ at [0-9a-f]{7}", spec.source)
    assert spec.about
    assert spec.licence
    assert spec.steps
    assert all(spec.asks_for(key) for key in ("prompt", "seed", "steps", "prior", "out"))
    with pytest.raises(UserError, match="where its program lies is not said"):
        jobs._refused(reading.read(name), request(tmp_path, suite=SUITES["paper"]))


def test_shipped_specs_are_the_official_command_lines():
    esd = reading.read(f"threestudio-esd={PROGRAM}")
    assert "configs/{config}.yaml" in esd.command
    assert esd.values["config"] == "prolificdreamer"
    assert "system.guidance.guidance_scale_lora=0.5" in esd.command
    assert (esd.steps, esd.renders.orbit["distance"]) == (25_000, 1.5)
    sdi = reading.read(f"threestudio-sdi={PROGRAM}")
    assert "system.guidance.trainer_max_steps={steps}" in sdi.command
    assert (sdi.steps, sdi.renders.orbit["distance"]) == (10_000, 2.0)
    mv = reading.read(f"mv-sdi={PROGRAM}")
    assert (mv.values["config"], mv.steps) == ("mvsd-anti2", 5_000)


def test_files_are_written_with_values_quoted():
    import yaml

    spec = reading.read(f"luciddreamer={PROGRAM}")
    given = {"prompt": 'a "cup": #1', "seed": 3, "steps": 50, "prior": "/w", "out": "/a b", "python": "p"}
    made = yaml.safe_load(spec.filled(spec.files["external.yaml"], given, quoted=True))
    assert made["GuidanceParams"]["text"] == given["prompt"]
    assert (made["seed"], made["port"], made["OptimizationParams"]["iterations"]) == (3, 2355, 50)
    assert made["ModelParams"]["workspace"] == "/a b"


def test_a_spec_of_ones_own_needs_few_lines(tmp_path):
    file = tmp_path / "mine.toml"
    (tmp_path / "there").mkdir()
    file.write_text(
        'extends = "threestudio-sdi"\nfolder = "there"\narguments = ["system.guidance.guidance_scale=10"]\n'
    )
    spec = reading.read(str(file))
    assert (spec.name, spec.folder) == ("mine", tmp_path / "there")
    assert spec.command[-2:] == ("system.guidance.trainer_max_steps={steps}", "system.guidance.guidance_scale=10")
    again = tmp_path / "again.toml"
    again.write_text('extends = "mine.toml"\nsteps = 5\n')
    assert (reading.read(str(again)).steps, reading.read(str(again)).folder) == (5, tmp_path / "there")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("command = [", "cannot be read"),
        ("", "it has no command"),
        ('comand = ["a"]', "there is no entry named 'comand': did you mean 'command'"),
        (GOOD + "[renders2]\n", "there is no entry named 'renders2'"),
        (GOOD.replace("files", "file"), "did you mean 'files'"),
        (GOOD.replace('["python", "a.py", "{prompt}", "{out}"]', '"python a.py {prompt}"'), "no shell"),
        (GOOD.replace("{prompt}", "{promt}"), "{promt}, which nobody fills in"),
        (GOOD.replace("{prompt}", "{prompt"), "a brace that stands for itself is written twice"),
        (GOOD.replace("{prompt}", "a cup"), "no argument has {prompt}"),
        (GOOD.replace('"{out}"', '"."'), "nothing has {out}"),
        (GOOD.replace("*.png", "../*.png"), "leads out of {out}"),
        (GOOD.replace("*.png", ""), "does not say where renders lie"),
        (GOOD + 'steps = "10"', "steps takes a whole number above 0"),
        (GOOD + "steps = true", "steps takes a whole number above 0"),
        (GOOD + "timeout_minutes = -1", "timeout_minutes takes a number above 0"),
        (GOOD + 'name = "../up"', "cannot be that of a folder"),
        (GOOD + 'name = "SDI"', "is that of a method"),
        (GOOD + 'values = { prompt = "x" }', "values.prompt"),
        (GOOD + 'files = { "../x" = "" }', "leads out of {out}"),
        (GOOD + 'log = { step = "(" }', "no regular expression"),
        (GOOD + 'log = { step = "a" }', "no group"),
        (GOOD.replace("files", 'layout = "zip", files'), ", ".join(LAYOUTS)),
        (GOOD.replace("files", "orbit = { fov = 1 }, files"), "elevation, distance, fov"),
        ('extends = "spec.toml"', "does not extend this one"),
        ('extends = "threestudio-sdy"', "did you mean 'threestudio-sdi'"),
    ],
)
def test_what_no_engine_could_run_with_is_refused(tmp_path, text, said):
    file = tmp_path / "spec.toml"
    file.write_text(text)
    with pytest.raises(UserError) as refused:
        reading.read(str(file))
    assert said in str(refused.value)
    assert str(file) in str(refused.value) or "external engine" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "more", "said"),
    [
        ({"suite": "paper"}, {}, "is for the paper suite"),
        ({"folder": "/nowhere"}, {}, "there is no folder /nowhere"),
        ({"interpreter": "/nowhere/python"}, {}, "has no interpreter /nowhere/python"),
        ({"interpreter": ""}, {}, "has no virtual environment"),
        ({"prior": ""}, {}, "needs a prior"),
        ({}, {"phi": "x"}, "takes no --phi"),
        ({}, {"budget": 5}, "takes no --budget"),
        ({"command": ["nobody", "{prompt}", "{out}"], "arguments": []}, {}, "there is no program 'nobody'"),
        ({"command": ["{python}", "{prompt}", "{out}"], "prior": ""}, {"seeds": (0, 1)}, "takes no seed"),
    ],
)
def test_what_cannot_be_run_here_is_said_before_any_work(tmp_path, changes, more, said):
    with pytest.raises(UserError) as refused:
        jobs.planned(request(tmp_path, engine(tmp_path, **changes), **more))
    assert said in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_braces_and_formats():
    assert asked("a{{b}}{prompt}{out:quoted}") == [("prompt", ""), ("out", "quoted")]
    assert [Path(name).suffix for name in reading.shipped()] == [""] * len(reading.shipped())


def test_the_specs_of_the_page_are_understood(tmp_path):
    page = (Path(__file__).parents[3] / "docs" / "external-engines.md").read_text("utf-8")
    blocks = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 2
    for k, block in enumerate(blocks):
        file = tmp_path / f"spec{k}.toml"
        file.write_text(block)
        assert reading.read(str(file)).asks_for("prompt")
    named = re.findall(r"--external ([\w-]+)=", page) + re.findall(r"^\| `(mv-sdi|luciddreamer)`", page, re.MULTILINE)
    assert len(named) == 3
    assert set(named) <= reading.shipped().keys()
