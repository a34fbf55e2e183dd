"""Faults planted one at a time under the unit tests: does one of them fail, and which is the first?

    python -m engine.studies.planted_tests [NAME ...] --out DIR

A plugin of pytest, too: `pytest -p engine.studies.planted_tests --plant NAME tests/methods` has the fault in place of
what is right from before the tests are collected, in pytest's own process: what tests begin in others is not touched.
Each fault has a pytest of its own, which ends at the first failure; the tests that failed must pass together without a
fault (`--plant none`). Kept in DIR/NAME.tests.json, for the table that `engine.studies.planted --page` writes; what is
there is not tried again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from errors import UserError, exit_code
from files import ROOT, read_json, write_json
from say import Console, say

NONE = "none"  # nothing is planted
OUT = Path("results/runs/planted")
FOLDERS = ("tests/methods", "tests/priors", "tests/scene", "tests/eval", "tests/engine")
# work of processes that have no fault in them, rules from files, and the tests of this list itself
APART = ("tests/engine/executors", "tests/engine/external", "tests/engine/remote", "tests/engine/weights",
         "tests/engine/exports", "tests/engine/studies", "tests/engine/recipes/test_guard.py",
         "tests/engine/recipes/test_outside.py", "tests/engine/test_bench_gpu.py", "tests/scene/test_triton.py",
         "tests/scene/test_compiled.py")  # fmt: skip


def pytest_addoption(parser: Any) -> None:
    parser.addoption("--plant", metavar="NAME", help="a fault to plant (engine.studies.defects), or none")
    parser.addoption("--told", metavar="FILE", help="write the first failure, as JSON")


def pytest_collection(session: Any) -> None:
    """Imported here, for jaxtyping's checks begin with pytest's configuration."""
    from engine.studies.defects import SLUG

    if (name := session.config.option.plant) not in (None, NONE):
        SLUG[name].plant()


def pytest_sessionstart(session: Any) -> None:
    if path := session.config.option.told:
        session.config.pluginmanager.register(_Teller(Path(path)), "planted")


class _Teller:
    """Writes down how many tests have passed, and the first that does not."""

    def __init__(self, path: Path):
        self.path = path
        self.told: dict[str, Any] = {"test": None, "passed": 0}

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.told["passed"] += report.when == "call" and report.passed
        self._failed(report)

    def pytest_collectreport(self, report: Any) -> None:
        self._failed(report)

    def _failed(self, report: Any) -> None:
        if report.failed and not self.told["test"]:
            self.told |= {"test": report.nodeid, "why": str(report.longrepr).strip().splitlines()[-1]}

    def pytest_sessionfinish(self, session: Any, exitstatus: int) -> None:
        if self.told["test"] or exitstatus == 0:  # else it was stopped
            write_json(self.path, self.told)


def tried(out: Path, slug: str) -> dict[str, Any]:
    """The first test that fails under a fault (None: none does), how many passed until then; kept in OUT."""
    path = out / f"{slug}.tests.json"
    if not path.exists():
        from engine.studies.defects import SLUG

        near = f"tests/{SLUG[slug].room}"
        _ran(slug, sorted(FOLDERS, key=lambda folder: folder != near), path)
    return read_json(path)


def sound(out: Path, found: dict[str, dict[str, Any]]) -> None:
    """Raises UserError where a test that failed under a fault fails without one, too, and forgets what it said."""
    tests = sorted({done["test"] for done in found.values() if done["test"]})
    wrong = _ran(NONE, tests, out / "without.json")["test"] if tests else None
    if wrong:
        for slug in (slug for slug, done in found.items() if done["test"] == wrong):
            (out / f"{slug}.tests.json").unlink()
        raise UserError(f"{wrong} fails without a fault, too: mend it, and give the same command again.")


def _ran(slug: str, tests: Sequence[str], told: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "pytest", "-p", "engine.studies.planted_tests", "-p", "no:cacheprovider", "-x"]
    command += ["-n", "0", "--plant", slug, "--told", str(told.absolute()), *(f"--ignore={p}" for p in APART), *tests]
    told.unlink(missing_ok=True)
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if not told.exists():
        raise UserError(f"The tests could not be run: {(made.stderr or made.stdout).strip()[-300:]}")
    return read_json(told)


def main() -> None:
    from engine.studies.defects import SLUG

    parser = argparse.ArgumentParser("python -m engine.studies.planted_tests", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all; of {', '.join(SLUG)}")
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help=f"default: {OUT}")
    options, console = parser.parse_args(), Console()
    if wrong := [name for name in options.names if name not in SLUG]:
        raise UserError(f"There is no fault {wrong[0]}: name some of {', '.join(SLUG)}.")
    options.out.mkdir(parents=True, exist_ok=True)
    found = {}
    for slug in options.names or [*SLUG]:
        done = found[slug] = tried(options.out, slug)
        say(console, f"{SLUG[slug].name}: {done['test'] or 'no test fails'} (after {done['passed']} that passed)")
    sound(options.out, found)


if __name__ == "__main__":
    sys.exit(exit_code("engine.studies.planted_tests", main))
