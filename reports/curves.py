"""A run's logs as TensorBoard reads them: a folder of event files a job, with a curve over steps for each number of its
log.jsonl. The logs stay the source; what is written here can be deleted and written again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from errors import UserError, first_line
from files import read_text

LOG = "log.jsonl"
EVENTS = "events.out.tfevents.*"


@dataclass
class Curve:
    """How far a job's log has been written: `seen`, what the file was then, and the last step."""

    writer: Any = None
    seen: tuple[Any, ...] = ()
    last: int = -1


@dataclass
class Curves:
    """Event files of a run in a folder, to which what jobs log meanwhile can be added."""

    run: Path
    out: Path
    jobs: dict[Path, Curve] = field(default_factory=dict)

    def follow(self) -> int:
        """Write what has been logged since; returns of how many steps. Raises UserError where it cannot be written."""
        try:
            return sum(self._add(job, log) for job, log in logs(self.run).items())
        except OSError as error:
            raise UserError(f"The curves cannot be written to {self.out}: {first_line(error)}.") from error

    def close(self) -> None:
        for curve in self.jobs.values():
            if curve.writer:
                curve.writer.close()

    def _add(self, job: Path, log: Path) -> int:
        curve = self.jobs.setdefault(job, Curve())
        try:
            now = (log, log.stat().st_size, log.stat().st_mtime_ns)
            if now == curve.seen:
                return 0
            rows = rows_of(log)
        except FileNotFoundError:  # its job has just ended: the next look finds it where it went
            return 0
        if (rows and rows[-1]["step"] < curve.last) or not curve.writer:  # begun again, from a checkpoint or anew
            curve.writer, curve.last = self._begun(job, curve.writer), -1
        new = [row for row in rows if row["step"] > curve.last]
        for row in new:
            for name, value in row.items():
                if name != "step" and isinstance(value, int | float):
                    curve.writer.add_scalar(name, value, row["step"])
        curve.writer.flush()
        curve.seen, curve.last = now, max((row["step"] for row in rows), default=curve.last)
        return len(new)

    def _begun(self, job: Path, before: Any) -> Any:
        """A writer into the job's folder, whose files of before go."""
        from torch.utils.tensorboard import SummaryWriter

        if before:
            before.close()
        for old in (self.out / job).glob(EVENTS):
            old.unlink()
        return SummaryWriter(str(self.out / job), max_queue=1000)


def logs(run: Path) -> dict[Path, Path]:
    """The log of each job that has one, by its place in the run, <method>/<prompt>/<seed>: of finished jobs, and of
    those under way."""
    found: dict[Path, Path] = {}
    for top in (run / ".unfinished", run):  # what is finished counts
        found |= {log.parent.relative_to(top): log for log in sorted(top.glob(f"[!.]*/[!.]*/[!.]*/{LOG}"))}
    return found


def rows_of(log: Path) -> list[dict[str, Any]]:
    """The rows of a log, each of a step. A line that a kill tore, or that is still being written, is left out."""
    rows = []
    for line in read_text(log).splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            rows.append(row)
    return rows
