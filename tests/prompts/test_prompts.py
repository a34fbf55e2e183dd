"""Prompts: their ids, the suites, and how a request names one."""

import subprocess
import sys

import pytest

from errors import UserError
from prompts import Prompt, is_own, own, paper43, slug
from prompts.lists import texts_of
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


def test_a_text_that_is_no_slip_of_a_prompt_is_ones_own():
    (mine,) = WORLD.select(["A red panda on  a bicycle"])
    assert mine == own("A red panda on a bicycle")
    assert mine.id.startswith("own-a-red-panda-on-a-bicycle-")
    assert WORLD.select(["A red panda on a bicycle", mine.text]) == (mine,)
    others = WORLD.select(["赤いリンゴ", "Ein grüner Apfel", "an apple\u2019s \u201cskin\u201d"])
    assert len({p.id for p in others}) == 3
    assert all(p.id.isascii() and is_own(p.id) and p.number == "own" for p in others)
    assert not any(is_own(p.id) for p in paper43())


def test_typographic_marks_and_case_do_not_make_a_prompt_ones_own():
    (prompt,) = [p for p in paper43() if "'" in p.text or '"' in p.text][:1] or [paper43()[6]]
    assert WORLD.select([prompt.text.replace("'", "\u2019").upper()]) == (prompt,)


LISTS = {
    "plain.txt": "A ripe strawberry\n\n  A red  panda\n",
    "bom.txt": "\ufeffA ripe strawberry\r\nA red panda\r\n",
    "list.json": '["A ripe strawberry", "A red panda"]',
    "objects.json": '[{"prompt": "A ripe strawberry", "id": 3}, {"text": "A red panda"}]',
    "named.json": '{"set": "mine", "prompts": ["A ripe strawberry", "A red panda"]}',
    "library.json": '{"dreamfusion": ["A ripe strawberry", "A red panda"]}',
    "columns.csv": 'id,Prompt\n1,A ripe strawberry\n2,"A red panda"\n',
    "one.csv": "A ripe strawberry\nA red panda\n",
}


@pytest.mark.parametrize("name", LISTS)
def test_a_file_of_prompts_is_read(tmp_path, name):
    file = tmp_path / name
    file.write_text(LISTS[name], "utf-8")
    assert texts_of(file) == ["A ripe strawberry", "A red panda"]
    assert WORLD.select([str(file)]) == (WORLD.prompts[6], own("A red panda"))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.txt", " \n", "has no prompts"),
        ("torn.json", '["A', "cannot be read"),
        ("numbers.json", "[1, 2]", "'1' is no text"),
        ("other.json", '{"a": 1}', "no list"),
        ("two.json", '{"a": ["x"], "b": ["y"]}', "no list"),
        ("void.json", '["A cat", ""]', "has an empty prompt"),
        ("columns.csv", "a,b\n1,2\n", "no column prompt"),
        ("short.csv", "id,prompt\n1\n", "row 2 has no prompt"),
        ("deep.json", "[" * 100_000, "cannot be read"),
        ("latin.txt", b"caf\xe9 au lait", "cannot be read"),
        ("gone.txt", None, "There is no file"),
    ],
)
def test_a_file_that_is_no_list_of_prompts_is_refused(tmp_path, name, content, says):
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=says):
        WORLD.select([str(file)])


def test_lists_of_other_papers_have_names(capsys):
    from commands import list as command

    found = WORLD.select(["dreamfusion"])
    assert len(found) == 415
    assert found[1].text == "a bald eagle carved out of wood"
    assert not any(prompt.text.startswith("#") for prompt in found)
    assert paper43()[6] in found  # which both have
    for name, where in (("t3bench", "THU-LYJ-Lab/T3Bench"), ("GPTEval3D", "tournament-v0/prompts.json")):
        with pytest.raises(UserError, match="states no licence: get .*" + where):
            WORLD.select([name])
    with pytest.raises(UserError, match="did you mean 'dreamfusion'"):
        WORLD.select(["dreamfuson"])
    assert command.main([]) == 0
    said = capsys.readouterr().out
    assert "lists of prompts" in said
    assert "  t3bench " in said
