"""Prompts: their ids, the suites, and how a request names one."""

import subprocess
import sys

import pytest

from errors import UserError
from prompts import Prompt, paper43, slug
from suites import SUITES, suite_named
from suites.world import WORLD


def test_paper_suite_is_the_43_with_typos():
    prompts = paper43()
    assert len(prompts) == 43
    assert prompts[6] == Prompt("07-a-ripe-strawberry", "A ripe strawberry")
    assert prompts[30].text == "A DSLR photo of a an old man"
    assert len({p.id for p in prompts}) == 43


def test_ids_are_short_ascii_words_with_the_line_number():
    for n, prompt in enumerate(paper43(), 1):
        number, words = prompt.id.split("-", 1)
        assert (int(number), len(number)) == (n, 2)
        assert len(words) <= 40
        assert set(words) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_both_suites_hold_the_same_prompts():
    assert WORLD.prompts == SUITES["paper"].prompts == paper43()


def test_slug_cuts_at_words():
    assert slug("A DSLR photo of a dew-covered peach sitting in soft light") == "a-dslr-photo-of-a-dew-covered-peach"
    assert slug("x" * 60) == "x" * 40


@pytest.mark.parametrize(
    "request_", ["A ripe strawberry", "a RIPE strawberry", "07-a-ripe-strawberry", "7", "07", "strawb"]
)
def test_request_names_a_prompt(request_):
    assert WORLD.select([request_]) == (Prompt("07-a-ripe-strawberry", "A ripe strawberry"),)


def test_select_keeps_the_order_of_requests_and_drops_doubles():
    assert [p.id[:2] for p in WORLD.select(["tulip", "7", "a blue tulip"])] == ["14", "07"]
    assert WORLD.select(["all"]) == paper43()
    assert WORLD.select(["tulip", "all"])[0].text == "A blue tulip"
    assert len(WORLD.select(["tulip", "all"])) == 43


@pytest.mark.parametrize(
    ("suite", "request_", "says"),
    [
        ("paper", "a ripe strawbery", "did you mean 'A ripe strawberry'"),
        ("paper", "firefightr", "firefighter"),
        ("paper", "bunny", None),
        ("paper", "dragon", "names 2 prompts"),
        ("world", "zzzz", "one of its"),
        ("world", "", "There is no prompt"),
        ("moon", "all", "There is no suite 'moon'"),
    ],
)
def test_a_request_that_names_none_or_several_is_explained(suite, request_, says):
    if says is None:
        assert SUITES[suite].select([request_])[0].text.startswith("A baby bunny")
        return
    with pytest.raises(UserError, match=says):
        suite_named(suite).select([request_])


def test_an_exact_text_wins_over_the_texts_that_contain_it():
    assert WORLD.select(["an astronaut"])[0].id == "41-an-astronaut"


def test_importing_prompts_imports_nothing_heavy():
    code = "import sys, prompts; prompts.paper43(); print('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
