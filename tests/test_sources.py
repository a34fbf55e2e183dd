"""A checksum of code changes with what the code says, and with nothing else."""

import pytest

from sources import digest_of_code, reached

CODE = 'def f(x: int) -> int:\n    """Twice."""\n    return 2 * x\n'


@pytest.mark.parametrize(
    "same",
    [
        CODE.replace("Twice.", "Two times."),
        CODE.replace('    """Twice."""\n', "") + "# a remark\n",
        '"""A module."""\n\n\n' + CODE.replace("2 * x", "(2*x)"),
    ],
)
def test_words_about_code_do_not_count(same):
    assert digest_of_code([same]) == digest_of_code([CODE])


@pytest.mark.parametrize(
    "other", [CODE.replace("2 *", "3 *"), CODE.replace("2 *", "2.0 *"), CODE.replace("f(x", "g(x"), ""]
)
def test_code_counts(other):
    assert digest_of_code([other]) != digest_of_code([CODE])


def test_what_a_module_reaches(tmp_path):
    (tmp_path / "rules").mkdir()
    for name, text in {
        "a": "from rules import b\nfrom rules.c import f\nimport json",
        "b": "def late():\n    import rules.d",
        "c": "from other.x import y",
        "d": "",
    }.items():
        (tmp_path / "rules" / f"{name}.py").write_text(text)
    assert reached("rules.a", ("rules",), tmp_path) == {"rules.a", "rules.b", "rules.c"}


def test_a_rule_reaches_its_algebra():
    assert {"methods.sdi", "priors.inversion", "priors.guidance"} <= reached("methods.sdi", ("methods", "priors"))
