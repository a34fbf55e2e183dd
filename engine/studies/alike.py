"""Whether two runs of the same jobs are alike: every file by its bytes, but for the times and the memory they say."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from engine.store import FINAL
from files import read_json, sha256
from records import RECORD

TIMED = ("seconds", "peak_bytes", "memory", "tries", "failures", "commit")  # of a record or a config: not the result
TIMED_COLUMNS = ("second", "minute", "time", "memory", "peak")  # in the names of a table's
Problems = list[str]


def files_of(run: Path) -> set[Path]:
    """All files of a run, and folders that are empty."""
    return {p.relative_to(run) for p in run.rglob("*") if p.is_file() or not any(p.iterdir())}


def unlike(run: Path, whole: Path) -> Problems:
    """In what a run differs from the undisturbed one: every file by its bytes, but for the times and the memory that
    records and tables say."""
    here, there = files_of(run), files_of(whole)
    said = [f"{run.name}: {path} is missing" for path in sorted(there - here)]
    said += [f"{run.name}: {path} is left over" for path in sorted(here - there)]
    return said + [f"{run.name}: {path} differs" for path in sorted(here & there) if not same(run / path, whole / path)]


def same(a: Path, b: Path) -> bool:
    if a.name in (RECORD, "config.json"):
        first, second = ({key: said for key, said in read_json(path).items() if key not in TIMED} for path in (a, b))
        return first == second and first.get("status", FINAL[0]) in FINAL
    if a.name in ("table.csv", "differences.csv"):
        return _untimed(a).equals(_untimed(b))
    return a.name in ("table.md", "table.tex") or sha256(a) == sha256(b)  # they show table.csv


def _untimed(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path)
    for name in ("metric", "column"):
        if name in table:
            table = table[~table[name].astype(str).str.lower().str.contains("|".join(TIMED_COLUMNS))]
    kept = [name for name in table.columns if not any(word in name.lower() for word in TIMED_COLUMNS)]
    return table[kept].reset_index(drop=True)


def left_over(run: Path) -> list[Path]:
    """Of a run that nobody disturbed: what is hidden, or empty."""
    return sorted(p for p in files_of(run) if any(part.startswith(".") for part in p.parts) or (run / p).is_dir())
