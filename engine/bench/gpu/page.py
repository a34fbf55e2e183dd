"""What was measured, written as it comes: rows.jsonl, and page.md made of it anew after each row."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from errors import UserError, cause, first_line
from files import write_text

Row = dict[str, Any]


class Page:
    """The rows of a folder, and the minutes that are left for more."""

    def __init__(self, out: Path, minutes: float, clock: Callable[[], float] = time.monotonic):
        self.out, self.clock, self.end = out, clock, clock() + 60 * minutes
        self.rows: list[Row] = []
        try:
            out.mkdir(parents=True, exist_ok=True)
            if (kept := out / "rows.jsonl").exists():
                whole, _, torn = kept.read_text("utf-8").rpartition("\n")
                self.rows = [json.loads(line) for line in whole.splitlines()]
                if torn:  # a cut-off in the middle of a row
                    write_text(kept, whole + "\n" if whole else "")
        except (OSError, ValueError) as error:
            raise UserError(f"The rows in {out} cannot be kept ({first_line(error)}): give another folder.") from error

    @property
    def left(self) -> float:
        """Seconds until the minutes are over."""
        return self.end - self.clock()

    def found(self, part: str, name: str) -> Row | None:
        """A row that was measured, now or by an earlier command."""
        rows = [r for r in self.rows if (r["part"], r["name"]) == (part, name) and not r.keys() & {"skipped", "error"}]
        return rows[-1] if rows else None

    def measure(self, part: str, name: str, needs: float, task: Callable[[], Row]) -> Row | None:
        """Write a row of what `task` returns, which takes about `needs` seconds; or that it is skipped, where as many
        are not left or a package is not installed, or what it raised: one fault does not hide what others find. Returns
        the row, if it is one."""
        if row := self.found(part, name):
            return row
        if self.left < needs:
            why = f"{max(self.left, 0):.0f} s were left of about {needs:.0f}"
            self._add({"part": part, "name": name, "skipped": why})
            return None
        began = self.clock()
        try:
            row = {"part": part, "name": name, **task()}
        except ModuleNotFoundError as error:
            self._add({"part": part, "name": name, "skipped": f"{error.name} is not installed"})
            return None
        except Exception as error:
            self._add({"part": part, "name": name, "error": cause(error)})
            return None
        self._add(row | {"took_s": self.clock() - began})
        return row

    def measure_anyhow(self, part: str, name: str, needs: float, task: Callable[[], Row]) -> Row | None:
        """The same, however little time is left."""
        return self.measure(part, name, -math.inf, task)

    def _add(self, row: Row) -> None:
        """Flushed to the disk: whatever ends the process next, it is kept."""
        self.rows.append(row)
        with (self.out / "rows.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        write_text(self.out / "page.md", markdown(self.rows))
        print(f"{row['part']}: {row['name']}: {said(row)}", flush=True)


def said(row: Row) -> str:
    """A row's values in a line."""
    return ", ".join(f"{key} {shown(value)}" for key, value in row.items() if key not in ("part", "name"))


def shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, dict):
        return "; ".join(f"{key} {shown(inner)}" for key, inner in value.items())
    return "; ".join(map(shown, value)) if isinstance(value, list) else str(value)


def markdown(rows: list[Row]) -> str:
    """A table for each part, in the order in which parts came; of a row that came twice, the last."""
    latest = {(row["part"], row["name"]): row for row in rows}
    text = ["# On a GPU", "", "Made by `python -m engine.bench.gpu`."]
    for part in dict.fromkeys(part for part, _ in latest):
        mine = [row for (of, _), row in latest.items() if of == part]
        columns = list(dict.fromkeys(key for row in mine for key in row if key != "part"))
        text += ["", f"## {part}", "", f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
        text += [f"| {' | '.join(_cell(row.get(column, '')) for column in columns)} |" for row in mine]
    return "\n".join(text) + "\n"


def _cell(value: Any) -> str:
    return shown(value).replace("|", "\\|").replace("\n", " ")
