"""Prompts, names and priors that nobody should give: each works, as text in every table, or gets one sentence.
`python -m tests.commands.test_hostile_input` prints the table of docs/surviving.md."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from html.parser import HTMLParser
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from commands.shared import results
from engine.claims import roster
from engine.prior import open_prior
from engine.progress import Bars
from eval.score import Scored
from reports.markdown import pipes
from run_benchmark import main
from tests.priors.folders import save, tensors, weights
from tests.reports.synthetic import WORLD, ball, random_scores, write_job
from tests.tiny import write_prior

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "surviving.md"
OBEYED = {chr(k) for k in (*range(32), *range(127, 160))} - {"\n", "\t"}  # by a terminal
LONG_NAME = "x" * 300
REFUSED = ("nothing", "a file that is not there", "half a letter")

PROMPTS: dict[str, tuple[str, ...]] = {
    "nothing": ("",),
    "10,000 letters": ("red ball " * 1200,),
    "a line end": ("a red\nball of wool",),
    "a NUL": ("a red\0ball of wool",),
    "what a terminal obeys": ("a \x1b[31mred\x1b[0m \x1b]0;title\x07 ball",),
    "markup": ("[red] a ball [/] of wool",),
    "a script": ("<script>alert(1)</script> of wool",),
    "a path": ("../../etc/passwd of wool",),
    "a file that is not there": ("../../etc/passwd.txt",),
    "what shells and formats obey": ("%s {0} $(id) `id` & \\input{x} of wool", ),
    "a formula of spreadsheets": ("=1+1, a ball of wool",),
    "letters from right to left": ("\u202eball \u0627\u0644\u0643\u0631\u0629 of wool",),
    "letters of several parts": ("a b\u0301\u0323\u0308all of wool",),
    "a picture": ("\U0001f9f6",),
    "half a letter": ("a red \udcff ball",),
    "two of one slug": ("a red ball of wool", "a red, ball of wool"),
    "two but for their case": ("a red ball of yarn", "A Red Ball of yarn"),
}  # fmt: skip

NAMES = {  # of methods: folders of a run
    "markup": "[red]x[-]",
    "a script": "<script>alert(1)<",
    "what a terminal obeys": "\x1b[31mred",
    "a line end": "two\nlines",
    "a picture": "\U0001f9f6",
    "a broken formula": "$\\frac$",
    "a row's end in LaTeX": "[1ex] \\\\ & % $ # _ {",
    "a cell of a table": "a | b",
    "a formula of spreadsheets": "=1+1",
    "what formats obey": "%s {0}",
    "letters from right to left": "\u202esds \u0627",
    "an option": "--help",
    "a name of ours in capitals": "SDS",
    "no letters, but bytes": "caf\udce9",
    "255 letters": "x" * 255,
}
RUNS = {  # what --out says
    "300 letters": LONG_NAME,
    "a file": "file",
    "a folder in a file": "file/run",
    "a link to itself": "loop",
    "markup": "[red]x[/]",
    "what a terminal obeys": "\x1b[31mred",
    "no letters, but bytes": "caf\udce9",
}


def hole(folder: Path, part: str = "unet") -> Path:
    """Where a part's weights were."""
    file = weights(folder, part)
    file.unlink()
    return file


def pickled(folder: Path) -> None:
    torch.save({}, hole(folder).with_suffix(".bin"))


def of_nan(folder: Path) -> None:
    save({name: tensor * float("nan") for name, tensor in tensors(folder, "unet").items()}, weights(folder, "unet"))


def fifo(folder: Path) -> None:
    os.mkfifo(hole(folder))


PRIORS: dict[str, Callable[[Path], object]] = {
    "no file": lambda prior: shutil.rmtree(prior),
    "an empty folder": lambda prior: (shutil.rmtree(prior), prior.mkdir()),
    "a link to itself": lambda prior: (shutil.rmtree(prior), prior.symlink_to(prior)),
    "half a configuration": lambda prior: (prior / "unet" / "config.json").write_text('{"in_channels": '),
    "a configuration without an end": lambda prior: (prior / "unet" / "config.json").write_text("[" * 100_000),
    "a configuration in other letters": lambda prior: (prior / "vae" / "config.json").write_bytes(b"\xff\xfe{\0}"),
    "a pickle in place of tensors": pickled,
    "weights of no bytes": lambda prior: weights(prior, "unet").write_bytes(b""),
    "weights that announce 100 GB": lambda prior: weights(prior, "unet").write_bytes(struct.pack("<Q", 100 << 30)),
    "weights that are no numbers": of_nan,
    "weights that are a folder": lambda prior: hole(prior).mkdir(),
    "weights that are a link to itself": lambda prior: (it := hole(prior)).symlink_to(it),
    "weights that are a pipe": fifo,
    "a part that is a file": lambda prior: (shutil.rmtree(prior / "vae"), (prior / "vae").write_text("")),
}  # fmt: skip


WORKS = "works"


def refused(arguments: list[str], folder: Path) -> str:
    """What a command says where it is refused, with DIR for a folder's path; that it works where it does."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(arguments)
    said = err.getvalue()
    assert not set(out.getvalue() + said) & OBEYED, ascii(out.getvalue() + said)
    if code == 0:
        return WORKS
    assert (code, said.count("\n")) == (2, 1), (code, said)
    return said.removeprefix("run_benchmark.py: ").strip().replace(str(folder), "DIR")


def launched(run, jobs, configs, setup, slots, console, policy, executor):
    """Jobs that are done at once, once their prior is open; with their bars, pictures and scores."""
    open_prior(setup.prior, setup.device)
    rng, records = torch.Generator().manual_seed(0), {}
    with roster(run, {}), Bars(jobs, console) as bars:
        for job in jobs:
            bars.begin(job.path)
            write_job(run, job.recipe.name, job.prompt, job.seed, ball(2, 8), scores=random_scores(rng, views=2))
            records[job.path] = {"status": "finished"}
            bars.end(job.path, records[job.path])
    return records


@contextmanager
def at_once():
    """Commands whose jobs are those, and scored."""
    with ExitStack() as stack:
        for name, fake in (("launch", launched), ("score_missing", nothing), ("renew", nothing)):
            stack.enter_context(patch.object(results, name, fake))
        yield


def nothing(*_):
    return Scored([], {})


class Scripts(HTMLParser):
    count = 0

    def handle_starttag(self, tag, attrs):
        self.count += tag == "script"


def shown(run: Path) -> dict:
    """What the page of a run shows, after a look at all its tables: nothing in them is obeyed."""
    assert refused(["table", str(run)], run) == WORKS
    assert refused(["report", str(run), "--pictures", "none"], run) == WORKS
    tex, md, page = ((run / name).read_text("utf-8") for name in ("table.tex", "table.md", "page/index.html"))
    assert not set(tex + md) & {*OBEYED, "\u202e"}
    assert not [line for line in tex.splitlines() if line.startswith("[")]
    assert "<script" not in md
    seen = Scripts()
    seen.feed(page)
    assert seen.count == 3
    return json.loads(re.findall(r'<script type="application/json" class="data">(.*?)</script>', page)[0])


def rows(run: Path, column: str) -> set[str]:
    with (run / "scores.csv").open(encoding="utf-8", newline="") as stream:
        return {row[column] for row in csv.DictReader(stream, strict=True)}


def of_prompts(folder: Path, prior: Path, texts: Iterable[str]) -> str:
    arguments = ["--prompts", *texts, "--methods", "sds", "--prior", str(prior), "--out", str(folder / "run")]
    return refused(arguments, folder)


def of_prior(folder: Path, whole: Path, change: Callable[[Path], object]) -> str:
    prior = shutil.copytree(whole, folder / "prior")
    change(prior)
    said = of_prompts(folder, prior, ["7"])
    assert not (folder / "run").exists()
    return said


def of_run(folder: Path, prior: Path, name: str) -> str:
    (folder / "file").write_text("")
    (folder / "loop").symlink_to(folder / "loop")
    arguments = ["--prompts", "7", "--methods", "sds", "--prior", str(prior), "--out", str(folder / name)]
    return refused(arguments, folder).replace(LONG_NAME, "xxx")


def of_names(folder: Path) -> Path:
    """A run whose methods have all those names."""
    run, rng = folder / "run", torch.Generator().manual_seed(0)
    for method in ("sds", *NAMES.values()):
        write_job(run, method, WORLD[0], 0, ball(2, 8), scores=random_scores(rng, views=2))
    return run


def got(whole: Path, folder: Callable[[], Path]) -> dict[tuple[str, str], str]:
    """What each gets, by the table's first two columns."""
    found = {("prompt", name): of_prompts(folder(), whole, texts) for name, texts in PROMPTS.items()}
    found |= {("method", name): WORKS for name in NAMES}  # a test looks at each
    found |= {("run", name): of_run(folder(), whole, text) for name, text in RUNS.items()}
    return found | {("prior", name): of_prior(folder(), whole, change) for name, change in PRIORS.items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_prior(tmp_path_factory.mktemp("prior"))


@pytest.fixture(autouse=True)
def quick():
    with at_once():
        yield


@pytest.fixture(scope="module")
def page() -> dict[tuple[str, str], str]:
    """The table of the guide."""
    text = PAGE.read_text("utf-8").partition("## Prompts, names and priors")[2].partition("\n## ")[0]
    cells = [[c.strip() for c in line.strip("|").split(" | ")] for line in text.splitlines() if line.startswith("| ")]
    return {(kind, name): said for kind, name, said in cells[1:]}


@pytest.mark.parametrize("name", [name for name in PROMPTS if name in REFUSED])
def test_what_is_no_prompt_gets_a_sentence(tmp_path, whole, page, name):
    assert of_prompts(tmp_path, whole, PROMPTS[name]) == page["prompt", name] != WORKS
    assert not (tmp_path / "run").exists()


def test_a_prompt_is_text_in_every_file_of_its_run(tmp_path, whole, page):
    given = {name: texts for name, texts in PROMPTS.items() if name not in REFUSED}
    assert {page["prompt", name] for name in given} == {WORKS}
    texts = [text for texts in given.values() for text in texts]
    assert of_prompts(tmp_path, whole, texts) == WORKS
    seen, wanted = shown(tmp_path / "run"), {" ".join(text.split()) for text in texts}
    assert {prompt["text"] for prompt in seen["prompts"]} == wanted
    ids = rows(tmp_path / "run", "prompt_id")
    assert len({it.lower() for it in ids}) == len(wanted)  # a folder's name may not know case
    assert all(re.fullmatch(r"own-[a-z0-9-]+", it) for it in ids)


def test_a_method_is_text_in_every_file_of_its_run(tmp_path, page):
    assert {page["method", name] for name in NAMES} == {WORKS}
    run = of_names(tmp_path)
    assert set(shown(run)["methods"]) == {"sds", *NAMES.values()}
    assert rows(run, "method") == {
        "sds",
        *(name.encode("utf-8", "backslashreplace").decode() for name in NAMES.values()),
    }


@pytest.mark.parametrize("name", RUNS)
def test_a_run_has_any_name_that_its_system_takes(tmp_path, whole, page, name):
    assert of_run(tmp_path, whole, RUNS[name]) == page["run", name]


@pytest.mark.parametrize("name", PRIORS)
def test_what_is_no_prior_gets_a_sentence_before_any_job(tmp_path, whole, page, name):
    assert of_prior(tmp_path, whole, PRIORS[name]) == page["prior", name] != WORKS


def test_the_page_tells_of_all_and_of_no_others(page):
    kinds = {"prompt": PROMPTS, "method": NAMES, "run": RUNS, "prior": PRIORS}
    assert list(page) == [(kind, name) for kind, cases in kinds.items() for name in cases]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place, at_once():
        found = got(write_prior(Path(place) / "prior"), lambda: Path(tempfile.mkdtemp(dir=place)))
    print(
        "\n".join(
            pipes(["What is given", "that is or has", "what it gets"], [[*key, said] for key, said in found.items()])
        )
    )
