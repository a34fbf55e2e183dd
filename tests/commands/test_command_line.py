import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import names
from commands import run as run_command
from engine.scoring import judges
from engine.weights import manifest as weights
from run_benchmark import main, module_of
from suites import SUITES
from suites.world import WORLD
from tests.reports.test_figures import tiles
from tests.tiny import write_prior

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def prior(tmp_path_factory):
    return str(write_prior(tmp_path_factory.mktemp("prior")))


def said(capsys, arguments):
    """The sentence on stderr of a command that is refused."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert err.startswith("run_benchmark.py: ")
    assert err.count("\n") == 1
    assert "Traceback" not in out + err
    return err


def test_list_names_everything(capsys):
    assert main(["list"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    suites = {suite.name: suite.about for suite in SUITES.values()}
    for table in (suites, names.TRACKS, names.RECIPES, names.PRIORS, names.ABLATIONS):
        assert all(f"{name:16}{meaning}" in lines for name, meaning in table.items())
    for prompt in (prompt for suite in SUITES.values() for prompt in suite.prompts):
        assert f"{prompt.id:45}{prompt.text}" in lines


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--methods", "sdi-offical"], "did you mean 'sdi-official'"),
        (["--methods", "dreamfusion"], "known: sdi, "),
        (["--suite", "wrld"], "did you mean 'world'?"),
        (["--track", "papper"], "did you mean 'paper'?"),
        (["--prompts", "a blue tulp"], "A blue tulip"),
        (["lst"], "did you mean 'list'?"),
        (["--stesp", "3"], "Unrecognized arguments: --stesp 3"),
        (["--steps", "0"], "'0' is not a whole number above 0"),
        (["--seeds", "x"], "'x' is not a seed"),
        (["--budget", "2000"], "'2000' is not nfe=N"),
        (["--budget", "nfe=2000", "--steps", "3"], "not allowed with argument"),
        (["sweep", "sds"], "give --cfg, --inversion-cfg or --lr"),
        (["sweep", "sds", "--cfg", "high"], "'high' is not a number"),
        (["sweep", "sds", "--lr", "0"], "'0' is not a number above 0"),
        (["sweep", "sds", "--cfg", "5", "--select", "iuo"], "did you mean 'iou'"),
        (["check", "RUN"], "--baseline"),
        (["table", "RUN", "--compare", "publshed"], "no comparison 'publshed': did you mean 'published'?"),
        (["table", "RUN", "--compare", ""], "no comparison '': known: published."),
        (["score"], "RUN"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_what_nobody_knows_is_refused_before_torch(capsys, arguments, part):
    assert part in said(capsys, arguments)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--prior", "nowhere"], "no prior at nowhere"),
        (["--suite", "paper"], "run_benchmark.py fetch sd21-base brings it"),
        (["--suite", "paper", "--track", "controlled"], "--track paper"),
        (["--device", "gpu"], "no device 'gpu'"),
        (["--prior", "PRIOR", "--jobs", "many"], "a number of processes or auto"),
        (["--prior", "PRIOR", "--clip", "nowhere"], "no CLIP at nowhere"),
        (["--prior", "PRIOR", "--clip2", "nowhere"], "no CLIP at nowhere: give --clip2"),
        (["--prior", "PRIOR", "--clip2", "open_clip:ViT-L-14"], "write open_clip:ARCHITECTURE=FILE.safetensors"),
        (["--methods", "nowhere.py:Rule"], "no file nowhere.py"),
        (["--methods", "docs/my_rule.py"], "which class of docs/my_rule.py"),
        (["--methods", "docs/my_rule.py:MyRul"], "did you mean 'MyRule'"),
        (["--tuned", "nowhere.json"], "no nowhere.json"),
        (["table", "nowhere"], "no run in nowhere"),
        (["score", "nowhere"], "no run in nowhere"),
        (["check", "nowhere", "--baseline", "nothing.json"], "nothing.json"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_what_is_not_there_is_one_sentence(capsys, monkeypatch, tmp_path, prior, arguments, part):
    monkeypatch.setenv(weights.PLACE, str(tmp_path / "no weights"))
    arguments = [prior if a == "PRIOR" else a for a in arguments]
    out = ["--out", str(tmp_path)] if arguments[0].startswith("-") else []
    assert part in said(capsys, [*arguments, *out])


def test_cuda_without_a_gpu_is_one_sentence(capsys, monkeypatch, prior):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "no CUDA device here: use --device cpu" in said(capsys, ["--device", "cuda", "--prior", prior])


def test_an_unreadable_job_folder_is_one_sentence(capsys, tmp_path, prior):
    job = tmp_path / "sds" / "07-a-ripe-strawberry" / "0"
    job.mkdir(parents=True)
    (job / "record.json").write_text("{")
    arguments = ["--prior", prior, "--methods", "sds", "--prompts", "strawberry", "--out", str(tmp_path)]
    assert "cannot be read: delete" in said(capsys, arguments)


def test_plain_flags_mean_run_and_no_words_the_first_look(monkeypatch):
    heard = []
    monkeypatch.setattr(run_command, "main", lambda arguments: heard.append(arguments) or 0)
    assert [main([]), main(["--limit", "2"]), main(["run", "--limit", "2"])] == [0, 0, 0]
    assert heard == [[], ["--limit", "2"], ["--limit", "2"]]
    request = run_command.requested([])
    assert (request.methods, request.suite, request.track) == (("sdi", "sds"), WORLD, "controlled")
    assert (request.seeds, len(request.prompts)) == ((0,), 4)


@pytest.mark.parametrize("name", names.COMMANDS)
def test_every_command_is_a_file_whose_help_names_it(capsys, name):
    assert (ROOT / f"{module_of(name).replace('.', '/')}.py").is_file()
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    assert f"run_benchmark.py {name}" in capsys.readouterr().out.replace("[run]", "run")


def test_a_seed_counts_once(capsys):
    assert run_command.requested(["--seeds", "0", "3", "0"]).seeds == (0, 3)
    assert "whole number from 0 to" in said(capsys, ["--seeds", "9" * 20])
    assert "whole number from 0 to" in said(capsys, ["--seeds", "-1"])


def test_a_request_never_changes():
    request = run_command.requested([])
    with pytest.raises(dataclasses.FrozenInstanceError):
        request.steps = 3
    assert {f.name for f in dataclasses.fields(request)} >= {"suite", "track", "prompts", "seeds", "out"}


def test_stopped_says_how_to_go_on(capsys, monkeypatch):
    def stopped(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_command, "main", stopped)
    assert main([]) == 130
    assert "the same command goes on" in capsys.readouterr().err


def test_settings_have_folders_of_their_own(prior):
    def name(*arguments):
        return run_command.requested(list(arguments)).out.name

    assert name() == name("--limit", "2") == name("--methods", "sds", "--seeds", "3") == "world-controlled"
    other = {name("--steps", "9"), name("--resolution", "9"), name("--views", "9"), name("--prior", prior), name()}
    other |= {name("--phi", prior), name("--budget", "nfe=9"), name("--tuned", "best.json")}
    assert len(other) == 8
    assert name("--rehearse") == name("--rehearse", "--steps", "20") == "world-controlled-rehearse"
    assert name("--rehearse", "--views", "50") == "world-controlled-views50-rehearse"


def test_from_prompt_to_table(capsys, tmp_path, prior):
    """Two jobs through all that a command does; again, nothing is done; other settings are refused, or overwrite."""
    from tests.eval.clip import write_clip

    clip = str(write_clip(tmp_path / "clip"))
    run = tmp_path / "run"
    sizes = ["--resolution", "16", "--views", "4", "--prompts", "strawberry", "--jobs", "1"]
    command = [*sizes, "--prior", prior, "--clip", clip, "--out", str(run), "--methods", "sds", "sds-anneal"]
    assert main([*command, "--steps", "3"]) == 0
    text = capsys.readouterr().out
    assert "2 jobs, 0 of them done" in text
    assert "comparison.png" in text
    holds(run, ["sds", "sds-anneal"], views=4)
    jobs = sorted(run.glob("*/*/*/record.json"))
    assert [j.relative_to(run).parts[0] for j in jobs] == ["sds", "sds-anneal"]
    before = {p: p.stat().st_mtime_ns for p in run.glob("*/*/*/**/*")}
    assert main([*command, "--steps", "3"]) == 0
    assert "2 jobs, 2 of them done" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in run.glob("*/*/*/**/*")} == before
    assert "other settings" in said(capsys, [*command, "--steps", "4"])
    assert main(["table", str(run)]) == 0
    assert "sds-anneal" in capsys.readouterr().out
    truth = judges.truth_of(run, WORLD)
    assert truth.views("A ripe strawberry")[0].shape == (1, 4, 3, 16, 16)
    assert judges.suite_of(run, None) == WORLD


def holds(run, methods, views):
    """A run's tables say what its scores say, in each of their forms, and its figure shows its views."""
    scores = pd.read_csv(run / "scores.csv")
    assert scores.groupby("method").size().to_dict() == dict.fromkeys(methods, views)
    means = scores.groupby("method")["clip_score"].mean()
    table = pd.read_csv(run / "table.csv").query("block == 'survivors'").set_index("method")
    assert list(table.index) == methods
    assert table["clip_score_mean"].tolist() == pytest.approx(means[methods].tolist(), rel=1e-4)
    for form in ("table.md", "table.tex"):
        text = (run / form).read_text()
        assert all(method in text and f"{means[method]:.2f}" in text for method in methods)
    page = np.asarray(Image.open(run / "comparison.png"))
    for k, method in enumerate(methods):
        (job,) = run.glob(f"{method}/*/0")
        for shown, view in zip(tiles(page, k, 0), range(0, views, views // 4), strict=True):
            picture = np.asarray(Image.open(job / f"views/rgb_{view:03d}.png").convert("RGB"))
            assert (shown == picture.repeat(128 // len(picture), 0).repeat(128 // len(picture), 1)).all()


def test_external_pictures_must_name_their_suite(capsys, tmp_path):
    job = tmp_path / "other" / "07-a-ripe-strawberry" / "0"
    job.mkdir(parents=True)
    Image.new("RGB", (16, 16)).save(job / "rgb_000.png")
    assert "give --suite world or paper" in said(capsys, ["score", str(tmp_path)])


def test_a_rule_from_a_file_is_a_row_and_a_broken_one_stops_none(capsys, tmp_path, prior):
    """Through the processes that do jobs; an edited file is another result."""
    from tests.eval.clip import write_clip

    text = (ROOT / "docs" / "my_rule.py").read_text()
    text = text.replace("class MyRule(Method):\n", "class MyRule(Method):\n    guidance_weight = 1.0  # not measured\n")
    assert "guidance_weight" in text
    mine, broken = tmp_path / "mine.py", tmp_path / "broken.py"
    mine.write_text(text)
    broken.write_text(text.replace("MyRule", "Broken").replace("return Guidance(g,", "return Guidance(g[0],"))
    run = tmp_path / "run"
    command = ["--resolution", "16", "--views", "4", "--prompts", "strawberry", "--jobs", "1", "--steps", "2"]
    command += ["--prior", prior, "--clip", str(write_clip(tmp_path / "clip")), "--out", str(run)]
    assert main([*command, "--methods", f"{broken}:Broken", f"{mine}:MyRule"]) == 1
    shown = capsys.readouterr().out.replace("\n", " ")
    assert "Broken: 1 failed" in shown
    assert "latent has shape" in shown
    rows = (run / "table.csv").read_text()
    assert all(f"survivors,{name}," in rows for name in ("Broken", "MyRule"))
    assert main([*command, "--methods", f"{mine}:MyRule"]) == 0
    assert "1 jobs, 1 of them done" in capsys.readouterr().out
    mine.write_text(text + "# a remark changes nothing\n")
    assert main([*command, "--methods", f"{mine}:MyRule"]) == 0
    assert "1 jobs, 1 of them done" in capsys.readouterr().out
    mine.write_text(text + "edited = True\n")
    assert "another version of its rule" in said(capsys, [*command, "--methods", f"{mine}:MyRule"])
