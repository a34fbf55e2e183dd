"""Every command that the guide prints is understood by the program that it names, down to its options and names."""

from __future__ import annotations

import argparse
import re
import runpy
import sys
from collections.abc import Iterable
from importlib import import_module

import pytest

from engine.external import reading as specs
from engine.weights import manifest as weights
from errors import UserError
from eval.outside import OUTSIDE
from names import ABLATIONS, COMMANDS, RECIPES, SCENES, TRACKS, is_outside
from run_benchmark import module_of
from suites import SUITES
from tests.guide.pages import NAMES, PAGES, ROOT, Line, blocks, commands, lines, spans

STANDS_FOR = {
    "N": "1",
    "X": "1",
    "SECONDS": "1",
    "D": "1",
    "METRIC=D": "iou=0.05",
    "<name>": "sds",
}  # where not every word is taken
EXTRAS = (ROOT / "pyproject.toml").read_text("utf-8")
VOCABULARY = {
    "methods": RECIPES,
    "method": RECIPES,
    "against": RECIPES,
    "suite": SUITES,
    "track": TRACKS,
    "scene": SCENES,
    "judge": OUTSIDE,
    "what": weights.manifest(),
}


UNREAD = ["nothing"]  # of which a parser is not to make anything


class Read(BaseException):
    """A command line was understood: `values` is what it says."""

    def __init__(self, parser: argparse.ArgumentParser, values: argparse.Namespace):
        self.parser, self.values = parser, values


@pytest.fixture
def reading(monkeypatch):
    """Whoever reads a command line stops there."""
    parse = argparse.ArgumentParser.parse_args

    def read(self, args=None, namespace=None):
        given = sys.argv[1:] if args is None else args
        raise Read(self, argparse.Namespace() if given == UNREAD else parse(self, args, namespace))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", read)
    monkeypatch.setattr(sys, "argv", sys.argv)


def read(words: tuple[str, ...]) -> Read:
    """What a command's own parser makes of it."""
    program, *rest = [STANDS_FOR.get(word, word) for word in words]
    try:
        if program == "run_benchmark.py":
            command, *rest = rest if rest and rest[0] in COMMANDS else ["run", *rest]
            import_module(module_of(command)).main(rest)
        else:
            module, *own = rest[1:]
            sys.argv = [module, *own]
            runpy.run_module(module, run_name="__main__", alter_sys=False)
    except Read as found:
        return found
    raise AssertionError(f"{' '.join(words)} reads no command line")


def is_understood(line: Line) -> None:
    """Raises AssertionError where a word of it is none of its program's."""
    program = line.words[0]
    if program == "pytest":
        paths = [word for word in line.words[1:] if "/" in word]
        assert all((ROOT / path.partition("::")[0]).exists() for path in paths), line
    elif line.words[:3] == ("uv", "sync", "--extra"):
        assert f"\n{line.words[3]} = [" in EXTRAS, line
    elif program in ("run_benchmark.py", "python"):
        try:
            names_are_known(line, read(line.words).values)
        except (UserError, SystemExit) as error:
            if "--help" in line.words and str(error) == "0":
                return
            part = not line.whole and "required" in str(error) and options(line.words) <= options_of(line.words[1])
            if not part:  # prose may leave out what a command is given
                raise AssertionError(f"{line}: {error}") from error


def names_are_known(line: Line, values: argparse.Namespace) -> None:
    """All that stands for something that has a name; what is in capitals is the reader's to fill in."""
    for option, vocabulary in VOCABULARY.items():
        said = getattr(values, option, None) or []
        for name in said if isinstance(said, list | tuple) else [said] if isinstance(said, str) else []:
            assert name in vocabulary or name.isupper() or is_outside(name), f"{line}: {name}"
    if line.words[:2] == ("run_benchmark.py", "ablate"):
        assert values.name in ABLATIONS or values.name.isupper(), line


def options(words: Iterable[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if re.match("--?[a-z]", word)}


def options_of(command: str) -> set[str]:
    """All options of one of this program's commands."""
    with pytest.raises(Read) as found:
        import_module(module_of(command)).main(UNREAD)
    return set(found.value.parser._option_string_actions)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_of_a_page_is_understood(page, reading):
    for line in dict.fromkeys(lines(page)):
        is_understood(line)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_example_of_a_command_s_help_is_understood(command, reading, capsys):
    with pytest.raises(SystemExit):
        import_module(module_of(command)).main(["--help"])
    shown = re.sub(r"(\S)  .*", r"\1", capsys.readouterr().out)  # what an example does stands beside it
    for words in commands(shown):
        is_understood(Line(words, True))


def test_every_option_that_a_sentence_names_is_one(reading):
    modules = {line.words[2] for page in PAGES for line in lines(page) if line.words[:2] == ("python", "-m")}
    known = [options_of(command) for command in COMMANDS]
    known += [{*read(("python", "-m", module, *UNREAD)).parser._option_string_actions} for module in modules]
    for page in PAGES:
        for span in (span for span in spans(page) if span.startswith("--")):
            assert any(options(span.split()) <= those for those in known), f"{page}: {span}"


def test_every_spec_of_an_engine_is_one(tmp_path):
    """What pages write in TOML."""
    texts = [block.text for page in PAGES for block in blocks(page) if block.language == "toml"]
    assert len(texts) >= 2
    for k, text in enumerate(texts):
        (tmp_path / f"mine{k}.toml").write_text(text)
        assert specs.read(str(tmp_path / f"mine{k}.toml")).command
